import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.block import Block
from fluxforge.domain.errors import FencedError
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.lane_link import LaneLink
from fluxforge_collector.lane_log import LaneLog
from fluxforge_collector.lane_writer import LaneWriter
from fluxforge_collector.outbox import Outbox
from fluxforge_collector.settings import Limits, SpoolSettings
from fluxforge_collector.spool import Spool
from tests.unit.fluxforge_collector.made import (
    BEGIN_NS,
    BOOK,
    BOOT,
    LANE,
    TRADES,
    Line,
    block,
    events,
    lines_of,
    stored,
    until,
)


class Quay:
    """A writer, an outbox and the link behind it on a memory bus whose streams come and go."""

    def __init__(self, tmp_path: Path) -> None:
        self.server = MemoryServer()
        self.bus = MemoryBus(self.server)
        self.limits = Limits(block_records_max=3, waiting_records_max=12, window_blocks=4)
        self.spool = Spool(SpoolSettings(tmp_path / "spool", 10_000_000))
        self.clock = ManualClock(wall_ns=BEGIN_NS, monotonic_ns=7)
        self.epoch = 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.bus.states.create(LANE)
        await self.bus.streams.create(LANE, 1)
        await self.set_state(epoch=1)
        self.buffer = BlockBuffer(BOOT, self.limits, after=None)
        self.writer = LaneWriter(
            lane=LANE,
            boot=BOOT,
            feeds=(BOOK, TRADES),
            buffer=self.buffer,
            clock=self.clock,
            last_ns=0,
            record_bytes_max=self.limits.record_bytes_max,
            on_control=lambda _: None,
        )
        publisher = await self.bus.publisher(LANE, 1, after=None, window_blocks=4)
        self.link = LaneLink(
            LANE,
            self.bus,
            publisher,
            log=LaneLog(BOOT, None, 0),
            window_blocks=4,
            writer=self.writer,
            events=events(),
        )
        self.outbox = Outbox(buffer=self.buffer, publisher=self.link, spool=self.spool, linger_s=0.001, events=events())
        self.writer.start(None)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self.outbox.run()), tasks.create_task(self.link.run())]
            yield
            for task in running:
                task.cancel()
        await self.link.close()

    async def set_state(self, **changes: Any) -> None:
        found = await self.bus.states.get(LANE)
        assert found is not None
        await self.bus.states.update(LANE, replace(found.state, **changes), found.revision)

    async def open_next(self, last: Block | None) -> None:
        """What a segmenter does when a stream has ended: open the next, seeded with the lane's last known block."""
        self.epoch += 1
        seed = replace(last, feeds=(), payload=b"", first_capture_ns=last.last_capture_ns) if last else None
        await self.bus.streams.create(LANE, self.epoch, seed=seed)
        await self.set_state(epoch=self.epoch, sealed_seq=1 if seed else 0)

    def say(self, count: int = 1, *, trades: bool = False) -> None:
        feed = self.writer.feed(TRADES if trades else BOOK)
        for _ in range(count):
            self.clock.advance(1_000_000)
            self.writer.record(feed, b'{"n":1}', exchange_ms=None, at_ns=self.writer.now(), conn=1)

    async def settled(self) -> None:
        assert await self.outbox.drain(60)
        self.outbox._draining = False

    def truncate(self, keep: int) -> list[Block]:
        """Let the bus lose what stands behind the first `keep` blocks; return what stands then."""
        stream = self.server.streams[LANE.stream(self.epoch)]
        for seq in [seq for seq in stream.blocks if seq > keep]:
            del stream.blocks[seq]
        stream.last_seq = keep
        self.server.tell()
        return list(stream.blocks.values())

    def lane(self) -> list[Block]:
        """The lane as it stands: over all epochs, seeds and what an epoch lost left out."""
        blocks: list[Block] = []
        for epoch in range(1, self.epoch + 1):
            stream = self.server.streams.get(LANE.stream(epoch))
            blocks += [each for each in stream.blocks.values() if each.payload] if stream else []
        return blocks

    def check(self, *, first_is_known: bool = True) -> None:
        """Every seq of the boot stands in the lane once, or is named once; the chain holds, and capture times rise."""
        blocks = self.lane()
        assert all(later.after == earlier.id for earlier, later in pairwise(blocks))
        lines = lines_of(blocks)
        assert all(later.capture_ns > earlier.capture_ns for earlier, later in pairwise(lines))
        for each in blocks:
            of_block = lines_of([each])
            assert (each.first_capture_ns, each.last_capture_ns) == (of_block[0].capture_ns, of_block[-1].capture_ns)
            assert each.records == len(of_block)
        for slot, last_seq in self.given().items():
            standing = [line.seq for line in lines if (line.channel, line.symbol) == slot]
            named = [seq for line in lines for seq in named_seqs(line, slot)]
            if first_is_known:
                assert sorted(standing + named) == list(range(1, last_seq + 1)), slot

    def given(self) -> dict[tuple[str, str | None], int]:
        feeds = {(feed.key.channel, feed.key.symbol): feed.seq for feed in self.writer.feeds}
        return {**feeds, ("control", None): self.writer.control_seq}


def named_seqs(line: Line, slot: tuple[str, str | None]) -> list[int]:
    """The seqs of a feed that a line names as lost."""
    if line.event != "dropped" or not line.data.get("detail"):
        return []
    scope, detail = line.control.scope, line.data["detail"]
    named = (scope.channel, scope.symbol) if scope else (detail.get("channel"), None)
    return list(range(detail["first_seq"], detail["last_seq"] + 1)) if named == slot else []


@pytest.fixture
def quay(tmp_path: Path) -> Quay:
    return Quay(tmp_path)


async def test_an_ended_stream_is_left_and_the_next_goes_on_with_nothing_lost(quay: Quay) -> None:
    async with quay.running():
        quay.say(10)
        await quay.settled()
        await quay.bus.streams.end(LANE, 1)
        quay.say(5)
        await until(lambda: not quay.link._open.is_set())
        quay.say(5)
        await quay.open_next(stored(quay.server)[-1])
        await quay.settled()
        quay.check()
    assert [line.event for line in lines_of(quay.lane())].count("dropped") == 0


async def test_what_was_stored_without_our_knowing_before_the_stream_ended_is_not_sent_again(quay: Quay) -> None:
    async with quay.running():
        quay.say(10)
        await quay.settled()
        stream = quay.server.streams[LANE.stream(1)]
        quay.server.go_away()
        quay.say(9)
        await until(lambda: len(quay.link.unacked) == 3)
        for each in quay.link.unacked[:2]:  # stored; the acknowledgements are lost with the server
            stream.append(each)
        stream.is_sealed = True
        quay.server.come_back()
        await quay.open_next(stored(quay.server)[-1])
        await quay.settled()
        quay.check()
    assert [line.seq for line in lines_of(quay.lane()) if line.channel == "orderbook"] == list(range(1, 20))


async def test_the_spool_goes_on_in_the_next_epoch_in_order(quay: Quay) -> None:
    async with quay.running():
        quay.say(10)
        await quay.settled()
        last = stored(quay.server)[-1]
        await quay.bus.streams.delete(LANE, 1)
        said = 10
        async with asyncio.timeout(60):
            while quay.outbox.spooled <= 50:
                quay.say(10)
                said += 10
                await asyncio.sleep(0.01)
        assert len(quay.link.unacked) <= 4
        await quay.open_next(last)
        await quay.settled()
        lines = lines_of(quay.lane())
        assert [line.seq for line in lines if line.channel == "orderbook"] == list(range(11, said + 1))
        assert quay.spool.is_empty


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
async def test_acknowledged_blocks_that_the_bus_lost_are_named_exactly_in_their_place(quay: Quay, keep: int) -> None:
    async with quay.running():
        for _ in range(4):
            quay.say(2)
            quay.say(1, trades=True)
            await quay.settled()
        quay.truncate(keep)
        quay.say(4)
        await quay.settled()
        quay.say(1, trades=True)
        await quay.settled()
        quay.check()
        dropped = [line.control for line in lines_of(quay.lane()) if line.event == "dropped"]
        assert {control.reason for control in dropped} == {"bus_lost"}
        # Every feed that was left unsound is sound again with its next record.
        holes = {control.hole for control in dropped if control.hole}
        closed = {line.control.hole for line in lines_of(quay.lane()) if line.event in ("resynced", "recovered")}
        assert holes <= closed
        assert quay.writer.dropped == sum(control.count or 0 for control in dropped)


async def test_a_stream_replaced_by_a_seed_names_what_stood_behind_it(quay: Quay) -> None:
    async with quay.running():
        for _ in range(4):
            quay.say(3)
            await quay.settled()
        sealed = stored(quay.server)[1]
        stream = quay.server.streams[LANE.stream(1)]
        await quay.bus.streams.delete(LANE, 1)
        await quay.open_next(sealed)
        quay.say(3)
        await quay.settled()
        quay.server.streams[LANE.stream(1)] = stream  # what the segmenter had sealed of it before
        for seq in [seq for seq in stream.blocks if seq > 2]:
            del stream.blocks[seq]
        quay.check()


async def test_a_loss_that_takes_the_record_of_a_drop_with_it_names_that_drop_again(quay: Quay) -> None:
    async with quay.running():
        quay.say(3)
        await quay.settled()
        keep = len(stored(quay.server))
        quay.buffer.refusing = True
        quay.say(2, trades=True)
        quay.buffer.refusing = False
        quay.say(3)
        await quay.settled()
        quay.truncate(keep)
        quay.say(1, trades=True)
        quay.say(1)
        await quay.settled()
        quay.check()


async def test_a_second_loss_before_and_after_the_first_was_named_is_named_too(quay: Quay) -> None:
    async with quay.running():
        for _ in range(5):
            quay.say(3)
            await quay.settled()
        for keep in (4, 3, 5, 1):
            quay.truncate(keep)
            quay.say(3)
            await quay.settled()
            quay.say(1, trades=True)
            await quay.settled()
            quay.check()


async def test_a_stream_wiped_whole_is_named_and_gone_on_in(quay: Quay) -> None:
    async with quay.running():
        for _ in range(5):
            quay.say(3)
            await quay.settled()
        await quay.bus.streams.delete(LANE, 1)
        quay.say(3)
        await until(lambda: not quay.link._open.is_set())
        await quay.open_next(None)
        await quay.settled()
        quay.check()


async def test_a_stranger_in_the_next_epoch_fences(quay: Quay) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(FencedError, match="0ther:1"), flatten_subgroups=True):
        async with quay.running():
            quay.say(10)
            await quay.settled()
            last = stored(quay.server)[-1]
            await quay.bus.streams.end(LANE, 1)
            quay.say(3)
            await until(lambda: not quay.link._open.is_set())
            await quay.bus.streams.create(LANE, 2, seed=replace(last, feeds=(), payload=b""))
            other = await quay.bus.publisher(LANE, 2, after=last.id, window_blocks=4)
            await other.publish(block(1, after=last.id, boot="0ther"))
            await quay.set_state(epoch=2, sealed_seq=1)
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
    assert await quay.outbox.rescue() == 3
    assert [line.seq for line in lines_of(list(quay.spool.blocks()))] == [11, 12, 13]


async def test_a_stream_that_is_short_of_what_is_sealed_is_not_written(quay: Quay) -> None:
    async with quay.running():
        for _ in range(4):
            quay.say(3)
            await quay.settled()
        sealed = stored(quay.server)[3]
        await quay.set_state(sealed_seq=4)
        quay.truncate(2)
        quay.say(3)
        await until(lambda: not quay.link._open.is_set())
        await asyncio.sleep(0.05)
        assert quay.server.streams[LANE.stream(1)].last_seq == 2
        await quay.open_next(sealed)
        await quay.settled()
        assert stored(quay.server)[-1].id.n == 2
        lines = lines_of([each for each in quay.server.streams[LANE.stream(2)].blocks.values() if each.payload])
        assert [line.seq for line in lines if line.channel == "orderbook"] == [13, 14, 15]
