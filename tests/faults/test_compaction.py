"""Readers beside a compactor that is killed again and again, while parts come in: a scan is right, or it fails."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from fluxforge.dataset import Datasets
from fluxforge.domain.errors import FluxForgeError
from fluxforge.domain.journal import is_output
from fluxforge.runtime.journals import Journals
from tests.faults.mode import Runs
from tests.faults.table import FaultTable
from tests.unit.fluxforge_compactor.world import PARTITION, World, trades

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROWS = 20
PARTS_MAX = 10_000
_FAILURES = (FluxForgeError, duckdb.IOException, pl.exceptions.ComputeError, OSError)
_GONE = ("no such file", "does not exist")


def seqs_by_duckdb(world: World) -> Counter[int]:
    with duckdb.connect() as database:
        glob = world.folder / "out" / "processed" / "**" / "*.parquet"
        return Counter(seq for (seq,) in database.execute("SELECT seq FROM read_parquet(?)", [str(glob)]).fetchall())


def seqs_by_polars(world: World) -> Counter[int]:
    glob = world.folder / "out" / "processed" / "**" / "*.parquet"
    return Counter(pl.scan_parquet(str(glob), hive_partitioning=False).select("seq").collect()["seq"])


def seqs_by_pandas(world: World) -> Counter[int]:
    return Counter(pd.read_parquet(world.folder / "out" / "processed" / "ccxt" / "trades", columns=["seq"])["seq"])


def seqs_by_scan(world: World) -> Counter[int]:
    return Counter(Datasets.at(world.folder / "out").scan("trades", columns=["seq"]).collect()["seq"])


class Listing:
    """Lists the directory as often as it can: files never change, so that each is read but once."""

    __name__ = "seqs_by_listing"

    def __init__(self) -> None:
        self._known: dict[str, list[int]] = {}

    def merged(self) -> int:
        """Return how many files it has seen that others were merged into."""
        return sum(map(is_output, self._known))

    def __call__(self, world: World) -> Counter[int]:
        found: Counter[int] = Counter()
        for name in os.listdir(world.place):  # noqa: PTH208 - names, thousands of times a second
            if name not in self._known:
                self._known[name] = pq.ParquetFile(world.place / name).read(["seq"])["seq"].to_pylist()
            found.update(self._known[name])
        return found


LIBRARIES: list[Callable[[World], Counter[int]]] = [seqs_by_duckdb, seqs_by_polars, seqs_by_pandas, seqs_by_scan]


class Placing:
    """Adds parts as a worker does, from a thread of its own, until it is told to end."""

    def __init__(self, world: World) -> None:
        self.placed = 0
        """Parts 1 to this stand; the next one may."""
        self.begun = 0
        self._world = world
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ending.is_set() and self.placed < PARTS_MAX:
            self.begun += 1
            self._world.put(self.begun, trades(self.begun * ROWS, ROWS, step_s=0.01))
            self.placed += 1
            self._ending.wait(0.05)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ending.set()
            self._thread.join()


class Reading:
    """Scans for ever, each reader in a thread of its own; what a scan returns must be right."""

    def __init__(self, world: World, placing: Placing) -> None:
        self.scans: Counter[str] = Counter()
        self.overtaken: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._world = world
        self._placing = placing
        self._ending = threading.Event()
        self.listing = Listing()
        self._threads = [threading.Thread(target=self._run, args=(reader,)) for reader in (*LIBRARIES, self.listing)]

    def fewest(self) -> int:
        """Return how many scans the slowest of the libraries has completed."""
        return min(self.scans[reader.__name__.rpartition("_")[2]] for reader in LIBRARIES)

    def _run(self, reader: Callable[[World], Counter[int]]) -> None:
        name = reader.__name__.rpartition("_")[2]
        while not self._ending.is_set():
            before = self._placing.placed
            try:
                found = reader(self._world)
            except _FAILURES as error:
                if any(words in str(error).lower() for words in _GONE):
                    self.overtaken[name] += 1
                else:
                    self.wrong.append(f"{name}: {error!r}")
                continue
            self._judge(name, found, before, self._placing.begun)
            self.scans[name] += 1

    def _judge(self, name: str, found: Counter[int], before: int, after: int) -> None:
        """Every part that stood when the scan began is there once; of those that came meanwhile, all or nothing."""
        parts = Counter(seq // ROWS for seq in found)
        twice = [seq for seq, count in found.items() if count > 1]
        missing = [part for part in range(1, before + 1) if parts[part] != ROWS]
        halves = [part for part, rows in parts.items() if rows != ROWS or part > after]
        if twice or missing or halves:
            self.wrong.append(f"{name}: twice {twice[:5]}, missing parts {missing[:5]}, halves {halves[:5]}")

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            for thread in self._threads:
                thread.join()


async def compactor(folder: Path) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.faults.compacting", str(folder))
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def merged_once(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(120):
        while (await process.stdout.readline()) != b"merged\n":
            assert process.returncode is None


def an_hour_passes(world: World) -> None:
    """Make what a killed store was just writing so old that the next start knows that nobody writes it any more."""
    for path in (world.folder / "out" / ".tmp").iterdir():
        os.utime(path, (time.time() - 4000, time.time() - 4000))


def is_interrupted(world: World) -> bool:
    """Return whether a merge was begun and not finished."""
    claims = {entry.claim.token: entry for entry in Journals(world.output).entries(PARTITION)}
    begun = {path.name.rpartition(".")[2] for path in (world.folder / "out" / ".tmp").glob("merge_*")}
    return any(token not in claims or claims[token].settlement is None for token in begun)


async def test_readers_are_right_while_a_compactor_is_killed_and_parts_come_in(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    chance, kills = random.Random(seed), runs(bounded=3, full=100)
    world = World(tmp_path, "local")
    placing = Placing(world)
    reading = Reading(world, placing)
    recoveries, placed, interrupted = [], 0, 0
    with placing.going_on():
        while placing.placed < 3:  # noqa: ASYNC110 - another thread's work
            await asyncio.sleep(0.01)
        with reading.going_on():
            for _ in range(kills):
                began = time.monotonic()
                process = await compactor(tmp_path)
                await merged_once(process)
                recoveries.append(time.monotonic() - began)
                await asyncio.sleep(chance.uniform(0, 0.2))
                process.kill()
                await process.communicate()
                assert process.returncode == -signal.SIGKILL
                interrupted += is_interrupted(world)
                assert placing.placed > placed, "parts come in all the time"
                placed = placing.placed
                async with asyncio.timeout(120):
                    while reading.fewest() == 0:  # noqa: ASYNC110 - other threads' work
                        await asyncio.sleep(0.05)
            scans_beside_kills = reading.fewest()
    assert reading.wrong == []
    assert scans_beside_kills >= runs(bounded=1, full=kills // 4)
    merges = sum(entry.is_merged for entry in Journals(world.output).entries(PARTITION))
    assert merges >= kills
    assert reading.listing.merged() >= kills
    assert interrupted >= runs(bounded=0, full=1)
    an_hour_passes(world)
    for _ in range(2):
        world.compactor(grace_s=0).compact(PARTITION)
    world.check()
    assert list(Datasets.at(world.folder / "out").verify("trades")) == []
    assert len(world.names()) == 1
    assert world.leftovers() == []
    scans = ", ".join(f"{name} {count}" for name, count in sorted(reading.scans.items()))
    table.add(
        fault=f"SIGKILL of a compactor, {interrupted} amid one of {merges} merges, {placing.placed} parts coming in; "
        f"complete scans: {scans}",
        runs=kills,
        recoveries_s=recoveries,
    )
