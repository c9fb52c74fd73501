"""A power cut before every system call of a seal, a commit and a spool: what was not synced is gone, nothing else.

The bus stands on another disk, so that after the next start everything must be there.
"""

import shutil
import time
from pathlib import Path

import pytest

from fluxforge.adapters.local_store import LocalStore
from tests.faults.disk.committing import Committing, rows_of
from tests.faults.disk.sealing import sealing
from tests.faults.disk.spooling import judge
from tests.faults.disk.strace import require_strace, traced
from tests.faults.disk.test_kill_points import SIGKILLED, chosen
from tests.faults.disk.volumes import ext4
from tests.faults.mode import Runs
from tests.faults.table import FaultTable
from tests.traffic import audit

pytestmark = pytest.mark.timeout(1800)


async def test_the_power_fails_before_any_call_of_a_seal(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    require_strace()
    with ext4(tmp_path) as disk:
        async with sealing(tmp_path) as lane, traced(tmp_path / "strace") as process:
            data = disk.path / "data-0"
            await lane.renew(data)
            await lane.recover(process)
            points = chosen(process.calls(data), runs, seed, bounded=2)
            disk.cut_power()
            disk.come_back()
            audit(data, lane.blocks)
            for number, point in enumerate(points, start=1):
                print(point)
                shutil.rmtree(data)
                data = disk.path / f"data-{number}"
                await lane.renew(data)
                assert await lane.run(process, point) == SIGKILLED, point
                disk.cut_power()
                disk.come_back()
                recoveries.append(await lane.recover(process))
                await lane.judge()
                disk.cut_power()
                disk.come_back()
                audit(data, lane.blocks)
    table.add(fault="power cut at every call of a seal", runs=len(points), recoveries_s=recoveries)
    assert len(points) >= 2


async def test_the_power_fails_before_any_call_of_a_commit(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    require_strace()
    folder = Committing(tmp_path)
    with ext4(tmp_path) as disk:
        async with traced(tmp_path / "strace") as process:
            data = disk.path / "data-0"
            folder.renew(data)
            assert await process.run("commit", folder.config) == 0
            points = chosen(process.calls(data), runs, seed, bounded=2)
            disk.cut_power()
            disk.come_back()
            folder.judge(data)
            for number, point in enumerate(points, start=1):
                print(point)
                shutil.rmtree(data)
                data = disk.path / f"data-{number}"
                folder.renew(data)
                assert await process.run("commit", folder.config, point=point) == SIGKILLED, point
                disk.cut_power()
                disk.come_back()
                began = time.monotonic()
                assert await process.run("commit", folder.config) == 0, point
                recoveries.append(time.monotonic() - began)
                folder.judge(data)
                disk.cut_power()
                disk.come_back()
                assert rows_of(LocalStore(data)) == folder.wanted
    table.add(fault="power cut at every call of a commit", runs=len(points), recoveries_s=recoveries)
    assert len(points) >= 2


async def test_the_power_fails_before_any_call_of_a_spool(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    require_strace()
    with ext4(tmp_path) as disk:
        async with traced(tmp_path / "strace") as process:
            assert await process.run("spool", disk.path / "spool-0", tmp_path / "journal-0") == 0
            points = chosen(process.calls(disk.path / "spool-0"), runs, seed, bounded=6)
            for number, point in enumerate(points, start=1):
                print(point)
                spool, journal = disk.path / f"spool-{number}", tmp_path / f"journal-{number}"
                assert await process.run("spool", spool, journal, point=point) == SIGKILLED, point
                disk.cut_power()
                disk.come_back()
                judge(spool, journal)
    table.add(fault="power cut at every call of a spool", runs=len(points))
    assert len(points) >= 6
