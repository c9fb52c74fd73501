"""A SIGKILL at every system call that changes the disk, of a seal, a commit and a spool: the next start puts it right."""

from pathlib import Path
from random import Random

import pytest

from tests.faults.mode import Runs
from tests.faults.disk.sealing import sealing
from tests.faults.disk.strace import Point, traced
from tests.faults.table import FaultTable

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
        points = chosen(points, runs, seed, bounded=6)
        for number, point in enumerate(points, start=1):
            print(point)
            await lane.renew(tmp_path / f"data-{number}")
            assert await lane.run(process, point) == SIGKILLED, point
            recoveries.append(await lane.recover(process))
            await lane.judge()
    table.add(fault="SIGKILL at every call of a seal", runs=len(points), recoveries_s=recoveries)
    assert len(points) >= 6
