"""Wall clocks that are set back and forward by an hour while all services run: order, leases and counts stand."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.faketime import clock_library
from tests.faults.disk.bus_disks import grows
from tests.faults.oracle import audit, judge
from tests.faults.plant import Plant, numbered, running_plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("full_run")]

STEPS_S = (-3600, 0, 3600, 0)
"""How far the wall clock is off, one after the other: set back, forward, forward, back."""


def clock_of(offset: Path) -> dict[str, str]:
    """Return the environment of a process whose wall clock is off by what a file says, or skip the test."""
    return {
        "LD_PRELOAD": str(clock_library()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def put(offset: Path, seconds: int) -> None:
    """Set the clocks; whoever reads the file meanwhile finds the old value or the new one."""
    new = offset.with_suffix(".new")
    new.write_text(f"{seconds:+d}")
    new.replace(offset)


def records(plant: Plant) -> list[dict[str, Any]]:
    """Return what was sealed, in order."""
    lane = plant.lanes[0]
    folder = plant.base / "raw" / "ready" / lane.folder
    return [orjson.loads(line) for m in plant.manifests() for line in (folder / m.file).read_bytes().splitlines()]


async def test_clocks_that_are_set_while_everything_runs(tmp_path: Path, table: FaultTable) -> None:
    offset = tmp_path / "offset"
    environment = clock_of(offset)
    put(offset, 0)
    recoveries = []
    keep = {"etl": {"delete_after_processing": False}}
    async with running_plant(tmp_path / "data", numbered(tmp_path / "data", "x"), **keep) as plant:
        services = [
            plant.segmenter(**environment),
            plant.collector("x", **environment),
            plant.etl(**environment),
        ]
        for service in services:
            await service.start()
        await plant.services["collector-x"].until_ready()
        await grows(plant)
        owner = (await plant.bus.states.get(plant.lanes[0])).state.owner
        for number, seconds in enumerate(STEPS_S, start=1):
            put(offset, seconds)

            async def is_noticed(number: int = number) -> bool:
                return plant.services["collector-x"].log_path.read_bytes().count(b'"clock.stepped"') >= number

            recoveries.append(await plant.until(is_noticed) + await grows(plant))
        assert (await plant.bus.states.get(plant.lanes[0])).state.owner == owner
        assert [service.lives for service in services] == [1, 1, 1]
        await plant.drain()
        verdict = judge(plant)
        report = await audit(plant)
        found = records(plant)
        assert plant.crashes() == []
    table.judged("wall clock set by an hour", verdict, recoveries)
    assert verdict.is_whole, verdict
    assert report["balanced"], report["findings"]
    assert all(later["capture_ns"] > earlier["capture_ns"] for earlier, later in pairwise(found))
    steps = [
        record["data"] for record in found if record["channel"] == "control" and record["data"]["event"] == "clock_step"
    ]
    assert [step["reason"] for step in steps] == ["backward", "forward", "forward", "backward"]
    wanted = [later - earlier for earlier, later in pairwise((0, *STEPS_S))]
    for step, seconds in zip(steps, wanted, strict=True):
        assert abs(step["detail"]["step_ns"] - seconds * 10**9) < 10**9
