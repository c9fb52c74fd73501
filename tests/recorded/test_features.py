"""Features and bars of a real market, against the oracle."""

import gzip
import heapq

import orjson
import pytest

from fluxforge.domain.segment import FeedLast
from tests.recorded.recordings import recording
from tests.unit.fluxforge_etl_worker.oracle import Story, Trade, Update, is_valid
from tests.unit.fluxforge_etl_worker.samples import S, forged, options, rows_of
from tests.unit.fluxforge_etl_worker.stories import compare, record

LEVELS = 50


def binance_story(name: str) -> Story:
    """Rebuild the books from snapshot and deltas, as the recording's own ids order them."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    story, snapshot_id, at = Story([], trades=[]), 0, 0
    with gzip.open(recording(name)) as lines:
        for line in lines:
            received, _, text = line.partition(b" ")
            at = max(at + 1, int(received))
            frame = orjson.loads(text)
            data = frame.get("data", frame)
            if "stream" not in frame:
                snapshot_id = data["lastUpdateId"]
                bids.update((float(p), float(q)) for p, q in data["bids"])
                asks.update((float(p), float(q)) for p, q in data["asks"])
            elif frame["stream"].endswith("@trade"):
                assert story.trades is not None
                side = "sell" if data["m"] else "buy"
                story.trades.append(Trade(at, side, float(data["p"]), float(data["q"])))
            elif "@depth" in frame["stream"] and snapshot_id and data["u"] > snapshot_id:
                for side, changes in ((bids, data["b"]), (asks, data["a"])):
                    for price, size in changes:
                        side[float(price)] = float(size)
                        if side[float(price)] == 0:
                            del side[float(price)]
                top_bids = [(p, bids[p]) for p in heapq.nlargest(LEVELS, bids)]
                story.updates.append(Update(at, top_bids, [(p, asks[p]) for p in heapq.nsmallest(LEVELS, asks)]))
    story.upper = at
    return story


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "interval_ns", "updates", "valid"),
    [
        # A bid of the snapshot that no delta ever removes: from the 876th update on the recorded book is crossed.
        ("binance/spot_btcusdt_20240808.gz", 0, 3448, 875),
        ("binance/usdm_ethusdt_20240808.gz", S, 6579, 6579),
    ],
)
def test_every_column_of_a_real_market_is_what_the_oracle_says(
    name: str, interval_ns: int, updates: int, valid: int
) -> None:
    story = binance_story(name)
    chosen = options(hf_interval_ns=interval_ns)
    last_seqs = [FeedLast("trades", "BTC-USDT", "x", 1)]
    result = forged(record(story).body, chosen, last=story.upper, last_seqs=last_seqs)
    assert result.bad == ()
    assert result.rows["orderbook/books"] == updates
    crossed = [row for row in rows_of(result, "coverage") if row["event"] == "crossed"]
    assert len(crossed) == updates - valid == sum(not is_valid(update) for update in story.updates)
    assert result.rows["orderbook/bars"] > 100
    compare(result, story, chosen)
