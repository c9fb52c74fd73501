import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.join import Joined, join
from fluxforge_collector.rescue import save
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool
from tests.unit.fluxforge_collector.made import (
    BEGIN_NS,
    BOOK,
    BOOT,
    LANE,
    block,
    events,
    lines_of,
    open_lane,
    stored,
    until,
)

RESCUE = Lane("ccxt", "binance", f"0of1r{BOOT}")
OTHER = "0ther001"
BOOK_LINE = RecordWriter(BOOK, BOOT).line
CONTROL_LINE = RecordWriter(Feed("ccxt", "binance", "control", None), BOOT).line
CONNECTED = (
    b'{"event":"connected","hole":null,"scope":null,"feeds":[],"reason":null,"from_ns":null,"to_ns":null,'
    b'"count":null,"repeat":false}'
)


def of_three(n: int) -> Block:
    """The n-th block: books 2n-1 and 2n, 100 ns apart, and control record n between them."""
    at_ns = BEGIN_NS + n * 1000
    lines = [
        BOOK_LINE(conn=1, seq=2 * n - 1, capture_ns=at_ns, exchange_ms=None, data=b"{}"),
        CONTROL_LINE(conn=1, seq=n, capture_ns=at_ns + 50, exchange_ms=None, data=CONNECTED),
        BOOK_LINE(conn=1, seq=2 * n, capture_ns=at_ns + 100, exchange_ms=None, data=b"{}"),
    ]
    feeds = (FeedRange("orderbook", "BTC-USDT", 2 * n - 1, 2 * n, 2), FeedRange("control", None, n, n, 1))
    after = BlockId(BOOT, n - 1) if n > 1 else None
    return Block(BlockId(BOOT, n), after, at_ns, at_ns + 100, feeds, b"".join(lines))


class Shore:
    """A lane that a successor went on in behind our third block, and our spool of what came after the second."""

    def __init__(self, tmp_path: Path) -> None:
        self.server = MemoryServer()
        self.bus = MemoryBus(self.server)
        self.settings = SpoolSettings(tmp_path / "spool", 1_000_000)
        self.spool = Spool(self.settings)

    async def strand(self, *, successor_ns: int, stored_count: int = 3, spooled_count: int = 8) -> None:
        await self.bus.states.create(LANE)
        await open_lane(self.bus)
        publisher = await self.bus.publisher(LANE, 1, after=None, window_blocks=64)
        for n in range(1, stored_count + 1):
            await publisher.publish(of_three(n))
        first = replace(
            block(1, after=BlockId(BOOT, stored_count), boot=OTHER),
            first_capture_ns=successor_ns,
            last_capture_ns=successor_ns,
        )
        await publisher.publish(first)
        await publisher.publish(
            replace(
                block(2, after=first.id, boot=OTHER),
                first_capture_ns=successor_ns + 1,
                last_capture_ns=successor_ns + 1,
            )
        )
        assert await publisher.settle(timeout_s=60)
        await publisher.close()
        self.spool.append([of_three(n) for n in range(3, spooled_count + 1)])

    async def save(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            saving = tasks.create_task(save(LANE, self.bus, self.spool, events()))
            opening = tasks.create_task(open_lane(self.bus, RESCUE))
            await saving
            opening.cancel()

    def rescued(self) -> list[Block]:
        return stored(self.server, RESCUE)


@pytest.fixture
def shore(tmp_path: Path) -> Shore:
    return Shore(tmp_path)


async def test_what_the_lane_lacks_becomes_a_lane_of_its_own_up_to_the_successors_first_record(shore: Shore) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 6050)  # as the control record of block 6
    await shore.save()
    blocks = shore.rescued()
    assert [str(each.id) for each in blocks] == [f"{BOOT}:4", f"{BOOT}:5", f"{BOOT}:6", f"{BOOT}:9"]
    assert [each.after for each in blocks] == [None, *(each.id for each in blocks[:-1])]
    lines = lines_of(blocks)
    assert [line.seq for line in lines if line.channel == "orderbook"] == [7, 8, 9, 10, 11]
    assert [line.seq for line in lines if line.channel == "control"] == [4, 5, 9, 10, 11]
    assert all(later.capture_ns > earlier.capture_ns for earlier, later in pairwise(lines))
    controls, books, closed = [line.control for line in lines[-3:]]
    assert (books.reason, books.count, books.detail) == ("fenced", 5, {"first_seq": 12, "last_seq": 16})
    assert books.scope is not None
    assert books.market("BTC-USDT") == "BTC/USDT"
    assert (controls.scope, controls.feeds) == (None, ())
    assert controls.detail == {"channel": "control", "first_seq": 6, "last_seq": 8}
    assert (closed.event, [feed.symbol for feed in closed.feeds]) == ("lane_closed", ["BTC-USDT"])
    for each in blocks:
        of_block = lines_of([each])
        assert (each.first_capture_ns, each.last_capture_ns) == (of_block[0].capture_ns, of_block[-1].capture_ns)
        assert each.records == len(of_block)
    assert shore.spool.is_empty
    assert Spool(shore.settings).is_empty


async def test_a_spool_that_stands_in_the_lane_whole_needs_no_lane(shore: Shore) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 6050, stored_count=5, spooled_count=5)
    await save(LANE, shore.bus, shore.spool, events())
    assert Spool(shore.settings).is_empty
    assert await shore.bus.states.get(RESCUE) is None


async def test_records_that_are_all_captured_by_the_successor_too_are_named_only(shore: Shore) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 3500)
    await shore.save()
    (closing,) = shore.rescued()
    details = [line.control.detail for line in lines_of([closing])][:-1]
    assert details == [
        {"first_seq": 7, "last_seq": 16},
        {"channel": "control", "first_seq": 4, "last_seq": 8},
    ]


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
async def test_saving_goes_on_where_it_was_cut_short(shore: Shore, kept: int) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 6050)
    await shore.save()
    whole = shore.rescued()
    stream = shore.server.streams[RESCUE.stream(1)]
    for seq in range(kept + 1, 5):
        del stream.blocks[seq]
    stream.last_seq = kept
    again = Spool(shore.settings)
    again.append([of_three(n) for n in range(3, 9)])
    await save(LANE, shore.bus, again, events())
    assert shore.rescued() == whole
    assert again.is_empty


async def test_a_rescue_lane_that_the_bus_forgets_before_it_is_opened_gets_its_key_again(shore: Shore) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 6050)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(save(LANE, shore.bus, shore.spool, events()))
        await until(lambda: str(RESCUE) in shore.server.states)
        del shore.server.states[str(RESCUE)]
        await open_lane(shore.bus, RESCUE)  # waits for the key
    assert len(shore.rescued()) == 4


async def test_a_place_that_was_purged_leaves_the_spool_to_a_person(shore: Shore, tmp_path: Path) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 6050)
    await shore.bus.streams.purge(LANE, 1, below_seq=5)
    await save(LANE, shore.bus, shore.spool, events())
    assert shore.spool.is_empty
    assert Spool(shore.settings).is_empty
    aside = Spool(SpoolSettings(tmp_path / "spool" / f"undecided-{BOOT}", 1_000_000))
    assert aside.ids() == [BlockId(BOOT, n) for n in range(3, 9)]


async def test_a_collector_that_finds_such_a_spool_saves_it_and_joins_its_lane_afresh(shore: Shore) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 6050)
    joining = join(LANE, shore.bus, shore.spool, ManualClock(BEGIN_NS + 10_000), Shutdown(), events())
    async with asyncio.TaskGroup() as tasks:
        joined = tasks.create_task(joining)
        tasks.create_task(open_lane(shore.bus, RESCUE))
    last = BlockId(OTHER, 2)
    assert joined.result() == Joined(1, last, last, BEGIN_NS + 6051, BEGIN_NS + 6051)
    assert len(shore.rescued()) == 4


async def test_spools_of_other_processes_are_saved_before_the_lane_is_joined(shore: Shore, tmp_path: Path) -> None:
    await shore.strand(successor_ns=BEGIN_NS + 6050)
    own = Spool(SpoolSettings(tmp_path / "spool~2", 1_000_000))
    clock = ManualClock(BEGIN_NS + 10_000)
    async with asyncio.TaskGroup() as tasks:
        joining = join(LANE, shore.bus, own, clock, Shutdown(), events(), beside=[shore.spool])
        joined = tasks.create_task(joining)
        tasks.create_task(open_lane(shore.bus, RESCUE))
    assert joined.result() is not None
    assert shore.spool.is_empty
    assert len(shore.rescued()) == 4
