"""A SIGKILL at every system call that changes the disk, of seal, commit and spool: the next start puts it right."""

import time
from pathlib import Path
from random import Random

import pytest

from tests.faults.disk.committing import Committing
from tests.faults.disk.sealing import sealing
from tests.faults.disk.spooling import judge
from tests.faults.disk.strace import Point, traced
from tests.faults.mode import Runs
from tests.faults.table import FaultTable
from tests.unit.fluxforge_compactor.world import World, trades

pytestmark = pytest.mark.timeout(1800)
SIGKILLED = -9


def chosen(points: list[Point], runs: Runs, seed: int, *, bounded: int) -> list[Point]:
    """Return all points, or a few drawn at random."""
    count = runs(bounded=bounded, full=len(points))
    return sorted(Random(seed).sample(points, min(count, len(points))), key=points.index)


async def test_a_segmenter_killed_at_any_call_of_a_seal(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    async with sealing(tmp_path) as lane, traced(tmp_path / "strace") as process:
        data = tmp_path / "data-0"
        await lane.renew(data)
        await lane.recover(process)
        points = process.calls(data)
        assert len(await lane.judge()) == 2
        points = chosen(points, runs, seed, bounded=4)
        for number, point in enumerate(points, start=1):
            print(point)
            await lane.renew(tmp_path / f"data-{number}")
            assert await lane.run(process, point) == SIGKILLED, point
            recoveries.append(await lane.recover(process))
            await lane.judge()
    table.add(fault="SIGKILL at every call of a seal", runs=len(points), recoveries_s=recoveries)
    assert len(points) >= 4


async def test_a_worker_killed_at_any_call_of_a_commit(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    folder = Committing(tmp_path)
    async with traced(tmp_path / "strace") as process:
        data = tmp_path / "data-0"
        folder.renew(data)
        assert await process.run("commit", folder.config) == 0
        points = chosen(process.calls(data), runs, seed, bounded=4)
        folder.judge(data)
        for number, point in enumerate(points, start=1):
            print(point)
            data = tmp_path / f"data-{number}"
            folder.renew(data)
            assert await process.run("commit", folder.config, point=point) == SIGKILLED, point
            began = time.monotonic()
            assert await process.run("commit", folder.config) == 0, point
            recoveries.append(time.monotonic() - began)
            folder.judge(data)
    table.add(fault="SIGKILL at every call of a commit", runs=len(points), recoveries_s=recoveries)
    assert len(points) >= 4


async def test_a_compactor_killed_at_any_call_of_a_merge(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    def renewed(folder: Path) -> World:
        world = World(folder, "local")
        for number in range(1, 5):
            world.put(number, trades(number * 50, 50))
        return world

    recoveries = []
    async with traced(tmp_path / "strace") as process:
        world = renewed(tmp_path / "world-0")
        assert await process.run("compact", world.folder) == 0
        points = chosen(process.calls(world.folder), runs, seed, bounded=4)
        world.check()
        for number, point in enumerate(points, start=1):
            print(point)
            world = renewed(tmp_path / f"world-{number}")
            assert await process.run("compact", world.folder, point=point) == SIGKILLED, point
            world.check()
            began = time.monotonic()
            assert await process.run("compact", world.folder) == 0, point
            recoveries.append(time.monotonic() - began)
            world.check()
            assert len(world.names()) == 1
            # What a store was just writing is swept by its next start that finds it an hour old.
            assert [path for path in world.leftovers() if "merge_" in path] == []
    table.add(fault="SIGKILL at every call of a merge", runs=len(points), recoveries_s=recoveries)
    assert len(points) >= 4


async def test_a_spool_killed_at_any_call_holds_what_append_returned_for(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    async with traced(tmp_path / "strace") as process:
        assert await process.run("spool", tmp_path / "spool-0", tmp_path / "journal-0") == 0
        points = chosen(process.calls(tmp_path / "spool-0"), runs, seed, bounded=10)
        judge(tmp_path / "spool-0", tmp_path / "journal-0")
        for number, point in enumerate(points, start=1):
            print(point)
            spool, journal = tmp_path / f"spool-{number}", tmp_path / f"journal-{number}"
            assert await process.run("spool", spool, journal, point=point) == SIGKILLED, point
            judge(spool, journal)
    table.add(fault="SIGKILL at every call of a spool", runs=len(points))
    assert len(points) >= 10
