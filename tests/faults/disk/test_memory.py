"""Memory that runs out: a service that may not have more dies or fails, and its next life does all of the work."""

import asyncio
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults.disk.bus_disks import grows
from tests.faults.oracle import audit, judge
from tests.faults.plant import Plant, Service, numbered, running_plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("full_run")]

MORE_BYTES = 1 << 20
PEAK_S = 3.0
Ending = Callable[[Service], Awaitable[int]]


def address_space_bytes(pid: int) -> int:
    """Return how much address space a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def peak_bytes(pid: int) -> int:
    """Return the most memory a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


async def starve(service: Service) -> int:
    """Leave a service as much address space as it has and a little, until it ends; return its exit code."""
    limit = address_space_bytes(service.pid) + MORE_BYTES
    resource.prlimit(service.pid, resource.RLIMIT_AS, (limit, limit))
    assert service.process is not None
    try:
        async with asyncio.timeout(10):
            await service.process.communicate()
    except TimeoutError:  # it lives on what it has: then it is ended as the kernel ends what takes the most
        await service.kill()
    assert service.process.returncode is not None
    return service.process.returncode


async def kill_at_peak(service: Service) -> int:
    """Kill a service when its memory has not grown for a while, or just has again."""
    loop = asyncio.get_running_loop()
    peak, since = peak_bytes(service.pid), loop.time()
    begun = peak
    while loop.time() - since < PEAK_S:
        await asyncio.sleep(0.02)
        now = peak_bytes(service.pid)
        if now > peak and now > begun:
            break
        peak = max(peak, now)
    await service.kill()
    return -signal.SIGKILL


async def everything(plant: Plant) -> list[Service]:
    services = [plant.segmenter(), plant.collector("x"), plant.etl()]
    for service in services:
        await service.start()
    await plant.services["collector-x"].until_ready()
    await grows(plant)
    return services


@pytest.mark.parametrize("end", [starve, kill_at_peak], ids=["no more to be had", "killed at its peak"])
async def test_services_without_memory_recover(tmp_path: Path, table: FaultTable, end: Ending) -> None:
    if sys.platform != "linux":
        pytest.skip("needs Linux, for limits of other processes")
    recoveries = []
    base = tmp_path / "data"
    async with running_plant(base, numbered(base, "x", bulk_bytes=20_000)) as plant:
        plant.is_supervised = True
        for service in await everything(plant):
            code = await end(service)
            assert code != 0, service.tail()
            await service.start()
            await service.until_ready()
            recoveries.append(await grows(plant))
        await plant.drain()
        verdict = judge(plant)
        report = await audit(plant)
    table.judged(f"memory: {'no more to be had' if end is starve else 'killed at its peak'}", verdict, recoveries)
    assert verdict.is_explained, verdict
    assert report["balanced"], report["findings"]
