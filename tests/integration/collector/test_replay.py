"""What was captured is played again: on the bus as a lane of its own, over websockets to the unmodified client."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.lane import Lane
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.settings import load
from fluxforge_collector.collector import Collector
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.replay.publish import ReplaySource, feeds_of
from fluxforge_collector.replay.script import script_of
from fluxforge_collector.replay.segments import open_segments
from fluxforge_collector.replay.serve import WireServer
from fluxforge_collector.replay.tape import steps
from fluxforge_collector.settings import settings_of
from fluxforge_collector.wire_records import Frame
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, Running, all_channels, by_feed
from tests.integration.collector.test_wire import items_of
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(240)
CAPTURED = {"capture_wire": True}


async def captured(rig: Rig, exchange: str, path: Path, records: int) -> list[Line]:
    """Capture from a made-up market, with the wire; write a segment and return its records."""
    async with Simulator(SimulateOptions(exchange=exchange, pace=LIVELY)) as simulator:
        channels = all_channels(exchange, "BTC", "ETH")
        async with rig.collector(exchange, simulator.port, channels, ingestion=CAPTURED) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 7 and len(lines) > records)
            await running.stop()
    blocks = await rig.blocks(running.lane)
    await asyncio.to_thread(path.write_bytes, b"".join(block.payload for block in blocks))
    return await rig.lines(running.lane)


async def published(rig: Rig, path: Path, lane: Lane, speed: float) -> Collector:
    """Replay a segment on the bus, to its end."""
    shutdown = Shutdown()
    clock = SystemClock()
    segments = open_segments([path])
    source = ReplaySource(segments, feeds_of(segments, lane.source), speed=speed, ended=shutdown.request)
    settings = settings_of(load(rig.data / "config.json"), lane)
    collector = Collector(
        replace(settings, limits=replace(settings.limits, waiting_records_max=100)),
        source=source,
        bus=rig.bus,
        clock=clock,
        events=CollectorEvents(CollectorRegistry(), str(lane), clock),
        boot="00000007",
    )
    running = Running(rig, lane, rig.data / "none")
    async with asyncio.TaskGroup() as tasks:
        replaying = tasks.create_task(collector.run(shutdown))
        running.ended = replaying.done
        await rig.open_lane(running)
    return collector


def frames_of(lines: Iterable[Line]) -> dict[int, list[Any]]:
    """Return the frames that each connection brought."""
    frames = defaultdict(list)
    for conn, item in items_of([line for line in lines if line.channel == "wire"]):
        if isinstance(item, Frame) and not item.sent:
            frames[conn].append(item.payload)
    return frames


async def test_a_replayed_lane_holds_the_same_records_in_the_same_order(rig: Rig, tmp_path: Path) -> None:
    before = await captured(rig, "kraken", tmp_path / "segment", 3_000)
    lane = Lane("replay", "kraken", "0of1")
    collector = await published(rig, tmp_path / "segment", lane, speed=0)
    after = await rig.lines(lane)
    status = collector.status()
    assert (status.captured, status.dropped) == (status.stored, 0)
    assert {line.boot for line in after} == {"00000007"}
    mine, theirs = (
        [(line.channel, line.symbol, line.seq, line.conn, line.data) for line in lines if line.channel != "control"]
        for lines in (after, before)
    )
    assert mine == theirs
    told = [line.event for line in after if line.event in {"connected", "subscribed"}]
    assert told == [line.event for line in before if line.event in {"connected", "subscribed"}]


async def test_a_paced_replay_takes_as_long_as_the_capture_by_its_speed(rig: Rig, tmp_path: Path) -> None:
    before = await captured(rig, "kraken", tmp_path / "segment", 300)
    lane = Lane("replay", "kraken", "0of1")
    await published(rig, tmp_path / "segment", lane, speed=2)
    after = [line for line in await rig.lines(lane) if line.channel != "control"]
    records = [line for line in before if line.channel != "control"]
    spans_ns = [lines[-1].capture_ns - lines[0].capture_ns for lines in (records, after)]
    assert spans_ns[1] >= 0.45 * spans_ns[0]


@pytest.mark.parametrize("exchange", ["binanceus", "coinbase", "kraken"])
async def test_the_unmodified_client_gets_the_identical_frames(rig: Rig, tmp_path: Path, exchange: str) -> None:
    before = await captured(rig, exchange, tmp_path / "segment", 1_000)
    script = script_of(steps(open_segments([tmp_path / "segment"]).records()))
    lane = Lane("ccxt", exchange, "0of1")
    async with WireServer(script, port=0, speed=0) as server:
        channels = all_channels(exchange, "BTC", "ETH")
        async with rig.collector(exchange, server.port, channels, ingestion=CAPTURED) as running:
            wanted = sum(map(len, frames_of(before).values()))
            await running.until(lambda lines: sum(map(len, frames_of(lines[len(before) :]).values())) == wanted)
            await running.stop()
        after = (await rig.lines(lane))[len(before) :]
    assert sorted(map(str, frames_of(after).values())) == sorted(map(str, frames_of(before).values()))
    trades = [
        [line.data for line in lines if (line.channel, line.symbol) == ("trades", before_symbol)]
        for lines in (before, after)
        for before_symbol in sorted({line.symbol or "" for line in before if line.channel == "trades"})
    ]
    assert trades[:2] == trades[2:]
    assert orjson.dumps(trades)
