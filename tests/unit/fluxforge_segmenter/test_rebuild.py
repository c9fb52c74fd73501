"""A lane whose state the bus lost."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.control import Event
from tests.traffic import LANE, Traffic, manifests
from tests.unit.fluxforge_segmenter.world import Crash, Points, World, every_crash, lines, payload


@dataclass
class Known:
    """What is left of the lane once it goes on, and in which epoch."""

    traffic: Traffic
    sealed: int
    epoch: int


async def sealed(world: World, *, blocks: int = 4) -> Traffic:
    traffic = Traffic()
    await world.put([traffic.block() for _ in range(blocks)])
    await world.drain(size_bytes_max=3_000)
    return traffic


async def emptied_bucket(world: World) -> Known:
    traffic = await sealed(world)
    await world.put([traffic.block()])
    world.server.states.clear()
    return Known(traffic, 5, 1)


async def emptied_bucket_of_a_purged_lane(world: World) -> Known:
    traffic = await sealed(world)
    await world.bus.streams.purge(LANE, 1, below_seq=4)
    world.server.states.clear()
    return Known(traffic, 4, 1)


async def wiped_store(world: World) -> Known:
    traffic = await sealed(world)
    await world.put([traffic.block()])
    world.server.states.clear()
    world.server.leases.clear()
    world.server.streams.clear()
    await world.bus.states.create(LANE)
    return Known(traffic, 4, 2)


async def wiped_store_with_a_finished_file(world: World) -> Known:
    traffic = await sealed(world)
    await world.put([traffic.block(), traffic.block()])
    with pytest.raises(Crash):
        await world.drain(await named(world))
    world.server.states.clear()
    world.server.streams.clear()
    await world.bus.states.create(LANE)
    return Known(traffic, 6, 2)


async def named(world: World) -> Points:
    """Return a crash just after the lane state named the next seal."""
    points = Points()
    owner = len((await world.state()).recent)
    assert owner
    twin = World(world.data.with_name("twin"))
    blocks = list(world.server.streams[LANE.stream(1)].blocks.values())
    await twin.put(blocks[:4])
    await twin.drain(size_bytes_max=3_000)
    await twin.put(blocks[4:])
    await twin.drain(points)
    shutil.rmtree(twin.data)
    return Points(next(n for n, name in enumerate(points.passed, 1) if name.startswith("after state sealing=seg")))


async def newer_stream(world: World) -> Known:
    traffic = await sealed(world)
    await world.put([traffic.block(), traffic.block()])
    await world.bus.streams.end(LANE, 1)
    await world.drain()
    world.server.states.clear()
    return Known(traffic, 6, 2)


async def several_streams_and_no_segment(world: World) -> Known:
    traffic = Traffic()
    await world.put([traffic.block(), traffic.block()], epoch=3)
    await world.put([traffic.block()], epoch=4)
    world.server.states.clear()
    return Known(traffic, 3, 4)


async def committed_without_manifests(world: World) -> Known:
    traffic = await sealed(world)
    for manifest in manifests(world.data):
        commit = CommitRecord(
            str(LANE), manifest.name, manifest.identity, 1, (), 12, 0, manifest.feeds, 1, 1, "test", manifest.created_ns
        )
        world.store.create(world.layout.commit_key(LANE, manifest.name), commit.to_json())
        world.store.delete(world.layout.segment_key(LANE, manifest.file))
        world.store.delete(world.layout.manifest_key(LANE, manifest.name))
    world.server.states.clear()
    return Known(traffic, 0, 1)


@pytest.mark.parametrize(
    "prepare",
    [
        emptied_bucket,
        emptied_bucket_of_a_purged_lane,
        wiped_store,
        wiped_store_with_a_finished_file,
        newer_stream,
        several_streams_and_no_segment,
        committed_without_manifests,
    ],
)
async def test_a_lane_without_a_state_goes_on_where_it_was_wherever_that_dies(
    tmp_path: Path, prepare: Callable[[World], Awaitable[Known]]
) -> None:
    async def check(world: World, known: Known) -> None:
        before = payload(known.traffic.published[: known.sealed])
        assert lines(world) == before
        state = await world.state()
        assert (state.epoch, state.sealing) == (known.epoch, None)
        stream = world.server.streams[LANE.stream(known.epoch)]
        last = stream.blocks[stream.last_seq]
        other = Traffic(boot="other", after=last.id, capture_ns=known.traffic.capture_ns)
        await world.put([other.block()], epoch=known.epoch)
        await world.drain()
        assert lines(world) == before + payload(other.published)
        names = [manifest.name for manifest in manifests(world.data)]
        assert names == sorted(set(names))

    await every_crash(tmp_path, prepare, check)


async def test_names_go_on_behind_the_highest_that_is_in_use(tmp_path: Path) -> None:
    world = World(tmp_path)
    traffic = await sealed(world)
    last = manifests(world.data)[-1]
    half = replace(last, name="segment_20251209T14_00099", file="segment_20251209T14_00099.ndjson", last=99)
    world.store.create(world.layout.manifest_key(LANE, half.name), half.to_json())
    world.store.create(world.layout.segment_key(LANE, "a_file_of_somebody.ndjson"), b"{}\n")
    world.server.states.clear()
    await world.put([traffic.block()])
    await world.drain()
    assert manifests(world.data)[-1].name == "segment_20251209T14_00100"


async def test_a_lane_that_was_closed_opens_a_new_epoch_when_its_collector_returns(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block(), traffic.control(Event.LANE_CLOSED)])
    await world.drain()
    world.server.states.clear()
    world.server.streams.clear()
    await world.bus.states.create(LANE)
    await world.drain()
    state = await world.state()
    assert (state.epoch, state.sealed_seq) == (2, 1)
