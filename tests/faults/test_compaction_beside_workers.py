"""Real workers that place parts, a real compactor that merges them, both killed at random, and a reader beside them."""

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.dataset import Datasets
from fluxforge.domain.journal import is_output
from fluxforge.domain.layout import Layout
from fluxforge.runtime.settings import load
from fluxforge_compactor.main import compactor_of
from fluxforge_compactor.settings import CompactorSettings
from tests.faults.table import FaultTable
from tests.integration.etl.test_cuts import Course, configured, rows_by_key, worked
from tests.unit.fluxforge_etl_worker.samples import options, placed_rows, sealed, stored, worker_on
from tests.unit.fluxforge_etl_worker.stories import long_story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LINES = 1_800
SEGMENTS = 200
KILLS_MIN = 5
_GONE = "no such file"
Key = tuple[Any, ...]


class Lane:
    """A lane cut into segments, and the keys of the trades of each."""

    def __init__(self, cuts: int, chance: random.Random) -> None:
        lines = long_story(LINES).lines
        self.segments = sealed(lines, sorted(chance.sample(range(1, len(lines)), cuts)))
        self.store = MemoryStore()
        self.keys: dict[str, set[Key]] = {}
        known: set[Key] = set()
        for segment in self.segments:
            stored(self.store, segment.body, segment.manifest)
            worker_on(self.store, options=options()).process(segment.manifest.lane, segment.manifest.name)
            standing = {
                (row["market"], row["boot"], row["seq"], row["idx"]) for row in placed_rows(self.store, "trades")
            }
            self.keys[segment.manifest.name] = standing - known
            known = standing
        self.all_keys = known

    def placed(self, base: Path) -> set[Key]:
        """Return the keys of the segments that are placed by now."""
        layout, found = Layout(), set[Key]()
        for segment in self.segments:
            if (base / layout.placed_key(segment.manifest.lane, segment.manifest.name)).exists():
                found |= self.keys[segment.manifest.name]
        return found


class Reader(threading.Thread):
    """Scans a glob for ever; every scan has each row once, and all rows of what was placed before."""

    def __init__(self, base: Path, lane: Lane) -> None:
        super().__init__()
        self.scans = self.overtaken = 0
        self.wrong: list[str] = []
        self._base = base
        self._lane = lane
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            before = self._lane.placed(self._base)
            if not before:
                time.sleep(0.01)
                continue
            try:
                found = self._scan()
            except duckdb.IOException as error:
                if _GONE in str(error).lower():
                    self.overtaken += 1
                else:
                    self.wrong.append(str(error))
                continue
            keys = set(found)
            if len(keys) != len(found) or not before <= keys or not keys <= self._lane.all_keys:
                self.wrong.append(f"{len(found)} rows, {len(keys)} keys, {len(before - keys)} missing")
            self.scans += 1

    def _scan(self) -> list[Key]:
        glob = str(self._base / "processed" / "ccxt" / "trades" / "**" / "*.parquet")
        with duckdb.connect() as database:
            return database.execute("SELECT market, boot, seq, idx FROM read_parquet(?)", [glob]).fetchall()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            self._ending.set()
            self.join()


async def compactor(config: Path) -> Process:
    command = (sys.executable, "-m", "fluxforge_compactor", "--config", str(config))
    return await create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)


def merges(base: Path) -> int:
    """Return how many merges were settled."""
    return sum(name.endswith(".settled.json") for _, _, files in os.walk(base / "journal") for name in files)


async def killed(config: Path, base: Path, chance: random.Random, working: "asyncio.Task[None]") -> None:
    """Run the compactor until it has merged something, if there is anything to merge, and kill it soon after."""
    process, before = await compactor(config), merges(base)
    try:
        async with asyncio.timeout(120):
            while merges(base) == before and not (working.done() and not left_to_merge(base)):
                assert process.returncode is None
                await asyncio.sleep(0.01)
        await asyncio.sleep(chance.uniform(0, 0.3))
    finally:
        process.kill()
        await process.wait()


def left_to_merge(base: Path) -> bool:
    """Return whether some partition holds more than one file."""
    return any(len(files) > 1 for _, _, files in os.walk(base / "processed"))


@pytest.mark.usefixtures("full_run")
async def test_workers_and_a_compactor_are_killed_and_every_scan_is_right(
    tmp_path: Path, seed: int, table: FaultTable
) -> None:
    chance, kills = random.Random(seed), 0
    lane = Lane(SEGMENTS - 1, chance)
    course = Course(0, workers=2, kills=6)
    config = configured(tmp_path, course)
    quick = {"compact_after": 1, "interval_seconds": 1, "grace_seconds": 1}
    away = {"servers": ["nats://127.0.0.1:1"]}  # what the bus would say is a hint
    config.write_text(
        config.read_text() + yaml.safe_dump({"compaction": quick, "telemetry": {"port": 0}, "nats": away})
    )
    for segment in lane.segments:
        stored(LocalStore(tmp_path, sync=False), segment.body, segment.manifest)
    reader = Reader(tmp_path, lane)
    with reader.going_on():
        working = asyncio.create_task(worked(config, course, chance, tmp_path))
        while not working.done():
            await killed(config, tmp_path, chance, working)
            kills += 1
        await working
    assert reader.wrong == []
    assert reader.scans >= kills >= KILLS_MIN
    assert merges(tmp_path) >= kills
    settings = load(config)
    own = CompactorSettings.of(settings)
    service, _ = compactor_of(settings, own)
    async with asyncio.timeout(120):
        while left_to_merge(tmp_path) or list((tmp_path / ".tmp").glob("merge_*")):  # until their grace is over
            for partition in service.partitions("processed"):
                service.compact(partition)
            await asyncio.sleep(0.1)
    assert any(is_output(name) for _, _, files in os.walk(tmp_path / "processed") for name in files)
    found = rows_by_key(LocalStore(tmp_path))
    assert found == rows_by_key(lane.store)
    datasets = Datasets.of(settings)
    for dataset in ("trades", "ticker", "books", "hf", "bars", "coverage"):
        assert list(datasets.verify(dataset, commits=LocalStore(tmp_path))) == []
    table.add(
        fault=f"SIGKILL of a compactor service and of workers that place {len(lane.segments)} segments beside it, "
        f"{merges(tmp_path)} merges; complete scans: {reader.scans}",
        runs=kills + course.kills,
    )
