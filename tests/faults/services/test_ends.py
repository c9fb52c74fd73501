"""A service told to end is gone in time, whatever the bus does; one started without a bus waits; nothing is lost."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.domain.errors import FencedError, StateConflictError
from tests.faults.plant import Plant, numbered, running_plant
from tests.faults.services.guarded import (
    error_of,
    exit_of,
    guarded_plant,
    is_run,
    probe,
    settled,
    start_again,
    start_all,
)
from tests.faults.table import FaultTable
from tests.traffic import Traffic

pytestmark = pytest.mark.timeout(240)

KILLED_AFTER_S = 10.0
"""When a container engine would end a service by force."""


def _leave(_plant: Plant) -> None:
    """The bus is there."""


def _kill(plant: Plant) -> None:
    os.kill(plant.server.pid, signal.SIGKILL)


def _stop(plant: Plant) -> None:
    os.kill(plant.server.pid, signal.SIGSTOP)


async def _there(_plant: Plant) -> None:
    """It was never away."""


async def _started(plant: Plant) -> None:
    await plant.server.start()


async def _woken(plant: Plant) -> None:
    os.kill(plant.server.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("fault", "begin", "end"),
    [("there", _leave, _there), ("killed", _kill, _started), ("stopped", _stop, _woken)],
    ids=["the bus is there", "the bus was killed", "the bus was stopped"],
)
async def test_sigterm_under_load_ends_in_time_and_nothing_is_lost(
    tmp_path: Path,
    table: FaultTable,
    is_full: bool,  # noqa: FBT001 - a fixture
    fault: str,
    begin: Callable[[Plant], None],
    end: Callable[[Plant], object],
) -> None:
    is_run(fault, bounded="stopped", is_full=is_full)
    async with running_plant(tmp_path, numbered(tmp_path, "shaken", rate_hz=1000)) as plant:
        services = await start_all(plant)
        begin(plant)
        for service in services:
            service.signal(signal.SIGTERM)
        codes = {}
        for service in services:
            codes[service.kind], _ = await exit_of(service, within_s=KILLED_AFTER_S)
        try:
            if fault == "there":
                assert codes == dict.fromkeys(codes, 0), [service.tail() for service in services]
            else:
                # What the collector holds stands in its spool, which a supervisor should know of.
                assert codes == {"segmenter": 0, "etl_worker": 0, "collector": 1}, [s.tail() for s in services]
                assert "they stand in the spool" in error_of(services[-1])
        finally:
            await end(plant)
        await start_again(services)
        await settled(plant, table, f"SIGTERM under load of all three, bus {fault}")


@pytest.mark.usefixtures("full_run")
async def test_services_wait_for_a_bus_that_is_not_there_yet(tmp_path: Path, table: FaultTable) -> None:
    async with guarded_plant(tmp_path, numbered(tmp_path, "shaken")) as (plant, guard):
        guard.end()
        services = [plant.segmenter(), plant.etl(), plant.collector("shaken")]
        waiting = {
            "collector": b'"lane.awaited"',
            "segmenter": b'"operation.retried"',
            "etl_worker": b'"operation.retried"',
        }
        for service in services:
            await service.start()
        for service in services:
            assert await service.until_logged((waiting[service.kind],)), service.tail()
        for service in services[:2]:
            assert (await probe(service, "/livez"))[0] == 200
            assert (await probe(service, "/readyz"))[0] == 503
        impatient = plant.segmenter("impatient")
        await impatient.start()
        assert await impatient.until_logged((b'"settings.loaded"',))
        impatient.signal(signal.SIGTERM)
        assert (await exit_of(impatient, within_s=KILLED_AFTER_S))[0] == 0
        del plant.services["impatient"]
        await guard.start()
        await start_again(services, started=True)
        await settled(plant, table, "bus away at the start of all three")


async def test_a_segmenter_whose_lane_was_taken_ends_and_says_so(tmp_path: Path, table: FaultTable) -> None:
    async with running_plant(tmp_path, numbered(tmp_path, "shaken")) as plant:
        services = await start_all(plant)
        (lane,) = plant.lanes

        async def is_taken() -> bool:
            found = await plant.bus.states.get(lane)
            assert found is not None
            try:
                await plant.bus.states.update(lane, replace(found.state, owner="9999-beef"), found.revision)
            except StateConflictError:
                return False
            return True

        await plant.until(is_taken)
        segmenter = services[0]
        assert (await exit_of(segmenter))[0] == 1
        assert f"lane {lane} is held by another writer" in error_of(segmenter)
        await start_again([segmenter])
        await settled(plant, table, "segmenter fenced")


async def test_a_collector_that_finds_a_stranger_in_its_lane_ends_and_says_so(tmp_path: Path) -> None:
    async with running_plant(tmp_path, numbered(tmp_path, "shaken", rate_hz=20)) as plant:
        services = await start_all(plant)
        (lane,) = plant.lanes
        stranger = Traffic(boot="5712a63e", lane=lane, capture_ns=time.time_ns())

        async def is_in() -> bool:
            publisher = await plant.bus.publisher(lane, 1, after=None, window_blocks=1)
            block = replace(stranger.block(), after=publisher.acked)
            try:
                await publisher.publish(block)
                return await publisher.settle(timeout_s=1)
            except FencedError:
                return False
            finally:
                await publisher.close()

        await plant.until(is_in)
        collector = services[2]
        assert (await exit_of(collector))[0] == 1
        assert f"lane {lane} is held by another writer" in error_of(collector)
