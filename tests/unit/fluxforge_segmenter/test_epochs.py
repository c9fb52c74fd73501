"""How a lane goes on when its stream cannot."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fluxforge.domain.block import Block
from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge_segmenter.contents import Tail
from fluxforge_segmenter.epochs import leave, open_next
from tests.traffic import LANE, Traffic, manifests
from tests.unit.fluxforge_segmenter.world import World, every_crash, lines, payload


@dataclass
class Story:
    """What the lane was told, and what of it must be sealed once the new epoch is open."""

    traffic: Traffic
    sealed: list[Block]

    @property
    def seed(self) -> Block:
        last = self.sealed[-1]
        return Block(last.id, None, last.last_capture_ns, last.last_capture_ns, (), b"")


async def two_segments(world: World, traffic: Traffic) -> list[Block]:
    """Seal four blocks in two segments."""
    for _ in range(2):
        await world.put([traffic.block(), traffic.block()])
        await world.drain()
    return traffic.published[:4]


async def gone(world: World) -> Story:
    traffic = Traffic()
    sealed = await two_segments(world, traffic)
    await world.put([traffic.block()])
    world.server.streams.clear()
    return Story(traffic, sealed)


async def ended(world: World) -> Story:
    traffic = Traffic()
    await two_segments(world, traffic)
    await world.put([traffic.block(), traffic.block()])
    await world.bus.streams.end(LANE, 1)
    return Story(traffic, traffic.published[:6])


async def cut_short(world: World) -> Story:
    traffic = Traffic()
    sealed = await two_segments(world, traffic)
    world.cut(3)
    return Story(traffic, sealed)


async def used_again(world: World) -> Story:
    traffic = Traffic()
    sealed = await two_segments(world, traffic)
    world.cut(2)
    other = Traffic(boot="other", after=sealed[1].id, capture_ns=traffic.capture_ns)
    again = [other.block() for _ in range(4)]
    await world.put(again)
    return Story(other, [*sealed, *again])


async def used_again_but_shorter(world: World) -> Story:
    traffic = Traffic()
    sealed = await two_segments(world, traffic)
    world.cut(1)
    other = Traffic(boot="other", after=sealed[0].id, capture_ns=traffic.capture_ns)
    again = [other.block()]
    await world.put(again)
    return Story(other, [*sealed, *again])


async def with_a_gone_end(world: World) -> Story:
    traffic = Traffic()
    await two_segments(world, traffic)
    await world.put([traffic.block(), traffic.block(), traffic.block()])
    await world.bus.streams.end(LANE, 1)
    stream = world.server.streams[LANE.stream(1)]
    del stream.blocks[6], stream.blocks[7]
    return Story(traffic, traffic.published[:5])


async def goes_on(world: World, story: Story) -> None:
    """Everything is sealed once, and the next block goes into the new epoch behind its seed."""
    assert lines(world) == payload(story.sealed)
    state = await world.state()
    assert (state.epoch, state.sealed_seq, state.sealing) == (2, 1, None)
    assert world.server.streams[LANE.stream(2)].blocks == {1: story.seed}
    after = Traffic(boot="after", after=story.seed.id, capture_ns=story.traffic.capture_ns)
    block = after.block()
    await world.put([block], epoch=2)
    await world.drain()
    assert lines(world) == payload([*story.sealed, block])
    newest = manifests(world.data)[-1]
    assert (newest.epoch, newest.first, newest.last) == (2, 2, 2)
    assert len(world.announced()) == len(manifests(world.data))


@pytest.mark.parametrize("prepare", [gone, ended, cut_short, used_again, used_again_but_shorter, with_a_gone_end])
async def test_a_lane_goes_on_in_a_new_epoch_wherever_its_opening_dies(
    tmp_path: Path, prepare: Callable[[World], Awaitable[Story]]
) -> None:
    points = await every_crash(tmp_path, prepare, goes_on)
    assert {"before end 1", "after stream 2"} <= set(points)


async def test_holes_are_named_where_the_chain_broke_and_where_the_end_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path / "again")
    await used_again(world)
    await world.drain()
    newest = manifests(world.data)[-1]
    assert (newest.epoch, newest.first, newest.last, newest.holes) == (1, 3, 6, ((3, 2),))
    world = World(tmp_path / "gone")
    story = await with_a_gone_end(world)
    await world.drain()
    newest = manifests(world.data)[-1]
    assert (newest.first, newest.last, newest.records, newest.holes) == (6, 7, 0, ((6, 7),))
    assert newest.hole_ns == ((story.sealed[-1].last_capture_ns, 0),)


async def test_a_stream_that_dies_while_it_is_read_is_left_within_the_same_process(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block()])
    segmenting = await world.segmenter()
    run = segmenting.task
    async with segmenting.running():
        await segmenting.until(lambda: run.status().stream_seq == 1)
        world.server.streams.clear()
        world.server.tell()
        await segmenting.until(lambda: run.status().epoch == 2 and run.is_ready)
        other = Traffic(boot="other", after=traffic.published[0].id, capture_ns=traffic.capture_ns)
        await world.put([other.block()], epoch=2)
    assert lines(world) == payload(other.published)
    assert manifests(world.data)[0].holes == ((1, 0),)


async def test_streams_of_old_epochs_go_once_everything_of_them_is_sealed_for_longer_than_the_grace(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await ended(world)
    await world.drain()
    await world.drain()
    assert await world.bus.streams.epochs(LANE) == [1, 2]
    await world.drain(grace_ns=1_000)
    assert await world.bus.streams.epochs(LANE) == [2]
    await world.drain()
    assert (await world.state()).epoch == 2


async def test_recent_segments_of_an_old_epoch_are_put_again_while_its_stream_stands(tmp_path: Path) -> None:
    world = World(tmp_path)
    story = await ended(world)
    await world.drain()
    await goes_on(world, story)
    before = manifests(world.data)
    for manifest in before:
        world.store.delete(world.layout.segment_key(LANE, manifest.file))
        world.store.delete(world.layout.manifest_key(LANE, manifest.name))
    await world.drain()
    assert manifests(world.data) == before


async def test_a_stream_that_stands_above_is_the_next_epoch_whatever_it_holds(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    sealed = await two_segments(world, traffic)
    other = Traffic(boot="other", capture_ns=traffic.capture_ns)
    await world.put([sealed[3], other.block(), other.block()], epoch=5)
    world.server.streams.pop(LANE.stream(1))
    await world.drain()
    assert lines(world) == payload([*sealed, *other.published])
    assert ((await world.state()).epoch, manifests(world.data)[-1].first) == (5, 2)


async def test_a_lane_that_never_sealed_anything_begins_its_new_epoch_without_a_seed(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.put([])
    await world.drain()
    world.server.streams.clear()
    await world.drain()
    state = await world.state()
    assert (state.epoch, state.sealed_seq) == (2, 0)
    assert world.server.streams[LANE.stream(2)].blocks == {}


async def test_where_there_is_no_room_for_two_epochs_the_sealed_one_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    story = await ended(world)
    tools = await world.tools()
    create = type(tools.bus.streams).create

    async def create_in_little_room(self: object, lane: Lane, epoch: int, *, seed: Block | None = None) -> None:
        if world.server.streams and epoch == 2:
            raise ConfigurationError("no room")
        await create(self, lane, epoch, seed=seed)  # type: ignore[arg-type]

    monkeypatch.setattr(type(tools.bus.streams), "create", create_in_little_room)
    await world.drain()
    assert await world.bus.streams.epochs(LANE) == [2]
    assert lines(world) == payload(story.sealed)


async def test_nothing_is_sealed_twice_where_nobody_knows_what_is_new(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await two_segments(world, traffic)
    tools = await world.tools()
    await tools.hold.replace(replace(tools.hold.state, last_capture_ns=0))
    world.cut(3)
    assert await leave(tools, Tail()) == 3
    assert tools.hold.state.sealed_seq == 3
    await open_next(tools, Tail())
    assert (tools.hold.state.epoch, tools.hold.state.sealed_seq) == (2, 0)
