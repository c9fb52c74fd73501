"""Recordings through the detectors: nothing found that is not there, and everything that was taken out."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from fluxforge_collector.continuity.finding import Finding, Verdict
from tests.recorded.wire import Item, played, wire, without

pytestmark = pytest.mark.timeout(300)

DROPS = 100
FRAMES_MAX = 2000
FRAMES_BEHIND = 200
BROKEN = {Verdict.GAP, Verdict.OUT_OF_ORDER, Verdict.DUPLICATE}

RECORDINGS = {
    "binance-spot": ("binance", "binance/spot_btcusdt_20240808.gz", "binance/spot_btcusdt_20240809.gz"),
    "binance-usdm": ("binanceusdm", "binance/usdm_ethusdt_20240808.gz"),
    "binance-cm-btc": ("binancecoinm", "binance/cm_btcusd_perp_20240808.gz", "binance/cm_btcusd_perp_20240809.gz"),
    "binance-cm-eth": ("binancecoinm", "binance/cm_ethusd_perp_20240808.gz", "binance/cm_ethusd_perp_20240809.gz"),
    "binance-2021-04": ("binance", "binance/BINANCE_20210405_2min.jsonl.zst"),
    "binance-2021-10": ("binance", "binance/BINANCE_20211012.jsonl.zst"),
    "binance-usdm-2021": ("binanceusdm", "binance/BINANCE_FUTURES_20210722.jsonl.zst"),
    "bitget": ("bitget", "bitget/BITGET_v1_20220407.jsonl.zst"),
    "bybit": ("bybit", "bybit/BYBIT_20250613_l1.jsonl.zst"),
    "coinbase": ("coinbase", "coinbase/COINBASE_20260809_first10s.jsonl.zst"),
    "deribit": ("deribit", "deribit/DERIBIT_20210722.jsonl.zst"),
    "gate": ("gate", "gate/GATEIO_spot_20210422.jsonl.zst"),
    "gemini": ("gemini", "gemini/GEMINI_20260809.jsonl.zst"),
    "kucoin": ("kucoin", "kucoin/KUCOIN_20210425.jsonl.zst"),
    "okx": ("okx", "okx/OKX_20220513.jsonl.zst"),
}
NUMBERED = sorted(set(RECORDINGS) - {"bitget", "gemini", "okx"})
CHECKED = ("bitget", "okx")
TRADE_IDS = {"trade": "t", "aggTrade": "a"}
KRAKEN = "kraken/KRAKEN_v1_20210417.jsonl.zst"


@dataclass(frozen=True)
class Place:
    """Where a frame stands, read from it here: its feed and the number it begins with. `counts`: ids leave no holes."""

    index: int
    feed: str
    begin: int
    counts: bool = True


def place(index: int, item: Item) -> Place | None:
    if item.rest is not None:
        return None
    try:
        numbers = _numbers(item.conn, item.body)
    except orjson.JSONDecodeError:
        return None
    return None if numbers is None else Place(index, *numbers)


def _numbers(conn: str, body: Any) -> tuple[str, int, bool] | None:
    data, result, params = body.get("data", body), body.get("result"), body.get("params", {})
    event = data.get("e", "")
    numbers = None
    if "sequence_num" in body:
        numbers = "connection", body["sequence_num"], True
    elif params.get("channel", "").startswith("book."):
        numbers = params["channel"], params["data"].get("prev_change_id", -1), False
    elif body.get("topic", "").startswith("orderbook."):
        numbers = conn + body["topic"], data["u"], True
    elif "sequenceStart" in data:
        numbers = data["symbol"], data["sequenceStart"], True
    elif isinstance(result, dict) and "U" in result:
        numbers = result["s"], result["U"], True
    elif event == "depthUpdate":
        numbers = data["s"], data.get("pu", data["U"]), "pu" not in data
    elif event in TRADE_IDS:
        numbers = event + data["s"], data[TRADE_IDS[event]], True
    return numbers


def fetched(items: list[Item]) -> dict[str, int]:
    """Return up to which id a fetched book holds everything, by symbol."""
    books = {item.rest: item.body for item in items if item.rest}
    return {
        symbol: int(book.get("lastUpdateId") or book.get("id") or book["data"]["sequence"])
        for symbol, book in books.items()
    }


def droppable(items: list[Item]) -> Iterator[tuple[Place, Place]]:
    """Yield each frame whose loss is one, with the frame of its feed behind it.

    None are: the first frame of a feed, unless it has a number that must be the first; what a fetched book holds; what
    is told twice.
    """
    held = fetched(items)
    runs: defaultdict[str, list[Place]] = defaultdict(list)
    for index, item in enumerate(items):
        if (at := place(index, item)) is not None:
            runs[at.feed].append(at)
    for run in runs.values():
        if run[0].feed == "connection":
            yield run[0], run[1]
        for before, lost, behind in zip(run, run[1:], run[2:], strict=False):
            is_held = behind.begin - lost.counts <= held.get(lost.feed, -1)
            if before.begin != lost.begin != behind.begin and not is_held:
                yield lost, behind


def gaps(found: list[list[Finding]]) -> list[tuple[int, Finding]]:
    return [(i, f) for i, findings in enumerate(found) for f in findings if f.step.verdict in BROKEN]


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_nothing_is_found_that_is_not_there(name: str) -> None:
    exchange, *files = RECORDINGS[name]
    found = played(exchange, wire(*files))
    assert gaps(found) == []
    verdicts = Counter(finding.step.verdict for findings in found for finding in findings)
    assert name == "gemini" or verdicts[Verdict.SOUND] > 10 * verdicts[Verdict.SUSPECT]


@pytest.mark.parametrize("name", NUMBERED)
def test_every_frame_that_was_taken_out_is_found_with_its_bounds(name: str) -> None:
    exchange, *files = RECORDINGS[name]
    items = [item for i, item in enumerate(wire(*files)) if item.rest or place(i, item)][:FRAMES_MAX]
    chosen = list(droppable(items))
    assert len(chosen) > 20
    for lost, behind in random.Random(7).sample(chosen, min(DROPS, len(chosen))):
        found = played(exchange, without(items[: behind.index + FRAMES_BEHIND], lost.index))
        ((at, gap),) = gaps(found)
        missing = behind.begin - lost.begin if lost.counts else None
        assert at == behind.index - 1
        assert (gap.step.expected, gap.step.got, gap.step.missing) == (lost.begin, behind.begin, missing)
        assert not gap.step.is_sound


@pytest.mark.parametrize("name", ["deribit", "okx", "bitget"])
def test_a_whole_book_that_was_taken_out_is_found(name: str) -> None:
    exchange, *files = RECORDINGS[name]
    items = wire(*files)
    begins = [(i, found[0]) for i, found in enumerate(played(exchange, items)) if found]
    begun = [(i, finding.symbol) for i, finding in begins if finding.step.verdict is Verdict.RESYNCED]
    seen = 0
    for index, symbol in begun:
        own = [item for item in without(items, index) if f'"{symbol}"' in str(item.text)]
        after = [f.step.verdict for findings in played(exchange, own) for f in findings if f.symbol == symbol]
        assert after[:1] in ([], [Verdict.GAP])
        assert Verdict.SOUND not in after
        seen += bool(after)
    assert seen > 2


class Levels:
    """The plainest book there is, to know what a lost frame leaves wrong."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[float, tuple[str, str]]] = {"bids": {}, "asks": {}}

    def apply(self, item: Item) -> None:
        body = json.loads(item.text, parse_float=str, parse_int=str)
        data = body["data"][0]
        for name, side in self.sides.items():
            if "snapshot" in {body.get("action"), body.get("type")}:
                side.clear()
            for level in data[name]:
                price, size = list(level.values())[:2] if isinstance(level, dict) else level[:2]
                side.pop(float(price), None)
                if float(size):
                    side[float(price)] = price, size

    def top(self, count: int) -> list[tuple[str, str]]:
        bids, asks = (sorted(side.items(), reverse=name == "bids") for name, side in self.sides.items())
        return [level for _, level in bids[:count]] + [level for _, level in asks[:count]]


def shows(run: list[Item], lost: int, count: int) -> bool:
    """Return whether the checked levels differ, one frame later, with and without a frame."""
    books = []
    for frames in (run[: lost + 2], without(run[: lost + 2], lost)):
        book = Levels()
        for item in frames:
            book.apply(item)
        books.append(book.top(count))
    return books[0] != books[1]


def check_losses(exchange: str, items: list[Item], count: int) -> None:
    """Take out frames, one at a time, that leave the checked levels wrong, and expect each in the next checksum."""
    runs: defaultdict[str, list[Item]] = defaultdict(list)
    for item, findings in zip(items, played(exchange, items), strict=True):
        for finding in findings:
            runs[str(finding.symbol)].append(item)
    frames = [(run, at) for run in runs.values() for at in range(1, len(run) - 1)]
    losses = 0
    for run, at in random.Random(7).sample(frames, min(len(frames), 3 * DROPS)):
        found = gaps(played(exchange, without(run[: at + 2], at)))
        assert bool(found) == shows(run, at, count)
        assert all((index, f.step.reason, f.step.missing) == (at, "checksum", None) for index, f in found)
        losses += bool(found)
    assert losses >= DROPS


@pytest.mark.parametrize("name", CHECKED)
def test_a_lost_change_of_the_checked_levels_shows_in_the_next_checksum(name: str) -> None:
    exchange, *files = RECORDINGS[name]
    check_losses(exchange, wire(*files), 25)


def kraken_items() -> list[Item]:
    """Return the books of a recording of Kraken's first version as its second sends them, digit for digit."""
    items = []
    for item in wire(KRAKEN):
        body = item.body
        if not isinstance(body, list) or not str(body[-2]).startswith("book"):
            continue
        sides: dict[str, list[list[str]]] = {"a": [], "b": []}
        checksum = ""
        kind = "update"
        for part in body[1:-2]:
            kind = "snapshot" if "as" in part else kind
            checksum = part.get("c", checksum)
            for side in sides:
                sides[side] += part.get(side, []) + part.get(f"{side}s", [])
        asks, bids = (
            ",".join(f'{{"price":{level[0]},"qty":{level[1]}}}' for level in sides[side]) for side in ("a", "b")
        )
        end = f',"checksum":{checksum}' if checksum else ""
        data = f'{{"symbol":"{body[-1]}","bids":[{bids}],"asks":[{asks}]{end}}}'
        ack = f'{{"method":"subscribe","result":{{"channel":"book","depth":1000,"symbol":"{body[-1]}"}}}}'
        items += [Item(item.conn, ack)] if kind == "snapshot" else []
        items.append(Item(item.conn, f'{{"channel":"book","type":"{kind}","data":[{data}]}}'))
    return items


def test_krakens_checksums_agree_with_the_digits_it_sent() -> None:
    found = played("kraken", kraken_items())
    verdicts = Counter(finding.step.verdict for findings in found for finding in findings)
    assert set(verdicts) == {Verdict.RESYNCED, Verdict.SOUND}
    assert verdicts[Verdict.SOUND] > 1000


def test_krakens_digits_as_floats_would_not_do() -> None:
    items = [Item(item.conn, orjson.dumps(item.body)) for item in kraken_items()]
    verdicts = Counter(f.step.verdict for findings in played("kraken", items) for f in findings)
    assert verdicts[Verdict.GAP]


def test_a_lost_change_of_krakens_top_ten_shows_in_the_next_checksum() -> None:
    check_losses("kraken", kraken_items(), 10)
