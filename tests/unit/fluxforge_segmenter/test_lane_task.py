"""One lane from stream to storage, with every crash on the way."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from fluxforge.domain.block import BlockId
from fluxforge.domain.control import Event
from fluxforge.domain.errors import FencedError
from fluxforge.domain.lane_state import RECENT_MAX
from fluxforge_segmenter.compression import Compression
from tests.traffic import LANE, Traffic, audit, content, manifests
from tests.unit.fluxforge_segmenter.world import Crash, Points, Segmenting, World

S_NS = 1_000_000_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def until(condition: Callable[[], object], *, deadline_s: float = 60) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - a plain condition of the task under test
            await asyncio.sleep(0.005)


class TestRotation:
    async def test_a_segment_is_sealed_when_it_reaches_its_size(self, world: World) -> None:
        traffic = Traffic()
        blocks = [traffic.block() for _ in range(10)]
        await world.put(blocks)
        size = len(blocks[0].payload)
        await world.drain(size_bytes_max=3 * size)
        found = audit(world.data, blocks)
        assert [(manifest.first, manifest.last) for manifest in found] == [(1, 3), (4, 6), (7, 9), (10, 10)]

    async def test_a_segment_is_sealed_when_it_reaches_its_age_and_not_before(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block()])
        segmenting = await world.segmenter()
        running = asyncio.ensure_future(segmenting.task.run())
        try:
            await until(lambda: segmenting.task.status().open_bytes)
            world.clock.advance(299 * S_NS)
            await world.put([traffic.block()])
            await until(lambda: segmenting.task.status().stream_seq == 2)
            assert manifests(world.data) == []
            world.clock.advance(S_NS)
            await until(lambda: segmenting.task.status().sealed_seq == 2)
        finally:
            segmenting.is_draining = True
            await running
        assert len(audit(world.data, traffic.published)) == 1

    async def test_nothing_is_ever_sealed_without_records(self, world: World) -> None:
        traffic = Traffic()
        await world.put([])
        await world.drain()
        assert manifests(world.data) == []
        seed = replace(traffic.block(0), feeds=(), payload=b"")
        await world.put([seed])
        await world.drain()
        assert manifests(world.data) == []
        assert (await world.state()).sealed_seq == 0

    async def test_what_the_stream_lost_before_its_seal_is_not_sealed_for_its_collector_names_it(
        self, world: World
    ) -> None:
        traffic = Traffic()
        blocks = [traffic.block() for _ in range(4)]
        await world.put(blocks)
        other = Traffic(after=blocks[0].id, capture_ns=traffic.capture_ns)
        naming = replace(other.block(), id=blocks[3].id)

        class Loss(Points):
            async def meet(self, name: str) -> None:
                if name.startswith("before state sealing=segment") and naming not in standing.blocks.values():
                    world.cut(1)
                    await world.put([naming])

        standing = world.server.streams[LANE.stream(1)]
        await world.drain(Loss())
        audit(world.data, [blocks[0], naming])

    async def test_buffered_blocks_reach_the_open_file_after_the_flush_interval(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block()])
        segmenting = await world.segmenter()
        running = asyncio.ensure_future(segmenting.task.run())
        try:
            await until(lambda: segmenting.task.status().open_bytes)
            folder = world.data / world.layout.active_prefix(LANE) / segmenting.tools.hold.owner
            assert not folder.exists()
            world.clock.advance(5 * S_NS)
            await until(lambda: folder.exists() and any(path.stat().st_size for path in folder.iterdir()))
        finally:
            segmenting.is_draining = True
            await running

    @pytest.mark.parametrize("compression", list(Compression))
    async def test_either_form_holds_the_same_lines(self, world: World, compression: Compression) -> None:
        traffic = Traffic()
        await world.put([traffic.block() for _ in range(30)])
        await world.drain(size_bytes_max=8_000, compression=compression)
        found = audit(world.data, traffic.published)
        assert len(found) > 1
        assert {manifest.file.removeprefix(manifest.name) for manifest in found} == {compression.suffix}

    async def test_the_manifest_of_a_lanes_end_says_so(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block(), traffic.control(Event.STARTED)])
        await world.drain()
        await world.put([traffic.block(), traffic.control(Event.LANE_CLOSED)])
        await world.drain()
        assert [manifest.final for manifest in audit(world.data, traffic.published)] == [False, True]

    async def test_names_rise_with_the_hour_of_the_first_record(self, world: World) -> None:
        traffic = Traffic()
        for step_ns in (1, 1, 3_600 * S_NS, -7_200 * S_NS):
            traffic.capture_ns += step_ns
            await world.put([traffic.block()])
            await world.drain()
        assert [manifest.name for manifest in manifests(world.data)] == [
            "segment_20251209T14_00001",
            "segment_20251209T14_00002",
            "segment_20251209T15_00001",
            "segment_20251209T15_00002",
        ]

    async def test_two_boots_in_one_lane_keep_their_own_ranges(self, world: World) -> None:
        one = Traffic(boot="aaaa")
        blocks = [one.block(), one.block()]
        two = Traffic(boot="bbbb", after=one.after, capture_ns=one.capture_ns)
        blocks += [two.block()]
        await world.put(blocks)
        await world.drain()
        (manifest,) = manifests(world.data)
        book = [(feed.boot, feed.ranges, feed.count) for feed in manifest.feeds if feed.symbol == "BTC-USDT"]
        assert book == [("aaaa", ((1, 4),), 4), ("bbbb", ((1, 2),), 2)]
        assert {(last.symbol, last.boot, last.seq) for last in manifest.last_seqs} == {
            (symbol, "bbbb", 2) for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT")
        }


async def crashed(world: World, points: Points) -> bool:
    try:
        await world.drain(points, size_bytes_max=3_000, grace_ns=0)
    except Crash:
        return True
    return False


class TestCrash:
    """A process that dies anywhere; the next one starts by the same path."""

    async def points(self, tmp_path: Path) -> list[str]:
        world, traffic = World(tmp_path), Traffic()
        await world.bus.states.create(LANE)
        await world.put([traffic.block() for _ in range(5)])
        points = Points()
        assert not await crashed(world, points)
        assert len(audit(world.data, traffic.published)) == 3
        return points.passed

    def check(self, world: World, traffic: Traffic, what: str) -> None:
        found = audit(world.data, traffic.published)
        assert {f"segments.sealed.{LANE}.{manifest.name}": 1 for manifest in found} == world.announced(), what
        active = world.data / world.layout.active_prefix(LANE)
        assert [path for path in active.rglob("*") if path.is_file()] == [], what

    async def test_a_crash_at_any_point_loses_nothing_and_repeats_nothing(self, tmp_path: Path) -> None:
        passed = await self.points(tmp_path / "whole")
        assert len(passed) > 30
        for crash_at in range(1, len(passed) + 1):
            world, traffic = World(tmp_path / str(crash_at)), Traffic()
            await world.put([traffic.block() for _ in range(5)])
            assert await crashed(world, Points(crash_at))
            await world.put([traffic.block()])
            await world.drain(size_bytes_max=3_000, grace_ns=0)
            self.check(world, traffic, passed[crash_at - 1])

    async def test_crash_upon_crash_during_recovery_loses_nothing_and_repeats_nothing(self, tmp_path: Path) -> None:
        chance = random.Random(20251209)
        for seed in range(40):
            world, traffic = World(tmp_path / str(seed)), Traffic()
            history = []
            for _ in range(4):
                await world.put([traffic.block() for _ in range(chance.randrange(4))])
                points = Points(chance.randrange(1, 25))
                await crashed(world, points)
                history.append(points.passed[-1])
            await world.drain(size_bytes_max=3_000, grace_ns=0)
            self.check(world, traffic, f"seed {seed}: {history}")

    async def test_a_seal_whose_file_is_gone_is_rebuilt_from_the_stream(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block() for _ in range(3)])
        with pytest.raises(Crash):
            await world.drain(Points(crash_at=await self.named(world)))
        sealing = (await world.state()).sealing
        assert sealing is not None
        for path in (world.data / world.layout.active_prefix(LANE)).rglob("*.ndjson"):
            path.write_bytes(b"torn")
        await world.put([traffic.block()])
        await world.drain()
        assert audit(world.data, traffic.published)[0].name == sealing.name

    async def test_a_seal_that_the_stream_lost_is_adopted_from_its_file(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block() for _ in range(3)])
        with pytest.raises(Crash):
            await world.drain(Points(crash_at=await self.named(world)))
        world.server.streams[LANE.stream(1)].blocks[2] = traffic.block()
        await world.drain()
        assert audit(world.data, traffic.published[:3])[0].last == 3

    async def test_a_seal_of_which_the_stream_holds_other_bytes_becomes_what_the_stream_holds(
        self, world: World
    ) -> None:
        traffic = Traffic()
        await world.put([traffic.block() for _ in range(3)])
        with pytest.raises(Crash):
            await world.drain(Points(crash_at=await self.named(world)))
        for path in (world.data / world.layout.active_prefix(LANE)).rglob("*.ndjson"):
            path.unlink()
        stream = world.server.streams[LANE.stream(1)]
        stream.blocks[2] = replace(stream.blocks[2], payload=b"{}\n")
        await world.drain()
        (manifest,) = manifests(world.data)
        assert content(world.data, manifest) == b"".join(block.payload for block in stream.blocks.values())
        assert (await world.state()).recent[-1].sha256 == manifest.sha256

    async def named(self, world: World) -> int:
        """Return the point just after the lane state named the first seal."""
        points = Points(crash_at=10**6)
        twin = World(world.data / "twin")
        await twin.put(list(world.server.streams[LANE.stream(1)].blocks.values()))
        await twin.drain(points)
        return next(n for n, name in enumerate(points.passed, 1) if name.startswith("after state sealing=segment"))


class TestNames:
    async def test_a_name_that_other_bytes_have_is_left_and_the_next_one_used(self, world: World) -> None:
        await world.put([])
        await world.drain()
        taken = world.layout.segment_key(LANE, "segment_20251209T14_00001.ndjson")
        world.store.create(taken, b"somebody else's\n")
        traffic = Traffic()
        await world.put([traffic.block()])
        await world.drain()
        assert world.store.read(taken) == b"somebody else's\n"
        found = audit(world.data, traffic.published)
        assert [manifest.name for manifest in found] == ["segment_20251209T14_00002"]
        assert list(world.announced()) == [f"segments.sealed.{LANE}.segment_20251209T14_00002"]
        assert world.metric("names_taken_total") == 1
        await world.put([traffic.block()])
        await world.drain()
        assert [manifest.name[-1] for manifest in audit(world.data, traffic.published)] == ["2", "3"]


class TestTrust:
    """What the lane refuses to believe."""

    async def test_a_block_out_of_its_chain_is_read_again_and_then_taken_behind_a_hole(self, world: World) -> None:
        traffic = Traffic()
        blocks = [
            traffic.block(),
            traffic.block(),
            replace(traffic.block(), after=BlockId("other", 7)),
            traffic.block(),
        ]
        await world.put(blocks)
        await world.drain()
        (manifest,) = audit(world.data, blocks)
        assert manifest.holes == ((3, 2),)
        assert manifest.hole_ns == ((blocks[1].last_capture_ns, blocks[2].first_capture_ns),)
        assert world.metric("rereads_total") == 1
        assert world.metric("holes_total") == 1

    async def test_the_chain_is_checked_across_segments_and_processes(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block()])
        await world.drain()
        await world.put([replace(traffic.block(), after=BlockId("other", 7)), traffic.block()])
        await world.drain()
        first, second = manifests(world.data)
        assert (first.holes, second.holes) == ((), ((2, 1),))
        assert second.hole_ns == ((first.last_capture_ns, second.first_capture_ns),)

    async def test_several_blocks_out_of_their_chain_are_all_named(self, world: World) -> None:
        traffic = Traffic()
        strange = {2, 3, 7}
        blocks = [traffic.block() for _ in range(8)]
        await world.put(
            [replace(block, after=BlockId("x", n)) if n in strange else block for n, block in enumerate(blocks, 1)]
        )
        await world.drain(size_bytes_max=4 * len(blocks[0].payload))
        assert [hole for manifest in manifests(world.data) for hole in manifest.holes] == [(2, 1), (3, 2), (7, 6)]

    async def test_what_is_gone_from_the_stream_is_a_hole_at_the_beginning_of_a_segment(self, world: World) -> None:
        traffic = Traffic()
        blocks = [traffic.block() for _ in range(6)]
        await world.put(blocks)
        del world.server.streams[LANE.stream(1)].blocks[3], world.server.streams[LANE.stream(1)].blocks[4]
        await world.drain()
        first, second = manifests(world.data)
        assert (first.first, first.last, first.holes) == (1, 2, ())
        assert (second.first, second.last, second.holes) == (3, 6, ((3, 4),))
        assert second.hole_ns == ((blocks[1].last_capture_ns, blocks[4].first_capture_ns),)
        assert content(world.data, second) == blocks[4].payload + blocks[5].payload

    async def test_a_gone_beginning_is_a_hole_too(self, world: World) -> None:
        traffic = Traffic()
        blocks = [traffic.block() for _ in range(3)]
        await world.put(blocks)
        del world.server.streams[LANE.stream(1)].blocks[1]
        await world.drain()
        (manifest,) = manifests(world.data)
        assert (manifest.first, manifest.last, manifest.holes) == (1, 3, ((1, 1),))
        assert manifest.hole_ns == ((0, blocks[1].first_capture_ns),)

    async def test_a_stream_cut_to_behind_what_is_sealed_is_read_again_in_its_epoch(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block()])
        await world.drain()
        lost = [traffic.block(), traffic.block()]
        await world.put(lost)
        segmenting = await world.segmenter()
        running = asyncio.ensure_future(segmenting.task.run())
        await until(lambda: segmenting.task.status().stream_seq == 3)
        stream = world.server.streams[LANE.stream(1)]
        del stream.blocks[2], stream.blocks[3]
        stream.last_seq = 1
        again = Traffic(boot="again", after=traffic.published[0].id, capture_ns=traffic.capture_ns)
        kept = [again.block() for _ in range(3)]
        await world.put(kept)
        segmenting.is_draining = True
        await running
        assert (await world.state()).epoch == 1
        assert [manifest.holes for manifest in audit(world.data, [traffic.published[0], *kept])] == [(), ()]

    async def test_a_predecessor_that_wakes_up_is_fenced_before_it_writes(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block()])
        zombie = await world.segmenter()
        await world.drain()
        zombie.is_draining = True
        with pytest.raises(FencedError):
            await zombie.task.run()
        assert len(audit(world.data, traffic.published)) == 1

    async def test_a_predecessor_that_wakes_up_in_the_middle_is_fenced_and_repeats_nothing(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block()])
        zombie = await world.segmenter()
        running = asyncio.ensure_future(zombie.task.run())
        await until(lambda: zombie.task.status().open_bytes)
        await world.drain()
        zombie.is_draining = True
        with pytest.raises(FencedError, match="owner is"):
            await running
        assert len(audit(world.data, traffic.published)) == 1


class TestStream:
    """What leaves the stream, and what never does."""

    def left(self, world: World) -> list[int]:
        return list(world.server.streams[LANE.stream(1)].blocks)

    async def test_sealed_blocks_stay_for_the_grace(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block() for _ in range(4)])
        await world.drain(grace_ns=600 * S_NS)
        assert self.left(world) == [1, 2, 3, 4]
        world.clock.advance(601 * S_NS)
        await world.drain(grace_ns=600 * S_NS)
        assert self.left(world) == [4]

    async def test_the_last_message_stays_for_ever(self, world: World) -> None:
        traffic = Traffic()
        for _ in range(3):
            await world.put([traffic.block()])
            await world.drain(grace_ns=0)
            world.clock.advance(S_NS)
        await world.drain(grace_ns=0)
        assert self.left(world) == [3]
        audit(world.data, traffic.published)

    async def test_a_stream_that_fills_up_gives_up_what_stands_in_storage_at_once(self, world: World) -> None:
        traffic = Traffic()
        blocks = [traffic.block() for _ in range(4)]
        await world.put(blocks)
        world.server.streams[LANE.stream(1)].size_bytes_max = world.server.streams[LANE.stream(1)].size_bytes + 1
        await world.drain()
        assert self.left(world) == [4]

    async def test_the_list_of_recent_seals_is_bounded(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block(1) for _ in range(RECENT_MAX + 6)])
        await world.drain(size_bytes_max=1)
        state = await world.state()
        assert len(state.recent) == RECENT_MAX
        assert state.recent[-1].last == RECENT_MAX + 6
        assert len(audit(world.data, traffic.published)) == RECENT_MAX + 6


class TestStorage:
    """What storage loses while the stream still has it."""

    async def sealed(self, world: World) -> tuple[Traffic, Segmenting]:
        traffic = Traffic()
        await world.put([traffic.block() for _ in range(6)])
        return traffic, await world.drain(size_bytes_max=3_000)

    @pytest.mark.parametrize("nth", [0, 1, 2])
    @pytest.mark.parametrize("what", ["segment", "manifest", "both"])
    async def test_a_recent_segment_that_is_gone_is_put_again(self, world: World, nth: int, what: str) -> None:
        traffic, _ = await self.sealed(world)
        before = audit(world.data, traffic.published)
        name = before[nth].name
        if what != "manifest":
            world.store.delete(world.layout.segment_key(LANE, before[nth].file))
        if what != "segment":
            world.store.delete(world.layout.manifest_key(LANE, name))
        await world.drain(size_bytes_max=3_000)
        assert audit(world.data, traffic.published) == before
        assert world.metric("segments_restored_total") == 1

    async def test_a_lane_whose_state_is_lost_goes_on_behind_what_storage_holds(self, world: World) -> None:
        traffic, _ = await self.sealed(world)
        world.server.states.clear()
        await world.put([traffic.block()])
        await world.drain()
        found = audit(world.data, traffic.published)
        assert [manifest.name[-1] for manifest in found] == ["1", "2", "3", "4"]

    async def test_zstd_frames_hold_whole_lines(self, world: World) -> None:
        traffic = Traffic()
        await world.put([traffic.block() for _ in range(40)])
        await world.drain(compression=Compression.ZSTD)
        (manifest,) = manifests(world.data)
        body = (world.data / world.layout.segment_key(LANE, manifest.file)).read_bytes()
        lines = b""
        while body:
            frame = zstandard.ZstdDecompressor().decompressobj()
            lines += frame.decompress(body)
            assert lines.endswith(b"\n")
            body = frame.unused_data
        assert lines == content(world.data, manifest)
