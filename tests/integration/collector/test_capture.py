"""What the simulator says it sent, against what the collector stored: each once, in order, by the venue's own ids."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from fluxforge_simulator.options import Faults, LoadPlan, MalformedFrame, SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import (
    LIVELY,
    Rig,
    all_channels,
    all_disconnected,
    by_feed,
    events_of,
    markets,
    sent,
)
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(300)


def trade_ids(lines: list[Line]) -> list[str]:
    return [str(trade["id"]) for line in lines for trade in line.data]


def flat(keys: list[list[Any]]) -> list[str]:
    """Ids of trades."""
    return [str(key) for group in keys for key in group]


@pytest.mark.parametrize("exchange", ["binance", "binanceus", "binanceusdm", "bybit", "coinbase", "kraken", "okx"])
async def test_every_frame_of_every_channel_is_one_record(rig: Rig, tmp_path: Path, exchange: str) -> None:
    ledger = tmp_path / "ledger.ndjson"
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(SimulateOptions(exchange=exchange, ledger=ledger, pace=LIVELY))
        )
        channels = all_channels(exchange, "BTC", "ETH")
        async with rig.collector(exchange, simulator.port, channels) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 6 and len(lines) > 100)
            await stack.aclose()
            await running.until(all_disconnected)
            status = await running.stop()
            lines = await rig.lines(running.lane)
    assert status.captured == status.stored == len(lines)
    assert status.dropped == 0
    feeds, frames = by_feed(lines), sent(ledger)
    assert set(feeds) == set(frames)
    for feed, keys in frames.items():
        assert [line.seq for line in feeds[feed]] == list(range(1, len(feeds[feed]) + 1))
        if feed[0] == "trades":
            snapshots = sent(ledger, "snapshot").get(feed, [])
            assert sorted(trade_ids(feeds[feed])) == sorted(flat(keys) + flat(snapshots))
        elif feed[0] == "orderbook" and exchange.startswith("binance"):
            last_ids = [line.data["nonce"] for line in feeds[feed]]
            assert last_ids[1:] == [key[1] for key in keys if key[1] > last_ids[0]]
            assert last_ids == sorted(set(last_ids))
        elif feed[0] == "orderbook":
            assert len(feeds[feed]) == len(keys) + len(sent(ledger, "snapshot")[feed])
        else:
            assert len(feeds[feed]) == len(keys) + len(sent(ledger, "snapshot").get(feed, []))


async def test_books_are_whole_uncrossed_and_cut_to_the_configured_depth(rig: Rig) -> None:
    async with Simulator(SimulateOptions(exchange="binance", pace=LIVELY)) as simulator:
        exchange = {"via": f"127.0.0.1:{simulator.port}", "max_orderbook_depth": 7}
        exchange["channels"] = {"watchOrderBook": ["BTC/USDT"]}
        async with rig.collector("binance", simulator.port, {}, ccxt={"exchanges": {"binance": exchange}}) as running:
            lines = await running.until(lambda lines: len(lines) > 30)
            await running.stop()
    for line in by_feed(lines)["orderbook", "BTC-USDT"]:
        bids, asks = line.data["bids"], line.data["asks"]
        assert (len(bids), len(asks)) == (7, 7)
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0][0] < asks[0][0]


@pytest.mark.slow
async def test_a_flood_loses_nothing_and_touches_no_spool(rig: Rig, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    load = LoadPlan(frames=20_000, rate_hz=None, levels=20)
    async with Simulator(SimulateOptions(exchange="binance", ledger=ledger, load=load)) as simulator:
        channels = {"watchOrderBook": ["BTC/USDT"]}
        async with rig.collector_process("binance", simulator.port, channels) as (running, _):
            await simulator.finished.wait()
            status = await running.stop()
            lines = await rig.lines(running.lane)
    assert (status.dropped, status.spooled) == (0, 0)
    assert "spool.begun" not in running.log_path.read_text()
    recorded = [line.data["nonce"] for line in by_feed(lines)["orderbook", "BTC-USDT"]]
    assert recorded[1:] == [last for _, last in sent(ledger)["orderbook", "BTC-USDT"]]
    assert not events_of(lines, "dropped")


async def test_a_malformed_frame_is_named_and_its_feed_lives_on(rig: Rig, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    bad = MalformedFrame("binance", "trades", "BTC/USDT", after_s=0.5)
    options = SimulateOptions(exchange="binance", ledger=ledger, pace=LIVELY, faults=Faults(malformed=(bad,)))
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(options))
        channels = {"watchTrades": ["BTC/USDT"], "watchOrderBook": ["BTC/USDT"]}
        async with rig.collector("binance", simulator.port, channels) as running:
            await running.until(lambda lines: events_of(lines, "rejected"))
            before = len(by_feed(await rig.lines(running.lane))["trades", "BTC-USDT"])
            await running.until(lambda lines: len(by_feed(lines)["trades", "BTC-USDT"]) > before + 5)
            await stack.aclose()
            await running.until(all_disconnected)
            await running.stop()
            lines = await rig.lines(running.lane)
    (rejected,) = events_of(lines, "rejected")
    detail = rejected.data["detail"]
    assert detail["text"] == bad.payload.decode()
    assert detail["size_bytes"] == len(bad.payload)
    assert len(detail["sha256"]) == 64
    assert "stream.binance.com" in detail["url"]
    first_loss = events_of(lines, "disconnected")[0].capture_ns
    assert rejected.capture_ns < first_loss
    assert trade_ids(by_feed(lines)["trades", "BTC-USDT"]) == flat(sent(ledger)["trades", "BTC-USDT"])


@pytest.mark.parametrize("exchange", ["binance", "coinbase", "kraken"])
async def test_a_refused_subscription_is_named_and_the_others_live_on(rig: Rig, exchange: str) -> None:
    (refused,) = markets(exchange, "ETH")
    symbol = refused.replace("/", "-")
    options = SimulateOptions(exchange=exchange, pace=LIVELY, faults=Faults(refused=frozenset({refused})))
    async with Simulator(options) as simulator:
        channels = all_channels(exchange, "BTC", "ETH", "SOL")
        async with rig.collector(exchange, simulator.port, channels) as running:
            lines = await running.until(lambda lines: len(by_feed(lines)) == 6 and len(lines) > 200)
            await running.stop()
    refusals = [line for line in events_of(lines, "rejected") if "refused" in (line.data["reason"] or "")]
    named = {key.channel for line in refusals for key in line.control.concerned() if key.symbol == symbol}
    assert named == {"orderbook", "trades", "ticker"}
    assert all(feed[1] != symbol for feed in by_feed(lines))
    for feed in by_feed(lines).values():
        assert [line.seq for line in feed] == list(range(1, len(feed) + 1))
    assert "subscription refused" in running.log_path.read_text()
