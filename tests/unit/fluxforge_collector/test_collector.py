import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import BusUnavailableError, FatalError, FencedError
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import RecordWriter
from fluxforge.domain.status import CollectorStatus, status_from_json
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.collector import Collector
from fluxforge_collector.spool import Spool
from tests.unit.fluxforge_collector.made import (
    BOOK,
    BOOT,
    LANE,
    ToldSource,
    block,
    collector_settings,
    events,
    lines_of,
    open_lane,
    stored,
    until,
)

BOOK_LINE = RecordWriter(BOOK, BOOT).line(conn=1, seq=9, capture_ns=7, exchange_ms=None, data=b"{}")


class Stand:
    def __init__(
        self, tmp_path: Path, server: MemoryServer | None = None, boot: str = BOOT, *, drain_s: float = 60
    ) -> None:
        self.server = server or MemoryServer()
        self.bus = MemoryBus(self.server)
        self.source = ToldSource()
        self.settings = collector_settings(tmp_path)
        self.collector = Collector(
            self.settings,
            source=self.source,
            bus=self.bus,
            clock=SystemClock(),
            events=events(),
            boot=boot,
            drain_s=drain_s,
        )
        self.shutdown = Shutdown()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.collector.run(self.shutdown))
            await open_lane(self.bus)
            await self.source.running.wait()
            yield
            self.shutdown.request()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_everything_captured_is_stored_between_started_and_stopped(stand: Stand) -> None:
    async with stand.running():
        for _ in range(50):
            stand.source.say()
            await asyncio.sleep(0)
    lines = lines_of(stored(stand.server))
    assert [line.event or line.seq for line in lines] == ["started", "resynced", *range(1, 51), "stopped"]
    status = stand.collector.status()
    assert (status.captured, status.stored, status.waiting, status.dropped) == (53, 53, 0, 0)
    assert stand.source.closed


async def test_the_next_boot_says_where_the_lane_stood(stand: Stand, tmp_path: Path) -> None:
    async with stand.running():
        stand.source.say()
    last = stored(stand.server)[-1]
    second = Stand(tmp_path, stand.server, "aaaa0001")
    async with second.running():
        second.source.say()
    started = next(
        line for line in lines_of(stored(stand.server)) if line.boot == "aaaa0001" and line.event == "started"
    )
    after = started.control.after
    assert after is not None
    assert (after.boot, after.block, after.capture_ns) == (BOOT, last.id.n, last.last_capture_ns)
    assert started.capture_ns > after.capture_ns


async def test_its_status_is_announced_and_tells_price_and_soundness(stand: Stand) -> None:
    heard: list[CollectorStatus] = []

    def hear(subject: str, payload: bytes) -> None:
        assert subject == f"status.collector.{LANE}"
        status = status_from_json(payload)
        assert isinstance(status, CollectorStatus)
        heard.append(status)

    with stand.server.hearing(hear):
        async with stand.running():
            stand.source.say(orjson.dumps({"bids": [[100.0, 1.0]], "asks": [[102.0, 1.0]]}))
            await until(lambda: any(status.feeds[0].records for status in heard))
    book, trades = heard[-1].feeds
    assert (book.last_price, book.sound, book.records) == (101.0, True, 1)
    assert (trades.last_price, trades.sound, trades.records) == (None, False, 0)


async def test_a_drain_that_fails_exits_with_what_is_left_in_the_spool(tmp_path: Path) -> None:
    stand = Stand(tmp_path, drain_s=0.05)
    with pytest.RaisesGroup(pytest.RaisesExc(BusUnavailableError, match="stand in the spool"), flatten_subgroups=True):
        async with stand.running():
            await until(lambda: not stand.collector.status().waiting)
            stand.server.go_away()
            stand.source.say()
    spool = Spool(stand.settings.spool)
    left = lines_of(list(iter(spool.next, None)))
    assert [line.event or line.seq for line in left] == ["resynced", 1, "stopped"]


async def test_a_bus_that_fails_for_good_ends_it_and_keeps_everything(stand: Stand) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(FatalError, match="gone"), flatten_subgroups=True):
        async with stand.running():
            stand.server.go_away()
            stand.source.say()
            stand.bus.fail(FatalError("gone"))
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
    spool = Spool(stand.settings.spool)
    left = lines_of(list(iter(spool.next, None)))
    assert [line.event or line.seq for line in left][-2:] == [1, "stopped"]
    assert left[-1].control.reason == "failure"
    assert stand.source.closed


async def test_it_ends_in_order_while_it_waits_for_its_lane(stand: Stand) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stand.collector.run(stand.shutdown))
        await asyncio.sleep(0.02)
        stand.shutdown.request()
    assert not stand.collector.is_ready
    assert stand.collector.status().captured == 0


async def test_a_second_collector_of_a_lane_stands_by_until_the_first_ends(stand: Stand, tmp_path: Path) -> None:
    second = Stand(tmp_path, stand.server, "aaaa0001")
    async with asyncio.TaskGroup() as tasks:
        async with stand.running():
            tasks.create_task(second.collector.run(second.shutdown))
            stand.source.say()
            await until((tmp_path / "spool~2.lock").exists)
            await asyncio.sleep(0.1)
            assert second.source.sink is None
            assert not second.collector.is_ready
        await second.source.running.wait()
        second.source.say()
        second.shutdown.request()
    assert list(dict.fromkeys(line.boot for line in lines_of(stored(stand.server)))) == [BOOT, "aaaa0001"]


async def test_a_standby_that_is_asked_to_end_ends(stand: Stand, tmp_path: Path) -> None:
    second = Stand(tmp_path, stand.server, "aaaa0001")
    async with stand.running(), asyncio.TaskGroup() as tasks:
        tasks.create_task(second.collector.run(second.shutdown))
        await until((tmp_path / "spool~2.lock").exists)
        second.shutdown.request()


async def test_a_collector_whose_lease_is_taken_is_fenced_and_its_successor_saves_what_it_held(
    tmp_path: Path,
) -> None:
    server = MemoryServer(lease_ttl_s=0.3)
    zombie = Stand(tmp_path, server)
    zombie.collector._settings = replace(zombie.settings, lease_ttl_s=60)  # it does not ask again before it writes
    with pytest.RaisesGroup(pytest.RaisesExc(FencedError), flatten_subgroups=True):
        async with zombie.running():
            zombie.source.say()
            await until(lambda: zombie.collector.status().stored == 3)
            await MemoryBus(server).leases.release(f"collector-{LANE}", server.leases[f"collector-{LANE}"][1])
            heir = Stand(tmp_path / "heir", server, "aaaa0001")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(heir.collector.run(heir.shutdown))
                await heir.source.running.wait()
                await until(lambda: heir.collector.status().stored)
                zombie.source.say()  # refused where it writes, whatever its lease says
                heir.shutdown.request()
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
    left = lines_of(list(Spool(zombie.settings.spool).blocks()))
    assert [line.event or line.seq for line in left] == [2, "stopped"]
    assert {line.boot for line in lines_of(stored(server))} == {BOOT, "aaaa0001"}
    again = Stand(tmp_path, server, "bbbb0001")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(open_lane(again.bus, Lane("ccxt", "binance", f"0of1r{BOOT}")))
        tasks.create_task(again.collector.run(again.shutdown))
        await again.source.running.wait()
        again.shutdown.request()
    rescued = lines_of(stored(server, Lane("ccxt", "binance", f"0of1r{BOOT}")))
    assert [line.event for line in rescued] == ["dropped", "dropped", "lane_closed"]
    assert Spool(zombie.settings.spool).is_empty


async def test_what_the_bus_lost_before_a_spool_is_named_by_the_next_boot_even_if_it_is_killed(
    stand: Stand, tmp_path: Path
) -> None:
    async with stand.running():
        stand.source.say()
        await until(lambda: not stand.collector.status().waiting)
    stream = stand.server.streams[LANE.stream(1)]
    kept = next(iter(stream.blocks.values()))
    last = list(stream.blocks.values())[-1]
    stream.blocks, stream.last_seq = {1: kept}, 1
    spooled = replace(block(9, after=replace(last.id, n=8)), first_capture_ns=last.last_capture_ns + 100)
    Spool(stand.settings.spool).append([replace(spooled, last_capture_ns=spooled.first_capture_ns, payload=BOOK_LINE)])
    second = Stand(tmp_path, stand.server, "aaaa0001")
    async with second.running():
        await second.source.running.wait()
        await until(lambda: not second.collector.status().waiting)
    blocks = stored(stand.server)
    assert [each.id.boot for each in blocks][:3] == [BOOT, BOOT, "aaaa0001"]
    assert all(later.after == earlier.id for earlier, later in pairwise(blocks))
    (named,) = [line.control for line in lines_of(blocks[2:]) if line.event == "dropped"]
    assert (named.reason, named.from_ns, named.to_ns) == ("bus_lost", kept.last_capture_ns, spooled.first_capture_ns)
    assert len(named.feeds) == 2
