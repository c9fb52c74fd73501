"""The start of a lane, whatever ended before it."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fluxforge.domain.commit import CommitRecord
from fluxforge_segmenter.contents import Tail
from fluxforge_segmenter.recover import recover, restore_recent
from tests.traffic import LANE, Traffic, audit, manifests
from tests.unit.fluxforge_segmenter.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def sealed(world: World) -> Traffic:
    traffic = Traffic()
    await world.put([traffic.block() for _ in range(4)])
    await world.drain(size_bytes_max=3_000)
    return traffic


async def test_a_new_lane_gets_its_stream_and_begins_at_nothing(world: World) -> None:
    await world.bus.states.create(LANE)
    tools = await world.tools()
    assert await recover(tools, world.workspace(tools)) == Tail()
    state = await world.state()
    assert (state.epoch, state.sealed_seq, state.owner) == (1, 0, tools.hold.owner)
    assert await world.bus.streams.info(LANE, 1) is not None


async def test_a_lane_goes_on_behind_its_last_segment(world: World) -> None:
    await sealed(world)
    tools = await world.tools()
    assert await recover(tools, world.workspace(tools)) == Tail.of(manifests(world.data)[-1])


async def test_what_older_owners_left_open_is_swept(world: World) -> None:
    await sealed(world)
    left = world.data / world.layout.active_prefix(LANE) / "7-dead" / "1_5.ndjson"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    tools = await world.tools()
    await recover(tools, world.workspace(tools))
    assert not left.parent.exists()


async def test_after_raw_is_gone_the_commit_record_tells_where_to_go_on(world: World) -> None:
    traffic = await sealed(world)
    last = manifests(world.data)[-1]
    for manifest in manifests(world.data):
        commit = CommitRecord(
            str(LANE), manifest.name, manifest.identity, 1, (), 12, 0, manifest.feeds, 1, 1, "test", 1
        )
        world.store.create(world.layout.commit_key(LANE, manifest.name), commit.to_json())
        world.store.delete(world.layout.segment_key(LANE, manifest.file))
        world.store.delete(world.layout.manifest_key(LANE, manifest.name))
    tools = await world.tools()
    tail = await recover(tools, world.workspace(tools))
    assert tail == Tail.of(last)
    assert manifests(world.data) == []
    await world.put([traffic.block()])
    await world.drain()
    assert [manifest.first for manifest in manifests(world.data)] == [5]


def retire(world: World) -> None:
    """Commit every segment and delete its data, as an ETL worker does."""
    for manifest in manifests(world.data):
        commit = CommitRecord(
            str(LANE), manifest.name, manifest.identity, 1, (), 12, 0, manifest.feeds, 1, 1, "test", 1
        )
        world.store.create(world.layout.commit_key(LANE, manifest.name), commit.to_json())
        world.store.delete(world.layout.segment_key(LANE, manifest.file))


async def test_segments_whose_data_was_deleted_are_not_put_again(world: World) -> None:
    traffic = await sealed(world)
    last = manifests(world.data)[-1]
    retire(world)
    before = set(world.store.keys(world.layout.ready_prefix(LANE)))
    tools = await world.tools()
    assert await recover(tools, world.workspace(tools)) == Tail.of(last)
    assert set(world.store.keys(world.layout.ready_prefix(LANE))) == before
    await world.put([traffic.block()])
    await world.drain()
    assert manifests(world.data)[-1].first == last.last + 1
    assert manifests(world.data)[-1].previous == Tail.of(last).previous


async def test_a_lane_without_state_goes_on_behind_a_segment_whose_data_was_deleted(world: World) -> None:
    traffic = await sealed(world)
    last = manifests(world.data)[-1]
    retire(world)
    half_placed = replace(last, name="segment_20251209T14_00099", file="segment_20251209T14_00099.ndjson", last=99)
    world.store.create(world.layout.manifest_key(LANE, half_placed.name), half_placed.to_json())
    del world.server.states[str(LANE)]
    await world.bus.states.create(LANE)
    await world.put([traffic.block()])
    await world.drain()
    made = [manifest for manifest in manifests(world.data) if manifest.name not in {last.name, half_placed.name}][-1]
    assert (made.first, made.previous) == (last.last + 1, Tail.of(last).previous)


async def test_without_manifest_and_commit_the_lane_goes_on_without_knowing_its_past(world: World) -> None:
    traffic = await sealed(world)
    last = manifests(world.data)[-1]
    for manifest in manifests(world.data):
        world.store.delete(world.layout.segment_key(LANE, manifest.file))
        world.store.delete(world.layout.manifest_key(LANE, manifest.name))
    await world.put([traffic.block()])
    await world.bus.streams.purge(LANE, 1, below_seq=5)
    tools = await world.tools()
    with capture_logs() as logs:
        tail = await recover(tools, world.workspace(tools))
    assert ("history.lost", last.name) in [(line["event"], line.get("segment")) for line in logs]
    assert (tail.previous, tail.is_known) == (Tail.of(last).previous, False)
    await world.drain()
    (made,) = manifests(world.data)
    assert (made.first, made.holes, made.previous) == (5, (), Tail.of(last).previous)


async def test_recent_segments_are_put_again_one_behind_the_other(world: World) -> None:
    traffic = await sealed(world)
    before = audit(world.data, traffic.published)
    for manifest in before:
        world.store.delete(world.layout.segment_key(LANE, manifest.file))
        world.store.delete(world.layout.manifest_key(LANE, manifest.name))
    tools = await world.tools()
    await restore_recent(tools, world.workspace(tools))
    assert audit(world.data, traffic.published) == before


async def test_a_recent_segment_whose_bytes_are_others_is_told_and_left_and_nothing_leaves_the_stream(
    world: World,
) -> None:
    traffic = await sealed(world)
    first = manifests(world.data)[0]
    key = world.layout.segment_key(LANE, first.file)
    world.store.delete(key)
    world.store.create(key, b"other\n")
    await world.put([traffic.block()])
    with capture_logs() as logs:
        await world.drain(grace_ns=0)
    assert ("segment.lost", first.name) in [(line["event"], line.get("segment")) for line in logs]
    assert world.store.read(key) == b"other\n"
    assert manifests(world.data)[-1].last == 5
    assert list(world.server.streams[LANE.stream(1)].blocks) == [1, 2, 3, 4, 5]


async def test_a_recent_segment_the_stream_now_tells_otherwise_is_told(world: World) -> None:
    await sealed(world)
    first = manifests(world.data)[0]
    world.store.delete(world.layout.segment_key(LANE, first.file))
    blocks = world.server.streams[LANE.stream(1)].blocks
    blocks[2] = replace(blocks[2], payload=b"{}\n")
    tools = await world.tools()
    with capture_logs() as logs:
        assert not await restore_recent(tools, world.workspace(tools))
    assert "the stream gives" in next(line["error"] for line in logs if line["event"] == "segment.lost")
    assert not list((world.data / world.layout.active_prefix(LANE)).rglob("*.ndjson"))


@pytest.mark.parametrize("what", ["manifest", "segment", "both committed"])
async def test_halves_that_no_seal_of_ours_explains_are_left_and_told(world: World, what: str) -> None:
    await sealed(world)
    old = replace(manifests(world.data)[0], name="segment_20251209T13_00001", file="segment_20251209T13_00001.ndjson")
    if what != "segment":
        world.store.create(world.layout.manifest_key(LANE, old.name), old.to_json())
    else:
        world.store.create(world.layout.segment_key(LANE, old.file), b"{}\n")
    if what == "both committed":
        world.store.create(world.layout.commit_key(LANE, old.name), b"{}")
    before = set(world.store.keys(world.layout.ready_prefix(LANE)))
    tools = await world.tools()
    with capture_logs() as logs:
        await recover(tools, world.workspace(tools))
    told = [line["key"].rpartition("/")[2] for line in logs if line["event"] == "half.found"]
    expected = {"manifest": [f"{old.name}.manifest.json"], "segment": [old.file], "both committed": []}
    assert told == expected[what]
    assert set(world.store.keys(world.layout.ready_prefix(LANE))) == before
