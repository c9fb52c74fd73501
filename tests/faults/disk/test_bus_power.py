"""The bus loses its power under load: with every write synced it forgets nothing; else what it forgot is named."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.disk.bus_disks import begin, grows, pauses_s, plant_with, settle
from tests.faults.disk.volumes import ext4
from tests.faults.mode import Runs
from tests.faults.oracle import audit, judge
from tests.faults.table import FaultTable

UNSYNCED = {
    "nats": {"unsafe_durability": True, "bus_grace_seconds": 600, "lease_ttl_seconds": 2},
    "ingestion": {"segment_max_mb": 100, "segment_max_age_seconds": 5},
}
"""What is acknowledged stays on the bus alone for a while, where it can be forgotten."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


async def test_a_bus_that_syncs_every_write_keeps_what_it_acknowledged(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    with ext4(tmp_path, "bus", size_mib=8192) as disk:
        async with plant_with(tmp_path / "data", disk.path, disk) as (plant, bus, options):
            await begin(plant)
            for pause_s in pauses_s(seed, runs(bounded=1, full=25)):
                await asyncio.sleep(pause_s)
                await bus.lose_power(options)
                recoveries.append(await grows(plant))
            await settle(plant, table, "bus power cut, every write synced", recoveries)


@pytest.mark.usefixtures("full_run")
@pytest.mark.parametrize("is_fresh", [True, False], ids=["all forgotten", "seqs used again"])
async def test_what_a_bus_forgot_that_does_not_sync_is_named(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable, *, is_fresh: bool
) -> None:
    recoveries = []
    with ext4(tmp_path, "bus", size_mib=8192) as disk:
        async with plant_with(tmp_path / "data", disk.path, disk, sync_always=False, **UNSYNCED) as running:
            plant, bus, options = running
            await begin(plant)
            for pause_s in pauses_s(seed, runs(bounded=1, full=10)):
                if not is_fresh:
                    await grows(plant)
                    await asyncio.to_thread(disk.sync)
                await grows(plant)
                await asyncio.sleep(pause_s)
                await bus.lose_power(options)
                recoveries.append(await grows(plant))
            await plant.drain()
            verdict = judge(plant)
            report = await audit(plant)
    table.judged(
        f"bus power cut, not synced: {'all forgotten' if is_fresh else 'seqs used again'}", verdict, recoveries
    )
    assert verdict.lost, "nothing was lost: the cut forgot nothing"
    assert verdict.is_explained, verdict
    assert report["balanced"], report["findings"]
