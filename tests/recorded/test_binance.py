"""Ten minutes of Binance spot, across midnight: recording -> real ccxt.pro -> bus -> segments -> Parquet."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from fluxforge.domain.status import CollectorStatus
from tests.recorded.recordings import BinanceRecording, recording
from tests.system import KEEP_RAW, running_system, simulator

pytestmark = pytest.mark.timeout(400)

FILES = ("binance/spot_btcusdt_20240808.gz", "binance/spot_btcusdt_20240809.gz")
MARKETS = "binance/exchangeInfo_spot_20250807.json"
SPEED = 40
MIDNIGHT_NS = 1_723_161_600_000_000_000
BEFORE_MIDNIGHT_NS = 13_000_000_000  # playing takes 15 s and begins some seconds after the clock
FEEDS = {"watchOrderBook": ["BTC/USDT"], "watchTrades": ["BTC/USDT"]}


@dataclass
class Captured:
    """What one run left behind."""

    base: Path
    status: CollectorStatus
    records: list[dict[str, Any]]
    sealed: int
    ledger: list[dict[str, Any]]

    def of(self, channel: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["channel"] == channel]

    def query(self, dataset: str, what: str, order: str = "ALL") -> list[tuple[Any, ...]]:
        """Ask the Parquet files themselves."""
        glob = self.base / "processed" / "ccxt" / dataset / "**" / "*.parquet"
        files = f"read_parquet('{glob}', hive_partitioning=true)"
        return duckdb.sql(f"SELECT {what} FROM {files} ORDER BY {order}").fetchall()


async def run(base: Path) -> Captured:
    ledger = base / "ledger.ndjson"
    files = [part for name in FILES for part in ("--recording", str(recording(name)))]
    play = [*files, "--markets", recording(MARKETS), "--exchange", "binance", "--speed", SPEED]
    async with simulator(*play, "--once", "--wait-for", 2, "--ledger", ledger) as (port, playing):
        exchange = {"via": f"127.0.0.1:{port}", "max_orderbook_depth": 50, "channels": FEEDS}
        ingestion = {"segment_max_mb": 5, "segment_max_age_seconds": 5}
        async with running_system(base, {"binance": exchange}, ingestion=ingestion, etl=KEEP_RAW) as system:
            segmenter = await system.start("segmenter")
            worker = await system.start("etl_worker")
            collector = await system.start("clock_collector", "binance", str(MIDNIGHT_NS - BEFORE_MIDNIGHT_NS))
            async with asyncio.timeout(200):
                await playing.wait()
            status = await system.drain_collector(collector)
            await system.drain(segmenter)
            await system.until(system.all_placed)
            await system.drain(worker)
            lines = [orjson.loads(line) for line in ledger.read_bytes().splitlines()]
            sealed = sum(manifest.records for manifest in system.manifests())
            return Captured(base, status, list(system.records()), sealed, lines)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    return asyncio.run(run(tmp_path_factory.mktemp("binance")))


@pytest.fixture(scope="module")
def original() -> BinanceRecording:
    return BinanceRecording.read(*FILES)


def test_every_trade_is_sealed_once_and_in_order(captured: Captured, original: BinanceRecording) -> None:
    ids = [int(trade["id"]) for record in captured.of("trades") for trade in record["data"]]
    assert len(ids) == 19_904
    assert ids == original.trade_ids


def test_one_snapshot_and_every_delta_is_sealed_once_and_in_order(
    captured: Captured, original: BinanceRecording
) -> None:
    ids = [record["data"]["nonce"] for record in captured.of("orderbook")]
    fresh = [last for _, last in original.deltas if last > original.snapshot_id]
    assert len(fresh) == 6_493
    assert ids == [original.snapshot_id, *fresh]


def test_the_touch_is_the_one_binance_itself_published(captured: Captured, original: BinanceRecording) -> None:
    compared = 0
    for record in captured.of("orderbook"):
        book = record["data"]
        published = original.touches.get(book["nonce"])
        if published:
            assert (*book["bids"][0], *book["asks"][0]) == published
            compared += 1
    assert compared >= 1_000


def test_the_lane_is_in_strict_order_and_without_a_hole(captured: Captured) -> None:
    times_ns = [record["capture_ns"] for record in captured.records]
    assert all(a < b for a, b in pairwise(times_ns))
    seqs: dict[tuple[str, str], int] = {}
    for record in captured.records:
        feed = (record["channel"], record["boot"])
        seqs[feed] = seqs.get(feed, 0) + 1
        assert record["seq"] == seqs[feed]


def test_collector_manifests_and_simulator_count_the_same(captured: Captured) -> None:
    assert captured.status.captured == captured.status.stored == captured.sealed == len(captured.records)
    assert (captured.status.dropped, captured.status.spooled, captured.status.waiting) == (0, 0, 0)
    sent = [line for line in captured.ledger if line["kind"] == "data"]
    assert len(captured.of("trades")) == sum(line["channel"] == "trades" for line in sent)
    # Every depth frame is a record, or one of those ccxt drops since the snapshot is newer; the snapshot is one more.
    books = captured.of("orderbook")
    newest = books[0]["data"]["nonce"]
    depth = [line["key"] for line in sent if line["channel"] == "orderbook"]
    assert len(books) == sum(last > newest for _, last in depth) + 1


def test_every_sealed_update_is_a_row_and_midnight_parts_the_dates(
    captured: Captured, original: BinanceRecording
) -> None:
    ids = captured.query("trades", "trade_id, date", order="capture_ns, seq, idx")
    assert [int(row[0]) for row in ids] == original.trade_ids
    assert {str(row[1]) for row in ids} == {"2024-08-08", "2024-08-09"}
    rows = captured.query("orderbook/books", "capture_ns, seq, bid_px[1], bid_sz[1], ask_px[1], ask_sz[1]")
    books = [
        (r["capture_ns"], r["seq"], *r["data"]["bids"][0], *r["data"]["asks"][0]) for r in captured.of("orderbook")
    ]
    assert rows == books
    assert {str(row[0]) for row in captured.query("orderbook/hf", "DISTINCT date")} == {"2024-08-08", "2024-08-09"}
