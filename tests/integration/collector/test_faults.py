"""The exchange goes, the bus goes, the collector is killed: what is stored says so, and nothing else is lost."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import (
    LIVELY,
    PATIENCE_S,
    Rig,
    all_channels,
    all_disconnected,
    by_feed,
    events_of,
    sent,
)
from tests.unit.fluxforge_collector.made import until

pytestmark = pytest.mark.timeout(300)


async def test_a_lost_exchange_is_a_hole_of_each_feed_until_it_is_back(rig: Rig, port: int) -> None:
    channels = all_channels("binance", "BTC")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Simulator(SimulateOptions(exchange="binance", port=port, pace=LIVELY)))
        async with rig.collector("binance", port, channels) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 3)
            await stack.aclose()
            await running.until(lambda lines: len(events_of(lines, "disconnected")) == 3)
            async with Simulator(SimulateOptions(exchange="binance", port=port, pace=LIVELY)):
                before = len(await rig.lines(running.lane))
                await running.until(lambda lines: len(by_feed(lines[before:])) == 3)
                status = await running.stop()
            lines = await rig.lines(running.lane)
    assert status.captured == status.stored == len(lines)
    lost = events_of(lines, "disconnected")
    closed = {line.control.hole: line.control for line in lines if line.event in {"resynced", "recovered"}}
    for line in lost:
        (feed,) = line.control.concerned()
        closing = closed[line.control.hole]
        assert (closing.scope, closing.from_ns) == (feed, line.control.from_ns)
        records = by_feed(lines)[feed.channel, feed.symbol]
        newest_ns = max(one.capture_ns for one in records if one.capture_ns < line.capture_ns)
        assert newest_ns <= (closing.from_ns or 0) <= line.capture_ns
        assert closing.event == ("resynced" if feed.channel == "orderbook" else "recovered")
    for feed in by_feed(lines).values():
        assert [line.seq for line in feed] == list(range(1, len(feed) + 1))


async def test_a_bus_that_is_away_loses_nothing(rig: Rig, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    channels = all_channels("binance", "BTC", "ETH")
    # Small enough to fill soon, large enough to keep up with the exchange afterwards and to hold seconds of its data.
    limits = {"queue_maxsize": 400, "window_blocks": 2, "batch_size": 50}
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(SimulateOptions(exchange="binance", ledger=ledger, pace=LIVELY))
        )
        async with rig.collector("binance", simulator.port, channels, ingestion=limits) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 6)
            await rig.server.stop()
            await rig_log(running.log_path, "spool.begun")
            await rig.server.start()
            await rig_log(running.log_path, "spool.drained")
            await stack.aclose()
            await running.until(all_disconnected)
            status = await running.stop()
            lines = await rig.lines(running.lane)
    assert status.captured == status.stored == len(lines)
    assert (status.dropped, status.spooled) == (0, 0)
    assert list((rig.data / "spool" / str(running.lane)).iterdir()) == []
    for (channel, symbol), keys in sent(ledger).items():
        if channel == "trades":
            ids = [trade["id"] for line in by_feed(lines)[channel, symbol] for trade in line.data]
            assert ids == [str(key) for group in keys for key in group]


async def test_a_killed_collector_goes_on_behind_the_lanes_last_message(rig: Rig) -> None:
    channels = all_channels("binance", "BTC")
    async with Simulator(SimulateOptions(exchange="binance", pace=LIVELY)) as simulator:
        async with rig.collector_process("binance", simulator.port, channels) as (first, process):
            await first.until(lambda lines: len(lines) > 60)
            process.kill()
            await process.wait()
        found = await rig.lines(first.lane)  # what its socket still held may come after
        async with rig.collector("binance", simulator.port, channels) as second:
            await second.until(lambda lines: len(lines) > len(found) + 60 and len({line.boot for line in lines}) == 2)
            await second.stop()
            lines = await rig.lines(second.lane)
    boots = list(dict.fromkeys(line.boot for line in lines))
    assert len(boots) == 2
    left = [line for line in lines if line.boot == boots[0]]
    assert lines[: len(found)] == left[: len(found)] == found
    started = events_of(lines, "started")[1]
    assert (started.boot, lines.index(started)) == (boots[1], len(left))
    after = started.control.after
    assert after is not None
    assert (after.boot, after.capture_ns) == (boots[0], left[-1].capture_ns)
    assert not [line for line in events_of(lines, "stopped") if line.boot == boots[0]]
    for boot in boots:
        for feed in by_feed([line for line in lines if line.boot == boot]).values():
            assert [line.seq for line in feed] == list(range(1, len(feed) + 1))


async def rig_log(path: Path, word: str) -> None:
    await until(lambda: word in path.read_text(), deadline_s=PATIENCE_S)
