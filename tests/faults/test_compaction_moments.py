"""A compactor that is stopped or killed at a known moment of a merge: rows stay whole, and nothing is left over."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fluxforge.adapters import local_partitions
from fluxforge.domain.journal import is_output
from fluxforge.runtime.journals import Journals
from tests.faults.mode import Runs
from tests.faults.table import FaultTable
from tests.unit.fluxforge_compactor.world import (
    GRACE_S,
    KINDS,
    PARTITION,
    S_NS,
    Points,
    World,
    trades,
    watched_exchange,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def filled(folder: Path, kind: str) -> World:
    world = World(folder, kind)
    for number in range(1, 5):
        world.put(number, trades(number * 50, 50))
    return world


def moments(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many points a merge passes."""
    points = Points()
    with monkeypatch.context() as patched:
        patched.setattr(local_partitions, "exchange", watched_exchange(points))
        filled(folder, kind).compactor(points).compact(PARTITION)
    assert any("exchange" in name or "adopt" in name for name in points.passed)
    return len(points.passed)


def chosen(count: int, runs: Runs, seed: int) -> list[int]:
    """Return points: all of them, or a few drawn at random."""
    return sorted(random.Random(seed).sample(range(1, count + 1), runs(bounded=min(3, count), full=count)))


def begun(world: World, number: signal.Signals, at: int) -> "subprocess.Popen[bytes]":
    """Start a compactor that gets a signal at a point, and return when it has reached it."""
    arguments = (str(world.folder), world.kind, str(int(number)), str(at))
    command = (sys.executable, "-m", "tests.faults.compacting", *arguments)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    print(process.stdout.readline())
    return process


def is_stopped(process: "subprocess.Popen[bytes]") -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def settled(world: World) -> None:
    """Let a claim and the graces of two merges run out, and see that one file is left, and nothing else."""
    for _ in range(4):
        world.compactor().compact(PARTITION)
        world.check()
        world.clock.advance(1000 * S_NS)
    assert len(world.names()) == len(list(world.place.iterdir())) == 1
    assert world.leftovers() == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_stopped_while_another_works_and_then_goes_on(
    tmp_path: Path, kind: str, runs: Runs, seed: int, table: FaultTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk the other is kept out by a lock; another machine overtakes it, and it loses its work."""
    points = chosen(moments(tmp_path / "moments", kind, monkeypatch), runs, seed)
    for at in points:
        world = filled(tmp_path / str(at), kind)
        process = begun(world, signal.SIGSTOP, at)
        try:
            while not is_stopped(process):
                time.sleep(0.01)
            world.check()
            if kind == "stored":
                world.clock.advance(1000 * S_NS)
            other = world.compactor(scratch="elsewhere").compact(PARTITION)
            world.check()
            assert other.busy or kind == "stored"
            # A worker waits where the stopped one has the directory; its part stands in the end.
            placing = threading.Thread(target=world.put, args=(9, trades(1000, 10)))
            placing.start()
        finally:
            process.send_signal(signal.SIGCONT)
            process.communicate(timeout=60)
        placing.join()
        assert process.returncode == 0
        world.check()
        settled(world)
    table.add(fault=f"SIGSTOP of a compactor while another works ({kind})", runs=len(points))


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_kill_and_a_restart_only_what_the_journal_names_is_left_and_after_the_grace_nothing(
    tmp_path: Path, kind: str, runs: Runs, seed: int, table: FaultTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = chosen(moments(tmp_path / "moments", kind, monkeypatch), runs, seed + 1)
    for at in points:
        world = filled(tmp_path / str(at), kind)
        process = begun(world, signal.SIGKILL, at)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        world.check()
        world.clock.advance((GRACE_S // 2) * S_NS)
        world.compactor().compact(PARTITION)
        world.check()
        claims = [entry.claim for entry in Journals(world.output).entries(PARTITION)]
        hidden = [*(world.folder / "out" / ".tmp").iterdir(), *(world.folder / "scratch").glob("merge/*.*")]
        tokens = {path.name.rpartition(".")[2] for path in hidden if not path.name.endswith(".lock")}
        assert tokens <= {claim.token for claim in claims}
        outputs = {path.name for path in world.place.iterdir() if is_output(path.name)}
        assert outputs <= {file.name for claim in claims for file in claim.outputs}
        settled(world)
    table.add(fault=f"SIGKILL of a compactor at a point of a merge ({kind})", runs=len(points))
