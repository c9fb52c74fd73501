"""Whether a stream can be trusted, and one range of it read again."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.domain.block import BlockId
from fluxforge.domain.errors import LaneBrokenError, StoreUnavailableError
from fluxforge.domain.lane_state import Sealing
from fluxforge.domain.segment import PreviousSegment
from fluxforge_segmenter.compression import Compression, digest_of
from fluxforge_segmenter.contents import Contents, Digest, Tail
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.stream import check_stream, read_range, why_unfit
from tests.traffic import LANE, Traffic
from tests.unit.fluxforge_segmenter.world import World


async def opened(tmp_path: Path, blocks: int) -> tuple[World, Traffic, LaneTools]:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block() for _ in range(blocks)])
    tools = await world.tools()
    await tools.hold.replace(replace(tools.hold.state, epoch=1))
    return world, traffic, tools


def seal(first: int, last: int) -> Sealing:
    return Sealing("segment_20251209T14_00001", 1, first, last, 0, "", 77)


async def test_a_stream_that_reaches_far_enough_is_trusted(tmp_path: Path) -> None:
    _, _, tools = await opened(tmp_path, 3)
    assert (await check_stream(tools, Tail(), at_least=3)).last_seq == 3
    with pytest.raises(LaneBrokenError, match="ends at 3: expected 4 or beyond"):
        await check_stream(tools, Tail(), at_least=4)


async def test_what_keeps_a_stream_from_going_on_is_said(tmp_path: Path) -> None:
    world, traffic, tools = await opened(tmp_path, 3)
    tail = Tail(last_block=traffic.published[1].id)
    await tools.hold.replace(replace(tools.hold.state, sealed_seq=2))
    assert await why_unfit(tools, tail) is None
    assert await why_unfit(tools, Tail(last_block=BlockId("other", 2))) == "used sequence 2 again"
    await tools.hold.replace(replace(tools.hold.state, sealed_seq=4))
    assert await why_unfit(tools, tail) == "ends at 3: expected 4 or beyond"
    world.server.streams[LANE.stream(1)].is_sealed = True
    assert await why_unfit(tools, tail) == "has ended"
    world.server.streams.clear()
    assert await why_unfit(tools, tail) == "is gone"


async def test_a_sealed_message_that_is_purged_tells_nothing_against_its_stream(tmp_path: Path) -> None:
    world, _, tools = await opened(tmp_path, 3)
    await tools.hold.replace(replace(tools.hold.state, sealed_seq=2))
    await world.bus.streams.purge(LANE, 1, below_seq=3)
    assert await why_unfit(tools, Tail(last_block=BlockId("other", 2))) is None


async def test_exactly_the_range_is_read_under_the_seals_name_and_time(tmp_path: Path) -> None:
    world, traffic, tools = await opened(tmp_path, 200)
    tail = Tail(last_block=traffic.published[1].id)
    segment = world.workspace(tools).open(Contents(tail, epoch=1, first=3))
    finished = await read_range(tools, segment, seal(3, 150))
    assert finished.path.read_bytes() == b"".join(block.payload for block in traffic.published[2:150])
    manifest = finished.manifest
    assert (manifest.first, manifest.last, manifest.created_ns) == (3, 150, 77)
    assert manifest.name == "segment_20251209T14_00001"


async def test_a_range_is_read_as_far_as_the_stream_reaches(tmp_path: Path) -> None:
    world, _, tools = await opened(tmp_path, 3)
    segment = world.workspace(tools).open(Contents(Tail(), epoch=1, first=1))
    manifest = (await read_range(tools, segment, seal(1, 5))).manifest
    assert (manifest.first, manifest.last, manifest.records, manifest.holes) == (1, 3, 18, ())


async def test_what_is_gone_from_the_middle_of_a_range_is_a_hole_with_its_times(tmp_path: Path) -> None:
    world, traffic, tools = await opened(tmp_path, 5)
    blocks = world.server.streams[LANE.stream(1)].blocks
    del blocks[2], blocks[3]
    segment = world.workspace(tools).open(Contents(Tail(), epoch=1, first=1))
    finished = await read_range(tools, segment, seal(1, 5))
    assert (finished.manifest.holes, finished.manifest.last) == (((2, 3),), 5)
    before, after = traffic.published[0], traffic.published[3]
    assert finished.manifest.hole_ns == ((before.last_capture_ns, after.first_capture_ns),)
    left = (traffic.published[n].payload for n in (0, 3, 4))
    assert finished.path.read_bytes() == b"".join(left)


async def test_what_is_gone_from_the_end_of_a_range_is_left_to_its_successor(tmp_path: Path) -> None:
    world, _, tools = await opened(tmp_path, 5)
    blocks = world.server.streams[LANE.stream(1)].blocks
    del blocks[3], blocks[4]
    segment = world.workspace(tools).open(Contents(Tail(), epoch=1, first=1))
    manifest = (await read_range(tools, segment, seal(1, 4))).manifest
    assert (manifest.last, manifest.holes) == (2, ())


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("what", ["gone", "stream"])
async def test_a_range_of_which_nothing_stands_becomes_a_segment_of_no_records(
    tmp_path: Path, what: str, compression: Compression
) -> None:
    world, traffic, tools = await opened(tmp_path, 4)
    if what == "stream":
        world.server.streams.clear()
    else:
        del world.server.streams[LANE.stream(1)].blocks[2], world.server.streams[LANE.stream(1)].blocks[3]
    before = traffic.published[0]
    tail = Tail(PreviousSegment("segment_20251209T14_00000", 1, before.last_capture_ns), (), before.id)
    segment = world.workspace(tools, compression).open(Contents(tail, epoch=1, first=2))
    finished = await read_range(tools, segment, seal(2, 3))
    manifest = finished.manifest
    assert (manifest.first, manifest.last, manifest.records, manifest.size_bytes) == (2, 3, 0, 0)
    assert (manifest.holes, manifest.hole_ns) == (((2, 3),), ((before.last_capture_ns, 0),))
    assert manifest.first_capture_ns == manifest.last_capture_ns == before.last_capture_ns
    assert (manifest.feeds, manifest.last_block) == ((), str(before.id))
    assert digest_of([finished.path.read_bytes()], compression) == Digest(0, manifest.sha256)
    assert not Tail.of(manifest).is_known
    assert Tail.of(manifest).last_block == before.id


async def test_a_disk_that_refuses_leaves_nothing_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, _, tools = await opened(tmp_path, 3)
    segment = world.workspace(tools).open(Contents(Tail(), epoch=1, first=1))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        await read_range(tools, segment, seal(1, 3))
    assert not segment.path.exists()
