import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import BusUnavailableError, FatalError
from fluxforge.domain.status import CollectorStatus, status_from_json
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.collector import Collector
from fluxforge_collector.spool import Spool
from tests.unit.fluxforge_collector.made import (
    BOOT,
    LANE,
    ToldSource,
    collector_settings,
    events,
    lines_of,
    open_lane,
    stored,
    until,
)


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
