"""Every service killed again and again at random moments of one running system: nothing lost, nothing twice."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.mode import Runs
from tests.faults.nemesis import Toll, kill_bus, kill_service
from tests.faults.oracle import Verdict, audit, judge
from tests.faults.plant import numbered, running_plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SYSTEMS = 2
"""Systems that run side by side in a full run: a kill waits for a start, not for the processor."""


async def test_killed_under_load(
    tmp_path: Path,
    runs: Runs,
    table: FaultTable,
    seed: int,
    is_full: bool,  # noqa: FBT001 - a fixture
) -> None:
    kills = {
        "segmenter": runs(bounded=4, full=500),
        "collector": runs(bounded=2, full=150),
        "etl_worker": runs(bounded=2, full=150),
        "nats-server": runs(bounded=1, full=150),
    }
    systems = SYSTEMS if is_full else 1
    results = await asyncio.gather(
        *(one_system(tmp_path / str(i), kills, random.Random(f"{seed}-{i}")) for i in range(systems)),
        return_exceptions=True,  # each comes to its own end
    )
    ends = [result for result in results if isinstance(result, End)]
    for name in kills:
        tolled = [end.tolls[name] for end in ends]
        # The steady collector is never killed: what its lane lacks was lost by somebody else.
        verdicts = [end.shaken if name == "collector" else end.steady for end in ends]
        table.add(
            fault=f"{name} SIGKILL under load ({sum(toll.after_ready for toll in tolled)} once it was ready)",
            runs=sum(toll.kills for toll in tolled),
            lost=sum(verdict.lost for verdict in verdicts),
            duplicated=sum(verdict.duplicated for verdict in verdicts),
            unexplained=sum(verdict.unexplained for verdict in verdicts),
            recoveries_s=[recovery for toll in tolled for recovery in toll.recoveries_s],
        )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    for end in ends:
        assert end.crashes == []
        assert end.report["balanced"], end.report["findings"][:20]
        assert end.steady.is_whole, end.steady
        assert end.shaken.is_explained, end.shaken


@dataclass(frozen=True, slots=True)
class End:
    """What was done to one system, by service, and how the lanes of its two collectors came out of it."""

    tolls: dict[str, Toll]
    crashes: list[str]
    report: dict[str, Any]
    steady: Verdict
    shaken: Verdict


async def one_system(base: Path, kills: dict[str, int], chance: random.Random) -> End:
    """Kill everything but one collector, until all that was captured is in Parquet."""
    async with running_plant(base, numbered(base, "steady", "shaken")) as plant:
        plant.is_supervised = True
        steady, shaken = plant.collector("steady"), plant.collector("shaken")
        segmenter, etl = plant.segmenter(), plant.etl()
        for service in (segmenter, steady, shaken, etl):
            await service.start()
        async with asyncio.TaskGroup() as tasks:
            tolls = {
                service.kind: tasks.create_task(kill_service(service, kills[service.kind], chance))
                for service in (segmenter, shaken, etl)
            }
            tolls["nats-server"] = tasks.create_task(kill_bus(plant, kills["nats-server"], chance, pause_s=(0.5, 8.0)))
        await plant.drain()
        return End(
            tolls={name: task.result() for name, task in tolls.items()},
            crashes=plant.crashes(),
            report=await audit(plant),
            steady=judge(plant, "steady"),
            shaken=judge(plant, "shaken"),
        )
