"""Whether a stream can be trusted, and one range of it read again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.domain.errors import LaneBrokenError
from fluxforge.domain.lane_state import Sealing
from fluxforge_segmenter.contents import Contents, Tail
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.stream import check_stream, read_range
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
    assert (await check_stream(tools, at_least=3)).last_seq == 3
    with pytest.raises(LaneBrokenError, match="ends at 3: expected 4 or beyond"):
        await check_stream(tools, at_least=4)


async def test_a_sealed_stream_is_not_read_on(tmp_path: Path) -> None:
    world, _, tools = await opened(tmp_path, 3)
    world.server.streams[LANE.stream(1)].is_sealed = True
    with pytest.raises(LaneBrokenError, match="is sealed"):
        await check_stream(tools, at_least=0)


async def test_exactly_the_range_is_read_under_the_seals_name_and_time(tmp_path: Path) -> None:
    world, traffic, tools = await opened(tmp_path, 200)
    tail = Tail(last_block=traffic.published[1].id)
    segment = world.workspace(tools).open(Contents(tail, epoch=1, first=3))
    finished = await read_range(tools, segment, seal(3, 150))
    assert finished.path.read_bytes() == b"".join(block.payload for block in traffic.published[2:150])
    manifest = finished.manifest
    assert (manifest.first, manifest.last, manifest.created_ns) == (3, 150, 77)
    assert manifest.name == "segment_20251209T14_00001"


async def test_a_range_the_stream_never_reached_stops_the_lane(tmp_path: Path) -> None:
    world, _, tools = await opened(tmp_path, 3)
    segment = world.workspace(tools).open(Contents(Tail(), epoch=1, first=1))
    with pytest.raises(LaneBrokenError, match="ends at 3: expected 5"):
        await read_range(tools, segment, seal(1, 5))


async def test_a_range_that_is_gone_in_part_stops_the_lane(tmp_path: Path) -> None:
    world, _, tools = await opened(tmp_path, 3)
    del world.server.streams[LANE.stream(1)].blocks[2]
    segment = world.workspace(tools).open(Contents(Tail(), epoch=1, first=1))
    with pytest.raises(LaneBrokenError):
        await read_range(tools, segment, seal(1, 3))
