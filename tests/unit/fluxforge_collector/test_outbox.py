import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.errors import FencedError, LaneMovedError
from fluxforge.domain.record import RecordWriter
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.outbox import Outbox
from fluxforge_collector.settings import Limits, SpoolSettings
from fluxforge_collector.spool import Spool, SpoolFullError
from tests.unit.fluxforge_collector.made import BOOK, BOOT, LANE, block, chain, events, lines_of, stored, until

LINE = RecordWriter(BOOK, "b").line
SLOT = ("orderbook", "BTC-USDT")


class Bench:
    """An outbox between a buffer and a memory bus that can be taken away."""

    def __init__(self, tmp_path: Path, *, size_bytes_max: int = 10_000_000, window_blocks: int = 4) -> None:
        self.server = MemoryServer()
        self.bus = MemoryBus(self.server)
        self.buffer = BlockBuffer(BOOT, Limits(block_records_max=5, waiting_records_max=20), after=None)
        self.spool_settings = SpoolSettings(tmp_path / "spool", size_bytes_max)
        self.window_blocks = window_blocks
        self.seq = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Outbox]:
        await self.bus.states.create(LANE)
        await self.bus.streams.create(LANE, 1)
        self.spool = Spool(self.spool_settings)
        publisher = await self.bus.publisher(LANE, 1, after=None, window_blocks=self.window_blocks)
        self.outbox = Outbox(buffer=self.buffer, publisher=publisher, spool=self.spool, linger_s=0.001, events=events())
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.outbox.run())
            yield self.outbox
            task.cancel()
        await publisher.close()

    def add(self, count: int) -> None:
        for _ in range(count):
            self.seq += 1
            line = LINE(conn=1, seq=self.seq, capture_ns=self.seq, exchange_ms=None, data=b"{}")
            self.buffer.append(SLOT, self.seq, line, self.seq)

    def stored_seqs(self) -> list[int]:
        return [line.seq for line in lines_of(stored(self.server))]

    async def until_spooled(self, records: int) -> None:
        await until(lambda: self.outbox.spooled >= records)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_records_reach_the_bus_in_order_and_without_the_spool(bench: Bench) -> None:
    async with bench.running() as outbox:
        for _ in range(20):
            bench.add(3)
            await asyncio.sleep(0)
        assert await outbox.drain(60)
        assert bench.stored_seqs() == list(range(1, 61))
        assert bench.spool.is_empty
        assert outbox.unstored == 0


async def test_blocks_grow_while_the_bus_is_away(bench: Bench) -> None:
    async with bench.running() as outbox:
        bench.server.go_away()
        for _ in range(50):
            bench.add(1)
            await asyncio.sleep(0.002)
            if len(bench.buffer._closed) > 1:
                break
        bench.server.come_back()
        assert await outbox.drain(60)
        assert 5 in [block.records for block in stored(bench.server)]
        assert bench.stored_seqs() == list(range(1, bench.seq + 1))


async def test_a_bus_that_is_away_fills_the_spool_and_loses_and_reorders_nothing(bench: Bench) -> None:
    async with bench.running() as outbox:
        bench.add(10)
        assert await outbox.drain(60)
        bench.server.go_away()
        for _ in range(8):
            bench.add(30)
            await asyncio.sleep(0.005)
        await until(lambda: not (bench.buffer.records or outbox._moving))
        assert outbox.spooled > 150
        assert bench.seq == 250
        assert outbox.unstored == 240
        assert not bench.buffer.refusing
        bench.server.come_back()
        bench.add(30)
        assert await outbox.drain(60)
        assert bench.stored_seqs() == list(range(1, 281))
        assert bench.spool.is_empty
        assert list(bench.spool_settings.directory.iterdir()) == []


async def test_after_the_spool_is_drained_blocks_bypass_it_again(bench: Bench) -> None:
    async with bench.running() as outbox:
        bench.server.go_away()
        bench.add(60)
        await bench.until_spooled(1)
        bench.server.come_back()
        assert await outbox.drain(60)
        bench.add(10)
        assert await outbox.drain(60)
        assert bench.spool.is_empty
        assert bench.stored_seqs() == list(range(1, 71))


async def test_the_spool_holds_the_window_too_so_that_a_kill_loses_nothing(bench: Bench) -> None:
    async with bench.running() as outbox:
        bench.server.go_away()
        bench.add(60)
        await bench.until_spooled(1)
        await until(lambda: not (bench.buffer.records or outbox._moving))
        kept = Spool(bench.spool_settings)  # what the next process would find
        assert [line.seq for line in lines_of(list(iter(kept.next, None)))] == list(range(1, 61))
        bench.server.come_back()
        assert await outbox.drain(60)


async def test_a_restart_sends_the_old_boots_blocks_first_with_their_ids(bench: Bench) -> None:
    old = [block(n, after=None if n == 1 else block(n - 1, after=None, boot="0ld").id, boot="0ld") for n in range(1, 4)]
    Spool(bench.spool_settings).append(old)
    bench.buffer = BlockBuffer(BOOT, Limits(block_records_max=5), after=old[-1].id)
    async with bench.running() as outbox:
        bench.add(10)
        assert await outbox.drain(60)
        assert [str(found.id) for found in stored(bench.server)] == [
            "0ld:1",
            "0ld:2",
            "0ld:3",
            f"{BOOT}:1",
            f"{BOOT}:2",
        ]


async def test_the_spool_is_not_left_before_what_it_handed_on_is_stored(bench: Bench) -> None:
    old = chain(2)
    Spool(bench.spool_settings).append(old)
    bench.buffer = BlockBuffer("n3w", Limits(block_records_max=5), after=old[-1].id)
    async with bench.running() as outbox:
        bench.server.go_away()
        await until(lambda: not outbox.spooled and outbox._in_hand is None)
        assert not await outbox._leave_spool()
        bench.add(5)
        await until(lambda: not (bench.buffer.records or outbox._moving))
        assert [str(found) for found in Spool(bench.spool_settings).ids()] == [f"{BOOT}:1", f"{BOOT}:2", "n3w:1"]
        bench.server.come_back()
        assert await outbox.drain(60)
        assert [str(found.id) for found in stored(bench.server)] == [f"{BOOT}:1", f"{BOOT}:2", "n3w:1"]


async def test_a_full_spool_lets_memory_refuse_and_recovers_in_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, size_bytes_max=9_000)
    async with bench.running() as outbox:
        bench.server.go_away()
        async with asyncio.timeout(60):
            while not bench.buffer.refusing:
                bench.add(1)
                await asyncio.sleep(0.001)
        assert bench.spool.size_bytes <= 9_000
        bench.server.come_back()
        assert await outbox.drain(60)
        assert not bench.buffer.refusing
        assert bench.stored_seqs() == list(range(1, bench.seq + 1))


async def test_a_full_disk_is_a_full_spool_and_what_memory_cannot_hold_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.running() as outbox:
        bench.server.go_away()
        monkeypatch.setattr(bench.spool, "_write", disk_is_full)
        async with asyncio.timeout(60):
            while not bench.buffer.refusing:
                bench.add(1)
                await asyncio.sleep(0.001)
        assert outbox.unstored == bench.seq
        monkeypatch.undo()
        bench.server.come_back()
        assert await outbox.drain(60)
        assert bench.stored_seqs() == list(range(1, bench.seq + 1))


async def test_a_disk_that_is_full_at_the_end_as_well_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench.running() as outbox:
        bench.server.go_away()
        monkeypatch.setattr(bench.spool, "_write", disk_is_full)
        bench.add(60)
        await until(lambda: outbox._refused_until_s)
    with pytest.raises(SpoolFullError):
        await outbox.rescue()


async def test_an_end_while_a_full_disk_refuses_rescues_the_window_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = threading.Event()

    def refuse_late(*_: object) -> None:
        assert refuse.wait(60)
        disk_is_full()

    with monkeypatch.context() as full:
        full.setattr(Spool, "_write", refuse_late)
        async with bench.running() as outbox:
            bench.server.go_away()
            bench.add(60)
            await until(lambda: outbox._moving)
            assert outbox._publisher.unacked
        refuse.set()
    assert await outbox.rescue() == 60
    kept = Spool(bench.spool_settings)
    assert [line.seq for line in lines_of(list(iter(kept.next, None)))] == list(range(1, 61))


def disk_is_full(*_: object) -> None:
    raise SpoolFullError("no space")


async def test_what_is_held_while_the_bus_is_away_is_bounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, size_bytes_max=9_000)
    async with bench.running() as outbox:
        bench.server.go_away()
        async with asyncio.timeout(60):
            # It also refuses while a slow disk takes what is on its way: full is the spool.
            while not (bench.buffer.refusing and not outbox._spool.has_room(bench.buffer.held())):
                if not bench.buffer.refusing:
                    bench.add(1)
                await asyncio.sleep(0.001)
                between = (*outbox._publisher.unacked, *outbox._moving)
                held = sum(each.records for each in between) + bench.buffer.records
                assert held <= 5 * bench.window_blocks + 2 * 20 + 5
        bench.server.come_back()
        assert await outbox.drain(60)


async def test_a_drain_that_takes_too_long_says_so_and_what_is_left_can_be_rescued(bench: Bench) -> None:
    async with bench.running() as outbox:
        bench.server.go_away()
        bench.add(12)
        assert not await outbox.drain(0.05)
    assert await outbox.rescue() == 12
    kept = Spool(bench.spool_settings)
    assert [line.seq for line in lines_of(list(iter(kept.next, None)))] == list(range(1, 13))


@pytest.mark.parametrize("found", [FencedError, LaneMovedError])
async def test_whatever_ends_it_nothing_is_lost(bench: Bench, found: type[Exception]) -> None:
    with pytest.RaisesGroup(pytest.RaisesGroup(found)):
        async with bench.running() as outbox:
            bench.add(10)
            assert await outbox.drain(60)
            if found is FencedError:
                other = await bench.bus.publisher(LANE, 1, after=None, window_blocks=4)
                await other.publish(block(1, after=stored(bench.server)[-1].id, boot="0ther"))
            else:
                del bench.server.streams[LANE.stream(1)]
            bench.add(30)
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
    assert await outbox.rescue() == 30
    kept = Spool(bench.spool_settings)
    assert [line.seq for line in lines_of(list(iter(kept.next, None)))] == list(range(11, 41))
