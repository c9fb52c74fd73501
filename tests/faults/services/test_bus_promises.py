"""The bus that does not sync what it acknowledges, and the one that has no room: refused, warned of, or waited for."""

import asyncio
import os
import random
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.faults.plant import numbered
from tests.faults.services.guarded import (
    GuardedNats,
    error_of,
    events,
    exit_of,
    guarded_plant,
    lines,
    settled,
    start_all,
)
from tests.faults.table import FaultTable

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="needs loopback addresses of its own, which only Linux has"),
]

ALARM_S = 30.0


@pytest.fixture
def host() -> str:
    """An address of the loopback on which nobody else holds the port of the monitoring."""
    chance = random.Random(os.getpid())
    return ".".join(["127", *(str(chance.randrange(1, 255)) for _ in range(3))])


def unsafe(directory: Path, host: str) -> GuardedNats:
    return GuardedNats(directory, 4222, host=host, jetstream="sync_interval: 2m", more=f'http: "{host}:8222"')


async def test_a_bus_that_does_not_sync_is_refused_by_every_service_with_the_remedy(tmp_path: Path, host: str) -> None:
    nats = unsafe(tmp_path / "guarded", host)
    async with guarded_plant(tmp_path, numbered(tmp_path, "shaken"), server=nats) as (plant, _):
        for service in (plant.segmenter(), plant.etl(), plant.collector("shaken")):
            await service.start()
            assert (await exit_of(service))[0] == 2, service.tail()
            said = error_of(service)
            assert "acknowledges before it syncs" in said
            assert "set `sync_interval: always`" in said
            assert "nats.unsafe_durability: true" in said


async def test_a_bus_that_does_not_sync_and_is_accepted_is_warned_of_at_every_start(
    tmp_path: Path, table: FaultTable, host: str
) -> None:
    nats = unsafe(tmp_path / "guarded", host)
    accepted = {"unsafe_durability": True}
    async with guarded_plant(tmp_path, numbered(tmp_path, "shaken"), server=nats, nats=accepted) as (plant, _):
        for service in await start_all(plant):
            (warning,) = events(service, "durability.unsafe")
            assert warning["level"] == "warning"
            assert "a power cut may lose" in warning["effect"]
        await settled(plant, table, "bus that does not sync, accepted")


@pytest.mark.usefixtures("full_run")
async def test_a_bus_without_room_is_an_alarm_and_a_wait(tmp_path: Path, table: FaultTable, host: str) -> None:
    # Small bounds, so that memory is full soon and the spool takes over.
    bounds = {"queue_maxsize": 100, "window_blocks": 2, "batch_size": 20}
    nats = GuardedNats(tmp_path / "guarded", 4222, host=host, more=f'http: "{host}:8222"')
    async with guarded_plant(
        tmp_path, numbered(tmp_path, "shaken", rate_hz=400, bulk_bytes=20_000), server=nats, ingestion=bounds
    ) as (plant, guard):
        segmenter, etl, collector = await start_all(plant)
        guard.end()
        guard.jetstream = "sync_interval: always, max_file_store: 100000"
        guard.write()
        await guard.start()
        async with asyncio.timeout(ALARM_S):
            await collector.until_logged((b'"spool.begun"',))
            await segmenter.until_logged((b"insufficient resources",))
        assert await asyncio.to_thread(healthz, host) == 200
        for service in (segmenter, etl, collector):
            assert service.process is not None
            assert service.process.returncode is None, service.tail()
        retried = [line for line in lines(segmenter) if "insufficient resources" in str(line.get("error"))]
        assert retried[0]["event"] == "operation.retried"
        guard.end()
        guard.jetstream = "sync_interval: always"
        guard.write()
        await guard.start()
        assert await collector.until_logged((b'"spool.drained"',)), collector.tail()
        await settled(plant, table, "storage limit of the bus reached")


def healthz(host: str) -> int:
    with urllib.request.urlopen(f"http://{host}:8222/healthz", timeout=10) as answer:
        return int(answer.status)
