"""What leaves the bus, and what never does."""

from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.domain.control import Event
from fluxforge.domain.errors import FencedError
from fluxforge_segmenter.recover import recover
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.tending import close_lane, purge
from tests.traffic import LANE, Traffic, manifests
from tests.unit.fluxforge_segmenter.world import HOUR_NS, Crash, Points, World, lines, payload


async def closed(world: World) -> Traffic:
    traffic = Traffic()
    await world.put([traffic.block(), traffic.control(Event.LANE_CLOSED)])
    await world.drain()
    return traffic


async def closing(world: World, points: Points | None = None, *, grace_ns: int = 0) -> bool:
    tools = await world.tools(points, grace_ns=grace_ns)
    return await close_lane(tools, await recover(tools, world.workspace(tools)))


def is_gone(world: World) -> bool:
    return not world.server.states and not world.server.streams


async def test_a_closed_lane_leaves_the_bus_and_its_segments_stay(tmp_path: Path) -> None:
    world = World(tmp_path)
    traffic = await closed(world)
    assert await closing(world)
    assert is_gone(world)
    assert lines(world) == payload(traffic.published)


async def test_a_closed_lane_stays_for_the_grace(tmp_path: Path) -> None:
    world = World(tmp_path)
    await closed(world)
    assert not await closing(world, grace_ns=HOUR_NS)
    assert [info.is_sealed for info in world.server.streams.values()] == [False]
    world.clock.advance(HOUR_NS)
    assert await closing(world, grace_ns=HOUR_NS)


async def test_a_lane_that_is_not_closed_stays(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.control(Event.LANE_CLOSED), traffic.block()])
    await world.drain()
    assert not await closing(world)
    assert world.server.states


async def test_a_closed_lane_to_which_somebody_wrote_again_stays(tmp_path: Path) -> None:
    world = World(tmp_path)
    traffic = await closed(world)
    await world.put([traffic.block()])
    assert not await closing(world)
    await world.drain()
    assert lines(world) == payload(traffic.published)


async def test_a_closed_lane_that_has_a_collector_stays(tmp_path: Path) -> None:
    world = World(tmp_path)
    await closed(world)
    tools = await world.tools(grace_ns=0)
    tail = await recover(tools, world.workspace(tools))
    revision = await world.bus.leases.acquire(f"collector-{LANE}", "collector")
    assert revision is not None
    assert not await close_lane(tools, tail)
    await world.bus.leases.release(f"collector-{LANE}", revision)
    assert await close_lane(tools, tail)


async def test_a_closed_lane_whose_key_is_new_stays(tmp_path: Path) -> None:
    world = World(tmp_path)
    await closed(world)
    assert await closing(world)
    await world.bus.states.create(LANE)
    assert not await closing(world)
    assert world.server.states


async def test_a_closing_that_dies_anywhere_is_carried_out_by_the_next_start(tmp_path: Path) -> None:
    whole = World(tmp_path / "whole")
    await closed(whole)
    points = Points()
    assert await closing(whole, points)
    assert {"after end 1", "after key deleted", "after delete 1"} <= set(points.passed)
    for crash_at in range(1, len(points.passed) + 1):
        world = World(tmp_path / str(crash_at))
        traffic = await closed(world)
        with pytest.raises(Crash):
            await closing(world, Points(crash_at))
        if not is_gone(world):
            segmenting = await world.segmenter(grace_ns=0)
            if world.server.streams[LANE.stream(1)].is_sealed:
                await segmenting.task.run()  # ends by itself, without a drain
                assert segmenting.task.is_closed
            else:
                assert await close_lane(
                    segmenting.tools, await recover(segmenting.tools, world.workspace(segmenting.tools))
                )
        assert is_gone(world), points.passed[crash_at - 1]
        assert lines(world) == payload(traffic.published)


async def test_a_task_removes_its_closed_lane_and_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    await closed(world)
    segmenting = await world.segmenter(grace_ns=0)
    async with segmenting.running() as run:
        await segmenting.until(lambda: segmenting.task.is_ready)
        world.clock.advance(61_000_000_000)
        await segmenting.until(run.done)
    assert is_gone(world)


async def test_nothing_is_purged_from_a_stream_whose_sequences_were_used_again(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block() for _ in range(4)])
    await world.drain()
    tools = await world.tools(grace_ns=0)
    tail = await recover(tools, world.workspace(tools))
    world.cut(2)
    other = Traffic(boot="other", after=traffic.published[1].id, capture_ns=traffic.capture_ns)
    await world.put([other.block() for _ in range(4)])
    await purge(tools, tail)
    assert list(world.server.streams[LANE.stream(1)].blocks) == [1, 2, 3, 4, 5, 6]


async def test_nothing_is_purged_by_one_that_lost_the_lane(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block() for _ in range(4)])
    await world.drain()
    zombie: LaneTools = await world.tools(grace_ns=0)
    tail = await recover(zombie, world.workspace(zombie))
    await world.tools()
    with pytest.raises(FencedError):
        await purge(zombie, tail)
    with pytest.raises(FencedError):
        await close_lane(zombie, replace(tail, final=True))
    assert list(world.server.streams[LANE.stream(1)].blocks) == [1, 2, 3, 4]
    assert len(manifests(world.data)) == 1
