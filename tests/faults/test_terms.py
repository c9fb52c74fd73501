"""Every service told to end again and again under load: it leaves in time and in order, and nothing is lost."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.faults.mode import Runs
from tests.faults.oracle import drained, judge
from tests.faults.plant import Service, numbered, running_plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EXIT_S = 10.0
"""What follows SIGTERM in a container after this time is SIGKILL."""


async def test_terminated_under_load_it_leaves_in_order(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    cycles = runs(bounded=1, full=100)
    # A worker has seconds between two ends: with a segment each second it would only fall behind.
    segments = {"segment_max_age_seconds": 5}
    async with running_plant(tmp_path, numbered(tmp_path, "steady", "shaken"), ingestion=segments) as plant:
        # One after the other where all are young; each as often as the others.
        services = [plant.segmenter(), plant.etl(), plant.collector("shaken")]
        for service in (*services, plant.collector("steady")):
            await service.start()
        async with asyncio.TaskGroup() as tasks:
            exits = {
                service.kind: tasks.create_task(terminate(service, cycles, random.Random(f"{seed}-{service.name}")))
                for service in services
            }
        await drained(plant)
        verdict = judge(plant)
    for kind, task in exits.items():
        exits_s = task.result()
        table.judged(f"{kind} SIGTERM under load (time: until it has left)", verdict, exits_s)
        assert max(exits_s) < EXIT_S, (kind, exits_s)
    assert verdict.is_whole, verdict


async def terminate(service: Service, cycles: int, chance: random.Random) -> list[float]:
    """End a service so many times by SIGTERM; return how long each end took. It is left running."""
    exits_s = []
    for _ in range(cycles):
        await service.until_ready()
        await asyncio.sleep(chance.uniform(0.005, 1.5))
        begin = time.monotonic()
        await service.stop(patience_s=60)
        exits_s.append(time.monotonic() - begin)
        await service.start()
    return exits_s
