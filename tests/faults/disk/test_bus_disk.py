"""The bus' disk fails or has no room: its stream freezes, the lane's collector keeps what comes, nothing is lost."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.disk.bus_disks import begin, grows, plant_with, settle
from tests.faults.disk.strace import require_strace
from tests.faults.disk.volumes import ext4, fill
from tests.faults.nemesis import end_of
from tests.faults.plant import Plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("full_run")]

STILL_S = 1.0
BLOCKS = "jetstream/$G/streams/MD_ccxt_x_0of1_1/msgs/1.blk"
ERRORS = {
    "fsync fails": ("-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=30+"),
    "write fails": ("-e", "trace=write,pwrite64", "-e", "inject=write,pwrite64:error=EIO:when=30+"),
    "no room": ("-e", "trace=write,pwrite64", "-e", "inject=write,pwrite64:error=ENOSPC:when=30+"),
}


async def stands_still(plant: Plant) -> None:
    """Wait until the lane's stream has not grown for a while, though records come in all the time."""
    async with asyncio.timeout(60):
        while True:
            before = await end_of(plant, plant.lanes[0])
            await asyncio.sleep(STILL_S)
            if await end_of(plant, plant.lanes[0]) == before:
                return


@pytest.mark.parametrize("error", ERRORS)
async def test_a_stream_whose_file_fails_goes_on_after_the_servers_restart(
    tmp_path: Path, table: FaultTable, error: str
) -> None:
    require_strace()
    async with plant_with(tmp_path / "data", tmp_path / "bus") as (plant, bus, _):
        folder = tmp_path / "bus" / "nats"
        bus.server.inject = (*ERRORS[error], "-P", f"'{folder}/{BLOCKS}'")
        await bus.restart()
        await begin(plant)
        await stands_still(plant)
        assert "INJECTED" in (folder / "strace.log").read_text()
        bus.server.inject = ()
        await bus.restart()
        recovery_s = await grows(plant)
        await settle(plant, table, f"bus block file: {error}", [recovery_s])


async def test_a_bus_whose_disk_is_full_goes_on_once_there_is_room(tmp_path: Path, table: FaultTable) -> None:
    with ext4(tmp_path, "bus", size_mib=8192) as disk:
        async with plant_with(tmp_path / "data", disk.path, disk) as (plant, bus, _):
            await begin(plant)
            await grows(plant)
            ballast = fill(disk.path)
            await stands_still(plant)
            ballast.unlink()
            await bus.restart()
            recovery_s = await grows(plant)
            await settle(plant, table, "bus disk full", [recovery_s])
