"""The seal on its way, with whatever is left of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxforge.domain.errors import DurabilityError
from fluxforge.domain.lane_state import Sealing
from fluxforge_segmenter.compression import Compression
from tests.traffic import LANE, Traffic, manifests
from tests.unit.fluxforge_segmenter.world import Crash, Points, World, every_crash, lines, payload


@dataclass
class Begun:
    """A seal that was named and not carried out."""

    traffic: Traffic
    sealing: Sealing


async def begun(world: World, *, files: bool = False, placed: str = "") -> Begun:
    """Seal two blocks, then die after naming the seal of four more; without `files` the scratch disk is lost too."""
    traffic = Traffic()
    await world.put([traffic.block(), traffic.block()])
    await world.drain()
    await world.put([traffic.block() for _ in range(4)])
    points = Points(crash_at=10**6)
    twin = World(world.data.with_name("twin"))
    await twin.put(traffic.published[:2])
    await twin.drain()
    await twin.put(traffic.published[2:])
    await twin.drain(points)
    shutil.rmtree(twin.data)
    wanted = f"after create raw/ready/{LANE.folder}" if placed else "after state sealing=segment"
    crash_at = next(n for n, name in enumerate(points.passed, 1) if name.startswith(wanted))
    with pytest.raises(Crash):
        await world.drain(Points(crash_at))
    if not files:
        shutil.rmtree(world.data / world.layout.active_prefix(LANE))
    sealing = (await world.state()).sealing
    assert sealing is not None
    return Begun(traffic, sealing)


async def lost(world: World) -> Begun:
    found = await begun(world)
    world.server.streams.clear()
    return found


async def lost_after_its_manifest(world: World) -> Begun:
    found = await begun(world, placed="manifest")
    world.server.streams.clear()
    return found


async def partly_lost(world: World) -> Begun:
    found = await begun(world, placed="manifest")
    blocks = world.server.streams[LANE.stream(1)].blocks
    del blocks[4], blocks[6]
    return found


async def cut(world: World) -> Begun:
    found = await begun(world)
    world.cut(4)
    return found


@pytest.mark.parametrize("prepare", [lost, lost_after_its_manifest])
async def test_a_seal_of_which_nothing_is_left_becomes_a_hole_wherever_that_dies(tmp_path: Path, prepare) -> None:  # type: ignore[no-untyped-def]
    async def check(world: World, found: Begun) -> None:
        first, second = manifests(world.data)
        assert (second.epoch, second.first, second.last) == (1, 3, 6)
        assert (second.records, second.size_bytes, second.holes) == (0, 0, ((3, 6),))
        assert second.first_capture_ns == second.last_capture_ns == first.last_capture_ns
        assert (second.last_block, second.last_seqs, second.feeds) == (first.last_block, first.last_seqs, ())
        assert second.name == found.sealing.name
        state = await world.state()
        assert (state.epoch, state.sealed_seq, state.sealing) == (2, 1, None)
        seed = world.server.streams[LANE.stream(2)].blocks[1]
        assert (str(seed.id), seed.last_capture_ns) == (first.last_block, first.last_capture_ns)
        after = Traffic(boot="after", after=seed.id, capture_ns=found.traffic.capture_ns)
        await world.put([after.block()], epoch=2)
        await world.drain()
        assert lines(world) == payload([*found.traffic.published[:2], *after.published])

    points = await every_crash(tmp_path, prepare, check)
    assert "after stream 2" in points


async def test_a_seal_that_is_partly_lost_becomes_what_stands_and_names_its_holes(tmp_path: Path) -> None:
    async def check(world: World, found: Begun) -> None:
        blocks = found.traffic.published
        await world.put([found.traffic.block()])
        await world.drain()
        assert lines(world) == payload([blocks[n] for n in (0, 1, 2, 4, 6)])
        _, second, third = manifests(world.data)
        assert (second.name, second.first, second.last, second.holes) == (found.sealing.name, 3, 5, ((4, 4),))
        assert (third.first, third.last, third.holes) == (6, 7, ((6, 6),))
        assert third.hole_ns == ((blocks[4].last_capture_ns, blocks[6].first_capture_ns),)
        assert (await world.state()).epoch == 1
        assert len(world.announced()) == 3

    await every_crash(tmp_path, partly_lost, check)


async def test_a_seal_whose_end_is_cut_off_becomes_what_stands_and_the_epoch_goes_on(tmp_path: Path) -> None:
    async def check(world: World, found: Begun) -> None:
        blocks = found.traffic.published
        other = Traffic(boot="other", after=blocks[3].id, capture_ns=found.traffic.capture_ns)
        await world.put([other.block()])
        await world.drain()
        assert lines(world) == payload([*blocks[:4], *other.published])
        assert [(manifest.last, manifest.holes) for manifest in manifests(world.data)] == [(2, ()), (4, ()), (5, ())]
        assert (await world.state()).epoch == 1

    await every_crash(tmp_path, cut, check)


async def cut_behind_its_file(world: World) -> Begun:
    found = await begun(world, files=True)
    world.cut(4)
    return found


async def replaced_behind_its_file(world: World) -> Begun:
    found = await begun(world, files=True)
    world.cut(4)
    blocks = found.traffic.published
    other = Traffic(boot="other", after=blocks[3].id, capture_ns=found.traffic.capture_ns)
    await world.put([other.block(), other.block()])
    return found


@pytest.mark.parametrize("prepare", [cut_behind_its_file, replaced_behind_its_file])
async def test_what_its_stream_has_lost_since_is_not_sealed_from_a_file_for_its_collector_names_it(
    tmp_path: Path,
    prepare,  # type: ignore[no-untyped-def]
) -> None:
    async def check(world: World, found: Begun) -> None:
        standing = [block for _, block in sorted(world.server.streams[LANE.stream(1)].blocks.items())]
        assert lines(world) == payload(standing)
        assert standing[:4] == found.traffic.published[:4]
        assert (await world.state()).epoch == 1

    await every_crash(tmp_path, prepare, check)


@pytest.mark.parametrize("compression", list(Compression))
async def test_the_finished_file_is_adopted_though_the_whole_stream_is_gone(
    tmp_path: Path, compression: Compression
) -> None:
    world, traffic = World(tmp_path / "world"), Traffic()
    found = await begun(world, files=True)
    world.server.streams.clear()
    await world.drain(compression=compression)
    assert lines(world) == payload(found.traffic.published)
    assert manifests(world.data)[1].holes == ()
    assert traffic.published == []


@pytest.mark.parametrize("damage", ["torn", "zeros", "zero tail", "garbage tail", "torn manifest"])
async def test_a_damaged_file_is_not_trusted_and_the_stream_gives_its_bytes(tmp_path: Path, damage: str) -> None:
    world = World(tmp_path / "world")
    found = await begun(world, files=True)
    (path,) = (world.data / world.layout.active_prefix(LANE)).rglob("*.ndjson")
    body = path.read_bytes()
    match damage:
        case "torn":
            path.write_bytes(body[:-100])
        case "zeros":
            path.write_bytes(bytes(len(body)))
        case "zero tail":
            path.write_bytes(body[:-100] + bytes(100))
        case "garbage tail":
            path.write_bytes(body + b"garbage")
        case _:
            beside = path.with_name(path.name + ".manifest.json")
            beside.write_bytes(beside.read_bytes()[:-20])
    await world.drain()
    assert lines(world) == payload(found.traffic.published)
    assert [manifest.holes for manifest in manifests(world.data)] == [(), ()]


async def test_a_file_that_changes_behind_its_manifest_takes_no_name_after_the_other(tmp_path: Path) -> None:
    class Rot(Points):
        def reach(self, name: str) -> None:
            if name.startswith("after create raw/ready"):
                for path in (world.data / world.layout.active_prefix(LANE)).rglob("*.ndjson"):
                    path.write_bytes(path.read_bytes()[:-9] + bytes(9))

    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block(), traffic.block()])
    with pytest.raises(DurabilityError, match="does not hold what was written to it"):
        await world.drain(Rot())
    await world.drain()
    assert lines(world) == payload(traffic.published)
    assert [manifest.name[-5:] for manifest in manifests(world.data)] == ["00002"]


async def test_a_placed_seal_needs_neither_its_file_nor_the_stream(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block(), traffic.block()])
    points = Points(crash_at=10**6)
    twin = World(tmp_path / "twin")
    await twin.put(traffic.published)
    await twin.drain(points)
    crash_at = points.passed.index(next(name for name in points.passed if name.startswith("after adopt"))) + 1
    with pytest.raises(Crash):
        await world.drain(Points(crash_at))
    shutil.rmtree(world.data / world.layout.active_prefix(LANE))
    world.server.streams.clear()
    await world.drain()
    assert lines(world) == payload(traffic.published)
    assert [(manifest.records, manifest.holes) for manifest in manifests(world.data)] == [(12, ())]


async def test_a_whole_file_alone_under_the_name_of_our_seal_is_adopted(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    found = await begun(world)
    key = world.layout.segment_key(LANE, f"{found.sealing.name}.ndjson")
    world.store.create(key, payload(found.traffic.published[2:]))
    await world.drain()
    assert lines(world) == payload(found.traffic.published)
    assert manifests(world.data)[-1].name == found.sealing.name


async def test_other_bytes_alone_under_the_name_of_our_seal_stay_and_the_next_name_is_used(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    found = await begun(world)
    key = world.layout.segment_key(LANE, f"{found.sealing.name}.ndjson")
    world.store.create(key, b"other\n")
    await world.drain()
    assert lines(world) == payload(found.traffic.published)
    assert manifests(world.data)[-1].name > found.sealing.name
    assert world.store.read(key) == b"other\n"
