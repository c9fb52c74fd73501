"""Collectors after one another in a lane, and the lane's stream after another: on a real bus, with real processes."""

import asyncio
import shutil
import signal
import time
from asyncio.subprocess import Process
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from fluxforge.adapters.jetstream import BusOptions
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.lane import Lane
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.contract.bus_world import read_up_to
from tests.integration.collector.rig import LIVELY, PATIENCE_S, Rig, Running, all_channels, events_of
from tests.unit.fluxforge_collector.made import Line, lines_of, until

pytestmark = pytest.mark.timeout(300)

TTL_S = 2
Slot = tuple[str, str | None]


def seqs_of(lines: list[Line]) -> dict[Slot, list[int]]:
    seqs: dict[Slot, list[int]] = defaultdict(list)
    for line in lines:
        seqs[line.channel, line.symbol].append(line.seq)
    return seqs


def named_seqs(lines: list[Line]) -> dict[Slot, list[int]]:
    """The seqs that `dropped` records name, by feed."""
    named: dict[Slot, list[int]] = defaultdict(list)
    for line in events_of(lines, "dropped"):
        scope, detail = line.control.scope, line.data["detail"]
        slot = (scope.channel, scope.symbol) if scope else (detail["channel"], None)
        named[slot] += range(detail["first_seq"], detail["last_seq"] + 1)
    return named


async def short_lease(rig: Rig) -> dict[str, Any]:
    await provision(BusOptions(servers=(rig.server.url,), lease_ttl_s=TTL_S))
    return {"nats": {"servers": [rig.server.url], "lease_ttl_seconds": TTL_S}}


@pytest.mark.parametrize("left", ["nothing", "an older copy"])
async def test_a_bus_that_lost_acknowledged_blocks_is_gone_on_with_and_they_are_named_exactly(
    rig: Rig, left: str
) -> None:
    store, copy = rig.data / "nats" / "jetstream", rig.data / "copy"
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulateOptions(exchange="binance", pace=LIVELY)))
        async with rig.collector("binance", simulator.port, all_channels("binance", "BTC")) as running:
            if left == "an older copy":
                await running.until(lambda lines: len(lines) > 30)
                await rig.server.stop()
                shutil.copytree(store, copy)
                await rig.server.start()
                await until(lambda: rig.bus.connected)
            await running.until(lambda lines: len(lines) > 100)
            await rig.server.stop()
            shutil.rmtree(store)
            if copy.exists():
                shutil.copytree(copy, store)
            await rig.server.start()
            await until(lambda: rig.bus.connected)
            await provision(BusOptions(servers=(rig.server.url,)))
            rig.forget(running.lane)
            await rig.open_lane(running)
            await running.until(lambda lines: events_of(lines, "dropped"))
            found = len(await rig.lines(running.lane))
            await running.until(lambda lines: len(lines) > found + 60)
            status = await running.stop()
            lines = await rig.lines(running.lane)
    standing, named = seqs_of(lines), named_seqs(lines)
    assert named["orderbook", "BTC-USDT"]
    for slot in {*standing, *named}:
        seqs = sorted(standing[slot] + named[slot])
        assert seqs == list(range(1, len(seqs) + 1)), slot
    assert {line.control.reason for line in events_of(lines, "dropped")} == {"bus_lost"}
    assert status.captured == len(lines) + status.dropped
    assert status.stored == len(lines)


async def test_a_stream_that_ended_is_followed_by_the_next_epoch_over_memory_and_spool(rig: Rig) -> None:
    limits = {"queue_maxsize": 100, "window_blocks": 2, "batch_size": 20}
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulateOptions(exchange="binance", pace=LIVELY)))
        channels = all_channels("binance", "BTC", "ETH")
        async with rig.collector("binance", simulator.port, channels, ingestion=limits) as running:
            await running.until(lambda lines: len(lines) > 60)
            await rig.bus.streams.end(running.lane, 1)
            await until(lambda: "spool.begun" in running.log_path.read_text(), deadline_s=PATIENCE_S)
            before = await rig.lines(running.lane)
            last = await rig.bus.streams.last(running.lane, 1)
            assert last is not None
            await rig.bus.streams.create(running.lane, 2, seed=replace(last.block, feeds=(), payload=b""))
            found = await rig.bus.states.get(running.lane)
            assert found is not None
            await rig.bus.states.update(running.lane, replace(found.state, epoch=2, sealed_seq=1), found.revision)
            await until(lambda: "spool.drained" in running.log_path.read_text(), deadline_s=PATIENCE_S)
            status = await running.stop()
        second = rig.bus.reader(running.lane, 2, from_seq=1)
        info = await rig.bus.streams.info(running.lane, 2)
        assert info is not None
        seed, *blocks = await read_up_to(second, info.last_seq)
        await second.close()
    assert (seed.block.id, seed.block.payload) == (last.block.id, b"")
    assert blocks[0].block.after == last.block.id
    after = [line for each in blocks for line in lines_of([each.block])]
    assert status.captured == status.stored == len(before) + len(after)
    assert not events_of(after, "dropped")
    for seqs in seqs_of([*before, *after]).values():
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_collector_that_slept_past_its_lease_is_refused_and_what_it_held_gets_a_lane_of_its_own(
    rig: Rig,
) -> None:
    sections = await short_lease(rig)
    channels = all_channels("binance", "BTC")
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulateOptions(exchange="binance", pace=LIVELY)))

        async def start() -> tuple[Running, Process]:
            return await stack.enter_async_context(
                rig.collector_process("binance", simulator.port, channels, **sections)
            )

        zombie, sleeping = await start()
        await zombie.until(lambda lines: len(lines) > 30)
        heir, working = await start()
        await until(lambda: "lease.awaited" in zombie.log_path.read_text(), deadline_s=PATIENCE_S)
        assert len({line.boot for line in await rig.lines(zombie.lane)}) == 1
        sleeping.send_signal(signal.SIGSTOP)
        stopped_s = time.monotonic()
        await heir.until(lambda lines: len({line.boot for line in lines}) == 2)
        assert time.monotonic() - stopped_s < TTL_S + 5
        sleeping.send_signal(signal.SIGCONT)
        async with asyncio.timeout(15):
            assert await sleeping.wait() == 1
        assert "FencedError" in zombie.log_path.read_text()
        lines = await rig.lines(heir.lane)
        first, second = dict.fromkeys(line.boot for line in lines)
        own = [line for line in lines if line.boot == first]
        assert lines[: len(own)] == own  # nothing of it stands behind its heir's first record
        again, _ = await start()
        working.send_signal(signal.SIGTERM)
        rescue = Lane("ccxt", "binance", f"0of1r{first}")
        aside = Running(rig, rescue, again.log_path)
        aside.ended = again.ended
        await rig.open_lane(aside)
        await again.until(lambda lines: len({line.boot for line in lines}) == 3)
        saved = await rig.lines(rescue)
    assert saved[-1].event == "lane_closed"
    everything, named = seqs_of([*own, *saved]), named_seqs(saved)
    for slot in {*everything, *named}:
        seqs = sorted(everything[slot] + named[slot])
        assert seqs == list(range(1, len(seqs) + 1)), slot
    assert second in {line.boot for line in lines}


async def test_a_killed_collectors_heir_on_the_same_machine_does_not_wait_for_the_lease_to_end(rig: Rig) -> None:
    channels = all_channels("binance", "BTC")
    async with Simulator(SimulateOptions(exchange="binance", pace=LIVELY)) as simulator:
        async with rig.collector_process("binance", simulator.port, channels) as (first, process):
            await first.until(lambda lines: len(lines) > 30)
            process.kill()
            await process.wait()
        async with rig.collector_process("binance", simulator.port, channels) as (second, _):
            await second.until(lambda lines: len({line.boot for line in lines}) == 2)
            assert "lease.awaited" not in second.log_path.read_text()
            await second.stop()
