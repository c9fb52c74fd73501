"""SIGHUP: markets come and go while the collector runs, and what stays loses not one frame."""

import signal
from asyncio.subprocess import Process
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fluxforge.domain.control import FeedKey
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import (
    LIVELY,
    PATIENCE_S,
    QUOTES,
    Rig,
    Running,
    all_disconnected,
    by_feed,
    events_of,
    markets,
    sent,
)
from tests.unit.fluxforge_collector.made import Line, until

pytestmark = pytest.mark.timeout(300)


async def reloaded(running: Running, process: Process, word: str = "configuration.reloaded") -> None:
    """Ask for a reload and wait for the word that ends it."""
    before = running.log_path.read_text().count(word)
    process.send_signal(signal.SIGHUP)
    await until(lambda: running.log_path.read_text().count(word) > before, deadline_s=PATIENCE_S)


def key(exchange: str, channel: str, base: str) -> FeedKey:
    return FeedKey(channel, f"{base}-{QUOTES[exchange]}")


def of(lines: list[Line], feed: FeedKey) -> list[Line]:
    return by_feed(lines)[feed.channel, feed.symbol]


def spoken_of(lines: list[Line], feed: FeedKey) -> list[str | None]:
    return [line.event for line in lines if line.event and feed in line.control.concerned()]


def check_kept_whole(lines: list[Line], ledger: Path, exchange: str, feed: FeedKey) -> None:
    """Every frame that was sent is a record, and nothing was said of the feed but its beginning and its end."""
    records, frames = of(lines, feed), sent(ledger)[feed.channel, feed.symbol]
    snapshots = sent(ledger, "snapshot").get((feed.channel, feed.symbol), [])
    assert [line.seq for line in records] == list(range(1, len(records) + 1))
    if feed.channel == "trades":
        ids = [str(trade["id"]) for line in records for trade in line.data]
        assert sorted(ids) == sorted(str(one) for group in frames + snapshots for one in group)
    elif feed.channel == "orderbook" and exchange.startswith("binance"):
        nonces = [line.data["nonce"] for line in records]
        assert nonces[1:] == [last for _, last in frames if last > nonces[0]]
    else:
        assert len(records) == len(frames) + len(snapshots)
    sound = "resynced" if feed.channel == "orderbook" else "recovered"
    said = [event for event in spoken_of(lines, feed) if event not in {"connected", "subscribed"}]
    assert said == ["started", sound, "disconnected", "stopped"]


@pytest.mark.parametrize("exchange", ["binance", "kraken", "coinbase"])
async def test_markets_come_and_go_and_the_others_know_nothing_of_it(rig: Rig, tmp_path: Path, exchange: str) -> None:
    ledger = tmp_path / "ledger.ndjson"
    both = markets(exchange, "BTC", "ETH")
    first = {"watchOrderBook": both, "watchTrades": both, "watchTicker": markets(exchange, "BTC")}
    other = {
        "watchOrderBook": markets(exchange, "BTC", "SOL"),
        "watchTrades": both,
        "watchTicker": markets(exchange, "BTC", "SOL"),
    }
    gone = key(exchange, "orderbook", "ETH")
    kept = [
        key(exchange, *name) for name in (("orderbook", "BTC"), ("trades", "BTC"), ("trades", "ETH"), ("ticker", "BTC"))
    ]
    new = [key(exchange, channel, "SOL") for channel in ("orderbook", "ticker")]
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(SimulateOptions(exchange=exchange, ledger=ledger, pace=LIVELY))
        )
        async with rig.collector_process(exchange, simulator.port, first) as (running, process):
            await running.until(lambda lines: len(by_feed(lines)) == 5 and len(lines) > 100)
            rig.configure(exchange, simulator.port, other)
            await reloaded(running, process)
            await running.until(lambda lines: all(len(of(lines, feed)) > 5 for feed in new))
            between = await rig.lines(running.lane)
            rig.configure(exchange, simulator.port, first)
            await reloaded(running, process)
            again = len(of(between, gone))
            await running.until(lambda lines: len(of(lines, gone)) > again + 20)
            await stack.aclose()
            await running.until(lambda lines: all("disconnected" in spoken_of(lines, feed) for feed in kept))
            status = await running.stop()
            lines = await rig.lines(running.lane)
    assert status.captured == status.stored == len(lines)
    assert status.dropped == 0
    for feed in kept:
        check_kept_whole(lines, ledger, exchange, feed)
    left = next(line for line in events_of(lines, "stopped") if line.control.concerned() == (gone,))
    assert (left.control.ends_boot, left.control.reason) == (False, "the configuration asks for it no more")
    back = next(line for line in events_of(lines, "started") if line.control.concerned() == (gone,))
    assert not [line for line in of(lines, gone) if left.capture_ns < line.capture_ns < back.capture_ns]
    closing = next(line.control for line in events_of(lines, "resynced") if line.control.hole == back.control.hole)
    assert closing.scope == gone
    records = of(lines, gone)
    assert [line.seq for line in records] == list(range(1, len(records) + 1))
    for feed in new:
        assert [event for event in spoken_of(lines, feed) if event in {"started", "stopped"}] == ["started", "stopped"]


async def test_a_file_that_cannot_be_had_changes_nothing_and_is_named(rig: Rig, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    channels = {"watchTrades": markets("binance", "BTC", "ETH")}
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(SimulateOptions(exchange="binance", ledger=ledger, pace=LIVELY))
        )
        async with rig.collector_process("binance", simulator.port, channels) as (running, process):
            await running.until(lambda lines: len(by_feed(lines)) == 2)
            config = rig.configure("binance", simulator.port, {"watchTrades": ["BTC/USDX"]})
            await reloaded(running, process, "no market 'BTC/USDX' for watchTrades")
            config.write_text("ccxt: {exchanges: [")
            await reloaded(running, process, "configuration.refused")
            rig.configure("binance", simulator.port, {})
            await reloaded(running, process, "nothing to capture")
            rig.configure("binance", simulator.port, channels, ingestion={"batch_size": 7})
            await reloaded(running, process, "configuration.restart_needed")
            assert '"keys":["ingestion.batch_size"]' in running.log_path.read_text()
            before = len(await rig.lines(running.lane))
            await running.until(lambda lines: len(by_feed(lines[before:])) == 2)
            await stack.aclose()
            await running.until(all_disconnected)
            await running.stop()
            lines = await rig.lines(running.lane)
    for base in ("BTC", "ETH"):
        check_kept_whole(lines, ledger, "binance", key("binance", "trades", base))
