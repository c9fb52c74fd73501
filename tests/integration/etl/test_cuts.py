"""One lane, cut in many ways, worked on by several processes in any order that are killed at any moment: the same rows.

A worker here is a process of its own that takes the segments in an order of its own. Whatever is killed begins again,
until each has come to its end.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process, create_subprocess_exec
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.runtime.settings import load
from fluxforge_etl_worker.folder import run_folder
from tests.unit.fluxforge_etl_worker.samples import options, placed_rows, sealed, stored, worker_on
from tests.unit.fluxforge_etl_worker.stories import DATASETS, compare, lane_of, long_story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
LINES = 1_800
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Course:
    """How one run goes. `cuts`: how many at random places, or one before every so many records."""

    cuts: int
    workers: int
    kills: int
    every: bool = False
    deletes: bool = False

    def __str__(self) -> str:
        places = f"cut every {self.cuts} records" if self.every else f"{self.cuts} cuts"
        return f"{places}, {self.workers} workers, {self.kills} kills{', raw deleted' if self.deletes else ''}"

    def places(self, lines: int) -> list[int]:
        if self.every:
            return list(range(self.cuts, lines, self.cuts))
        return Random(str(self)).sample(range(1, lines), self.cuts)


COURSES = (
    Course(1, workers=1, kills=2),
    Course(1, workers=4, kills=2, deletes=True),
    Course(7, workers=2, kills=3, deletes=True),
    Course(50, workers=1, kills=3, deletes=True),
    Course(50, workers=4, kills=5),
    Course(100, workers=2, kills=4, every=True, deletes=True),
    Course(100, workers=4, kills=4, every=True),
)


BOUNDED = COURSES[2:3] + COURSES[5:6]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "course" in metafunc.fixturenames:
        is_full = metafunc.config.getoption("--faults") == "full"
        metafunc.parametrize("course", COURSES if is_full else BOUNDED, ids=str)


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return long_story(LINES).lines


@pytest.fixture(scope="module")
def whole(lines: list[bytes]) -> Rows:
    """The rows of the lane as one segment, which are those the oracle demands."""
    store = MemoryStore()
    (segment,) = sealed(lines)
    stored(store, segment.body, segment.manifest)
    worker_on(store, options=options()).process(segment.manifest.lane, segment.manifest.name)
    compare(lambda dataset: placed_rows(store, dataset), lane_of(long_story(LINES).recording.records, options()))
    rows = rows_by_key(store)
    assert all(len(found) > 20 for found in rows.values())
    assert any(row["resent"] for row in rows["trades"])
    assert {row["book_state"] for row in rows["orderbook/hf"]} == {"synced", "stale", "suspect"}
    return rows


async def test_the_rows_are_those_of_the_whole_lane(
    lines: list[bytes], whole: Rows, tmp_path: Path, course: Course
) -> None:
    store = LocalStore(tmp_path, sync=False)
    segments = sealed(lines, course.places(len(lines)))
    for segment in segments:
        stored(store, segment.body, segment.manifest)
    config = configured(tmp_path, course)
    async with asyncio.timeout(PATIENCE_S):
        await worked(config, course, Random(str(course)), tmp_path)
    summary = run_folder(load(config))
    assert (summary.segments, summary.done_before, summary.dead) == (len(segments), len(segments), ())
    assert not list((tmp_path / "tails").rglob("*.dead"))
    assert len(list((tmp_path / "raw").rglob("*.ndjson"))) == (0 if course.deletes else len(segments))
    found = rows_by_key(store)
    for dataset, rows in whole.items():
        assert found[dataset] == rows, f"{dataset}: other rows, or other bits in them"


def configured(base: Path, course: Course) -> Path:
    store = {"backend": "local", "base_dir": str(base)}
    tree = {
        "storage": {"scratch_dir": str(base), "etl_storage_input": store, "etl_storage_output": store},
        "etl": {"delete_after_processing": course.deletes},
        "ccxt": {"exchanges": {}},
    }
    path = base / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


async def worked(config: Path, course: Course, random: Random, base: Path) -> None:
    """Run the workers to their end, and kill one of them when as much more as chosen has been written."""
    running = [await started(config, random) for _ in range(course.workers)]
    kills = course.kills
    while running:
        before, more = written(base), random.randint(1, 12)
        while written(base) < before + more and all(worker.returncode is None for worker in running):  # noqa: ASYNC110 - files
            await asyncio.sleep(random.uniform(0.001, 0.02))
        for worker in [worker for worker in running if worker.returncode is not None]:
            _, log = await worker.communicate()
            assert worker.returncode == 0, log.decode()
            running.remove(worker)
        if kills and running:
            victim = running.pop(random.randrange(len(running)))
            if victim.returncode is None:
                victim.kill()
            await victim.communicate()
            kills -= 1
            running.append(await started(config, random))


async def started(config: Path, random: Random) -> Process:
    command = [sys.executable, "-m", "tests.integration.etl.shuffled", str(config), str(random.random())]
    return await create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, cwd=ROOT)


def written(base: Path) -> int:
    """Return how much the workers have written: attempts, sidecars, commits, parts, and what they removed."""
    folders = (base / name for name in ("processed", "commits", "tails", ".tmp"))
    # Not `rglob`, which fails where a worker removes what is being listed.
    return sum(len(directories) + len(files) for folder in folders for _, directories, files in os.walk(folder))


def rows_by_key(store: LocalStore | MemoryStore) -> Rows:
    found = {}
    for dataset, (_, keys) in DATASETS.items():
        rows = placed_rows(store, dataset)
        found[dataset] = sorted(rows, key=lambda row: [str(row[key]) for key in keys])
    return found
