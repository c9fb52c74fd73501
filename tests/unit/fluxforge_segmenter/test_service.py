"""All lanes of the bus, in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import FatalError, FencedError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import SealPolicy
from fluxforge.domain.status import SegmenterStatus, status_from_json
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.service import Ports, Segmenter
from fluxforge_segmenter.settings import SegmenterSettings
from tests.traffic import Traffic, audit, manifests

LANES = [Lane("ccxt", "binance", "0of1"), Lane("ccxt", "kraken", "0of1")]


class Service:
    """The service on a memory bus."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.bus = MemoryBus(MemoryServer(lease_ttl_s=10))
        self.shutdown = Shutdown()
        settings = SegmenterSettings(
            scratch_dir=data,
            layout=Layout(),
            policy=SealPolicy(size_bytes_max=10**9, age_ns_max=10**12),
            compression=Compression.NONE,
            fsync=False,
            flush_interval_ns=10**9,
            bus_grace_ns=10**12,
            lease_ttl_s=10,
        )
        ports = Ports(self.bus, LocalStore(data, sync=False), SystemClock(), lambda _fd, _path: None)
        self.registry = CollectorRegistry()
        self.segmenter = Segmenter(settings, ports, SegmenterEvents(self.registry), self.shutdown)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.ensure_future(self.segmenter.run())
        yield task
        self.shutdown.request()
        await asyncio.wait_for(task, 60)

    async def until_ready(self) -> None:
        async with asyncio.timeout(60):
            while not self.segmenter.is_ready:  # noqa: ASYNC110 - a plain condition of the task under test
                await asyncio.sleep(0.01)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "data")


def stored(service: Service, traffic: Traffic) -> None:
    stream = service.bus.server.streams[traffic.lane.stream(1)]
    assert stream.append(traffic.block())
    service.bus.server.tell()


async def test_every_lane_is_sealed_and_told_of(service: Service) -> None:
    traffics = [Traffic(lane=lane) for lane in LANES]
    for lane in LANES:
        await service.bus.states.create(lane)
    async with service.running():
        await service.until_ready()
        for traffic in traffics:
            stored(service, traffic)
        statuses = await service.bus.statuses(wait_s=1.5)
        status = status_from_json(statuses["status.segmenter.0"])
        assert isinstance(status, SegmenterStatus)
        assert [lane.lane for lane in status.lanes] == [str(lane) for lane in LANES]
    for traffic in traffics:
        audit(service.data, traffic.published, traffic.lane)
    assert [lane.records for lane in service.segmenter.status().lanes] == [6, 6]


async def test_it_is_not_ready_before_it_has_looked_for_lanes(service: Service) -> None:
    assert not service.segmenter.is_ready
    async with service.running():
        await service.until_ready()


async def test_a_lane_in_other_hands_keeps_it_from_being_ready(service: Service) -> None:
    await service.bus.states.create(LANES[0])
    revision = await service.bus.leases.acquire(f"segmenter-{LANES[0]}", "other")
    assert revision is not None
    async with service.running():
        async with asyncio.timeout(60):
            while not service.segmenter._lanes:  # noqa: ASYNC110 - a plain condition of the task under test
                await asyncio.sleep(0.01)
        assert not service.segmenter.is_ready
        assert service.registry.get_sample_value("fluxforge_segmenter_lane_held", {"lane": str(LANES[0])}) == 0
        assert await service.bus.statuses(wait_s=1.5) == {}, "the subject is its leader's"
        await service.bus.leases.release(f"segmenter-{LANES[0]}", revision)
        await service.until_ready()
        assert service.registry.get_sample_value("fluxforge_segmenter_lane_held", {"lane": str(LANES[0])}) == 1


async def test_leases_are_given_back_at_the_end(service: Service) -> None:
    await service.bus.states.create(LANES[0])
    async with service.running():
        await service.until_ready()
        assert service.bus.server.leases
    assert service.bus.server.leases == {}


async def test_a_lane_that_is_taken_away_ends_the_service(service: Service) -> None:
    await service.bus.states.create(LANES[0])
    task = asyncio.ensure_future(service.segmenter.run())
    await service.until_ready()
    found = await service.bus.states.get(LANES[0])
    assert found is not None
    await service.bus.states.update(LANES[0], replace(found.state, owner="9-other"), found.revision)
    stored(service, Traffic(lane=LANES[0]))
    service.shutdown.request()
    with pytest.RaisesGroup(FencedError, flatten_subgroups=True):
        await asyncio.wait_for(task, 60)


async def test_a_lane_whose_key_the_bus_lost_is_found_by_its_stream(service: Service) -> None:
    await service.bus.streams.create(LANES[0], 4)
    traffic = Traffic(lane=LANES[0])
    assert service.bus.server.streams[LANES[0].stream(4)].append(traffic.block())
    async with service.running():
        await service.until_ready()
    assert [manifest.epoch for manifest in manifests(service.data, LANES[0])] == [4]


async def test_a_standby_ends_at_once_and_in_order(service: Service) -> None:
    await service.bus.states.create(LANES[0])
    await service.bus.leases.acquire(f"segmenter-{LANES[0]}", "other")
    async with service.running():
        async with asyncio.timeout(60):
            while not service.segmenter._lanes:  # noqa: ASYNC110 - a plain condition of the task under test
                await asyncio.sleep(0.01)
        assert not service.segmenter.is_ready


async def test_a_lane_that_was_closed_is_forgotten_and_served_again_when_it_returns(service: Service) -> None:
    await service.bus.states.create(LANES[0])
    async with service.running():
        await service.until_ready()
        service.segmenter._tasks[LANES[0]]._is_closed = True
        async with asyncio.timeout(60):
            first = service.segmenter._tasks[LANES[0]]
            while service.segmenter._tasks.get(LANES[0]) in (None, first):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        await service.until_ready()


async def test_a_connection_beyond_help_ends_the_service(service: Service) -> None:
    task = asyncio.ensure_future(service.segmenter.run())
    await service.until_ready()
    service.bus.fail(FatalError("closed for good"))
    with pytest.RaisesGroup(FatalError, flatten_subgroups=True):
        await asyncio.wait_for(task, 60)


async def test_a_bus_that_is_away_for_a_while_is_waited_for(service: Service) -> None:
    await service.bus.states.create(LANES[0])
    traffic = Traffic(lane=LANES[0])
    async with service.running():
        await service.until_ready()
        service.bus.server.go_away()
        assert not service.segmenter.is_ready
        service.shutdown.request()
        service.bus.server.come_back()
        stored(service, traffic)
    audit(service.data, traffic.published, traffic.lane)
