"""Recordings of Coinbase and OKX through the real client: frames in = records + frames named, by venue identity."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from tests.recorded.recordings import received, recording
from tests.system import KEEP_RAW, running_system, simulator

pytestmark = pytest.mark.timeout(400)

COINBASE = "coinbase/COINBASE_20260809_first10s.jsonl.zst"
COINBASE_MARKETS = ["BTC/USD", "ETH/USD"]
OKX = "okx/OKX_20220513.jsonl.zst"
OKX_MARKETS = ["BTC/USDT", "UNI/USD:UNI", "BTC/USD:BTC-220527"]
OKX_SYMBOLS = {"BTC-USDT": "BTC-USDT", "UNI-USD-SWAP": "UNI-USD_UNI", "BTC-USD-220527": "BTC-USD_BTC-220527"}


@dataclass
class Captured:
    """What one run left behind."""

    base: Path
    records: list[dict[str, Any]]
    ledger: list[dict[str, Any]]

    def counts(self, channel: str) -> Counter[str]:
        return Counter(record["symbol"] for record in self.records if record["channel"] == channel)

    def trade_ids(self, symbol: str) -> list[str]:
        found = [r["data"] for r in self.records if r["channel"] == "trades" and r["symbol"] == symbol]
        return [trade["id"] for trades in found for trade in trades]

    def rows(self, dataset: str) -> Counter[str]:
        glob = self.base / "processed" / "ccxt" / dataset / "**" / "*.parquet"
        counted = f"SELECT symbol, count(*) FROM read_parquet('{glob}', hive_partitioning=true) GROUP BY symbol"
        return Counter(dict(duckdb.sql(counted).fetchall()))


async def run(base: Path, exchange: str, name: str, markets: list[str]) -> Captured:
    ledger = base / "ledger.ndjson"
    channels = dict.fromkeys(("watchOrderBook", "watchTrades", "watchTicker"), markets)
    play = ["--recording", recording(name), "--exchange", exchange, "--speed", 10, "--wait-for", 3 * len(markets)]
    async with simulator(*play, "--once", "--ledger", ledger) as (port, playing):
        via = {"via": f"127.0.0.1:{port}", "channels": channels}
        async with running_system(base, {exchange: via}, etl=KEEP_RAW) as system:
            segmenter = await system.start("segmenter")
            worker = await system.start("etl_worker")
            collector = await system.start("collector", "--exchange", exchange)
            async with asyncio.timeout(200):
                await playing.wait()
            status = await system.drain_collector(collector)
            await system.drain(segmenter)
            await system.until(system.all_placed)
            await system.drain(worker)
            assert status.captured == status.stored == sum(m.records for m in system.manifests())
            lines = [orjson.loads(line) for line in ledger.read_bytes().splitlines()]
            return Captured(base, list(system.records()), lines)


@pytest.fixture(scope="module")
def coinbase(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    return asyncio.run(run(tmp_path_factory.mktemp("coinbase"), "coinbase", COINBASE, COINBASE_MARKETS))


@pytest.fixture(scope="module")
def okx(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    return asyncio.run(run(tmp_path_factory.mktemp("okx"), "okx", OKX, OKX_MARKETS))


def coinbase_events(channel: str) -> list[dict[str, Any]]:
    return [event for frame in received(COINBASE) if frame["channel"] == channel for event in frame["events"]]


def test_every_book_event_of_coinbase_is_a_record_and_a_row(coinbase: Captured) -> None:
    expected = Counter(event["product_id"] for event in coinbase_events("l2_data"))
    assert coinbase.counts("orderbook") == expected == {"BTC-USD": 164, "ETH-USD": 151}
    assert coinbase.rows("orderbook/books") == expected


def test_a_snapshot_of_five_megabytes_passes(coinbase: Captured) -> None:
    assert max(line["bytes"] for line in coinbase.ledger if line["kind"] == "snapshot") > 4_000_000
    first = next(r for r in coinbase.records if r["channel"] == "orderbook" and r["symbol"] == "BTC-USD")
    assert len(first["data"]["bids"]) == len(first["data"]["asks"]) == 50


def test_every_trade_of_coinbase_is_recorded_once(coinbase: Captured) -> None:
    expected = [trade for event in coinbase_events("market_trades") for trade in event["trades"]]
    for symbol in ("BTC-USD", "ETH-USD"):
        ids = Counter(trade["trade_id"] for trade in expected if trade["product_id"] == symbol)
        assert Counter(coinbase.trade_ids(symbol)) == ids
        assert coinbase.rows("trades")[symbol] == ids.total() > 100


def test_every_ticker_of_coinbase_is_a_record_and_a_row(coinbase: Captured) -> None:
    expected = Counter(ticker["product_id"] for event in coinbase_events("ticker") for ticker in event["tickers"])
    assert coinbase.counts("ticker") == coinbase.rows("ticker") == expected == {"BTC-USD": 38, "ETH-USD": 32}


def test_the_usdc_alias_makes_no_record(coinbase: Captured) -> None:
    assert {r["market"] for r in coinbase.records if r["channel"] != "control"} == set(COINBASE_MARKETS)


def okx_frames(channel: str) -> Counter[str]:
    frames = [f["arg"]["instId"] for f in received(OKX) if f.get("arg", {}).get("channel") == channel and f.get("data")]
    return Counter(OKX_SYMBOLS[frame] for frame in frames)


@pytest.mark.parametrize(
    ("channel", "venue_channel"), [("orderbook", "books"), ("trades", "trades"), ("ticker", "tickers")]
)
def test_every_frame_of_okx_is_a_record(okx: Captured, channel: str, venue_channel: str) -> None:
    assert okx.counts(channel) == okx_frames(venue_channel)


def test_every_trade_of_okx_is_recorded_once_and_in_order(okx: Captured) -> None:
    for venue_id, symbol in OKX_SYMBOLS.items():
        frames = [
            f["data"]
            for f in received(OKX)
            if f.get("arg") == {"channel": "trades", "instId": venue_id} and f.get("data")
        ]
        ids = [trade["tradeId"] for data in frames for trade in data]
        assert okx.trade_ids(symbol) == ids
        assert okx.rows("trades")[symbol] == len(ids)


def test_no_frame_was_skipped_and_none_rejected(okx: Captured, coinbase: Captured) -> None:
    for captured in (okx, coinbase):
        events = Counter(r["data"]["event"] for r in captured.records if r["channel"] == "control")
        assert not {"rejected", "dropped", "gap"} & set(events)
        assert events["resynced"] == len(captured.counts("orderbook"))
