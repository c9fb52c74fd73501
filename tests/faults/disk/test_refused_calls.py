"""A disk that fails: fsync that reports an error once, and a disk that has no room, at every call that can meet it."""

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from fluxforge.adapters.local_store import LocalStore
from tests.faults.disk.committing import Committing
from tests.faults.disk.sealing import sealing
from tests.faults.disk.spooling import judge
from tests.faults.disk.strace import Point, Traced, traced
from tests.faults.disk.test_kill_points import chosen
from tests.faults.disk.volumes import fill, tmpfs
from tests.faults.mode import Runs
from tests.faults.table import FaultTable

pytestmark = pytest.mark.timeout(1800)
GROWING = ("write", "pwrite64", "openat", "mkdir", "link", "renameat2")


def errors(process: Traced) -> list[dict[str, str]]:
    """Return the error lines that subjects have logged."""
    lines = process.log.read_text().splitlines()
    parsed = [orjson.loads(line) for line in lines if line.startswith("{")]
    return [line for line in parsed if line.get("level") == "error"]


def tries(process: Traced) -> int:
    """Return how often the last run tried to bring to disk what its failed fsync was of, from that failure on."""
    (failed,) = process.failed_calls()
    path = failed.partition("<")[2].partition(">")[0]
    calls = process.fsyncs_from_failure()
    assert calls[0] == path
    return calls.count(path)


def fsyncs(points: list[Point]) -> list[Point]:
    return [point for point in points if point.syscall == "fsync"]


async def test_a_segmenter_whose_fsync_fails_ends_and_its_successor_seals_the_same(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    async with sealing(tmp_path) as lane, traced(tmp_path / "strace", "error=EIO") as process:
        data = tmp_path / "data-0"
        await lane.renew(data)
        await lane.recover(process)
        points = chosen(fsyncs(process.calls(data)), runs, seed, bounded=2)
        for number, point in enumerate(points, start=1):
            print(point)
            data = tmp_path / f"data-{number}"
            await lane.renew(data)
            told = len(errors(process))
            assert await lane.run(process, point) == 1, point
            (error,) = errors(process)[told:]
            assert error["kind"] == "DurabilityError", error
            assert tries(process) == 1, point
            recoveries.append(await lane.recover(process))
            await lane.judge()
    table.add(fault="fsync error in a seal", runs=len(points), recoveries_s=recoveries)
    assert points


async def test_a_worker_whose_fsync_fails_ends_and_its_successor_commits_the_same(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    folder = Committing(tmp_path)
    async with traced(tmp_path / "strace", "error=EIO") as process:
        data = tmp_path / "data-0"
        folder.renew(data)
        assert await process.run("commit", folder.config) == 0
        points = chosen(fsyncs(process.calls(data)), runs, seed, bounded=2)
        folder.judge(data)
        for number, point in enumerate(points, start=1):
            print(point)
            data = tmp_path / f"data-{number}"
            folder.renew(data)
            assert await process.run("commit", folder.config, point=point) == 1, point
            assert tries(process) == 1, point
            began = time.monotonic()
            assert await process.run("commit", folder.config) == 0, point
            recoveries.append(time.monotonic() - began)
            folder.judge(data)
    table.add(fault="fsync error in a commit", runs=len(points), recoveries_s=recoveries)
    assert points


async def test_a_spool_whose_fsync_fails_ends_its_process_and_keeps_what_append_returned_for(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    async with traced(tmp_path / "strace", "error=EIO") as process:
        assert await process.run("spool", tmp_path / "spool-0", tmp_path / "journal-0") == 0
        points = chosen(fsyncs(process.calls(tmp_path / "spool-0")), runs, seed, bounded=4)
        for number, point in enumerate(points, start=1):
            print(point)
            spool, journal = tmp_path / f"spool-{number}", tmp_path / f"journal-{number}"
            assert await process.run("spool", spool, journal, point=point) == 1, point
            assert tries(process) == 1, point
            judge(spool, journal)
    table.add(fault="fsync error in a spool", runs=len(points))
    assert points


async def test_a_segmenter_without_room_waits_and_goes_on_where_it_stood(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    recoveries = []
    async with sealing(tmp_path) as lane, traced(tmp_path / "strace", "error=ENOSPC", times=2) as process:
        data = tmp_path / "data-0"
        await lane.renew(data)
        await lane.recover(process)
        growing = [point for point in process.calls(data) if point.syscall in GROWING and point.thread == "disk"]
        points = chosen(growing, runs, seed, bounded=2)
        for number, point in enumerate(points, start=1):
            print(point)
            await lane.renew(tmp_path / f"data-{number}")
            recoveries.append(await lane.recover(process, point))
            assert process.failed_calls(), point
            await lane.judge()
    table.add(fault="no room at a call of a seal", runs=len(points), recoveries_s=recoveries)
    assert points


async def test_a_run_over_a_folder_without_room_says_so_and_the_next_one_does_the_rest(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    folder = Committing(tmp_path)
    async with traced(tmp_path / "strace", "error=ENOSPC", times=2) as process:
        data = tmp_path / "data-0"
        folder.renew(data)
        assert await process.run("commit", folder.config) == 0
        points = chosen([p for p in process.calls(data) if p.syscall in GROWING], runs, seed, bounded=2)
        folder.judge(data)
        for number, point in enumerate(points, start=1):
            print(point)
            data = tmp_path / f"data-{number}"
            folder.renew(data)
            assert await process.run("commit", folder.config, point=point) in (0, 1, 2), point
            assert process.failed_calls(), point
            assert await process.run("commit", folder.config) == 0, point
            folder.judge(data)
    table.add(fault="no room at a call of a commit", runs=len(points))
    assert points


async def test_a_spool_without_room_takes_nothing_of_a_call_and_all_of_it_later(
    tmp_path: Path, runs: Runs, seed: int, table: FaultTable
) -> None:
    async with traced(tmp_path / "strace", "error=ENOSPC", times=2) as process:
        assert await process.run("spool", tmp_path / "spool-0", tmp_path / "journal-0") == 0
        calls = process.calls(tmp_path / "spool-0")
        made = {point.where: point for point in reversed(calls) if point.syscall == "openat"}.values()
        growing = [point for point in calls if point.syscall == "write" or point in made]
        points = chosen(growing, runs, seed, bounded=4)
        for number, point in enumerate(points, start=1):
            print(point)
            spool, journal = tmp_path / f"spool-{number}", tmp_path / f"journal-{number}"
            assert await process.run("spool", spool, journal, point=point) == 0, point
            assert b"full" in journal.read_bytes(), point
            judge(spool, journal)
    table.add(fault="no room at a call of a spool", runs=len(points))
    assert points


async def test_a_full_disk_holds_no_half_segment_and_takes_the_rest_once_there_is_room(
    tmp_path: Path, table: FaultTable
) -> None:
    with tmpfs(tmp_path, size_mib=8) as disk:
        async with sealing(tmp_path) as lane, traced(tmp_path / "strace") as process:
            data = disk / "data"
            await lane.renew(data)
            LocalStore(data).probe()
            ballast = fill(disk)
            os_free = 300_000
            with ballast.open("r+b") as file:
                file.truncate(ballast.stat().st_size - os_free)
            await process.start("seal", lane.config)
            async with asyncio.timeout(60):
                while "operation.retried" not in process.log.read_text():
                    assert await process.poll() is None, process.log.read_text()
                    await asyncio.sleep(0.05)
            assert await process.poll() is None
            ready = data / "raw" / "ready"
            assert not list(ready.rglob("*.ndjson")) if ready.exists() else True
            began = time.monotonic()
            ballast.unlink()
            async with asyncio.timeout(60):
                while (await lane.state()).sealed_seq < 6:  # noqa: ASYNC110 - another process' doing
                    await asyncio.sleep(0.05)
            recovery_s = time.monotonic() - began
            await process.end_input()
            assert await process.ended() == 0
            await lane.judge()
    table.add(fault="disk full under a segmenter", runs=1, recoveries_s=[recovery_s])
