"""System calls made to fail, one by one: what a subject calls on its data, and runs in which one call goes wrong."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import pytest

from tests.faults.disk.zygote import MARK, WHEN, Order

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 120.0
KILL = "signal=KILL"
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Point:
    """The `number`-th call of a system call by a thread. `where` is how the log of a whole run shows it."""

    thread: str
    syscall: str
    number: int
    where: str

    def __str__(self) -> str:
        return f"{self.thread} {self.syscall} #{self.number}: {self.where}"


def require_strace() -> None:
    """Skip the test where no process can be traced."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        pytest.skip("needs Linux and strace")


class Traced:
    """A zygote under strace. One subject runs at a time."""

    def __init__(self, process: Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._read = 0

    @property
    def log(self) -> Path:
        """What the subjects have written on their standard streams."""
        return self._folder / "subject.log"

    async def start(self, subject: str, *arguments: object, point: Point | None = None) -> int:
        """Start a subject; with a point, that call of it fails. Return its process id."""
        order = Order(
            subject,
            [str(argument) for argument in arguments],
            *((point.thread, point.syscall, point.number) if point else ()),
        )
        self._read = self._trace.stat().st_size if self._trace.exists() else 0
        return await self._ask("start", asdict(order))

    async def end_input(self) -> None:
        """Close the subject's standard input."""
        await self._ask("end_input", {})

    async def poll(self) -> int | None:
        """Return the subject's exit code, minus the signal that killed it, or None while it runs."""
        return await self._ask("poll", {})

    async def ended(self) -> int:
        """Wait for the subject's end; return its exit code, or minus the signal that killed it."""
        async with asyncio.timeout(PATIENCE_S):
            while (status := await self.poll()) is None:  # noqa: ASYNC110 - another process' end
                await asyncio.sleep(_POLL_S)
        return status

    async def run(self, subject: str, *arguments: object, point: Point | None = None) -> int:
        """Run a subject that ends by itself; return how it ended."""
        await self.start(subject, *arguments, point=point)
        return await self.ended()

    def calls(self, data: Path) -> list[Point]:
        """Return what the subject that ran last called on files below `data`, in order for each thread."""
        threads: dict[str, str] = {}
        numbers: Counter[tuple[str, str]] = Counter()
        found = []
        with self._trace.open(errors="replace") as trace:
            trace.seek(self._read)
            for line in trace:
                match = _LINE.match(line)
                if match is None:
                    continue
                tid, syscall, rest = match.groups()
                if MARK in rest:
                    threads[tid] = rest.partition(MARK)[2].partition('"')[0]
                elif tid in threads and syscall in WHEN:
                    numbers[tid, syscall] += 1
                    if str(data) in rest and (syscall != "openat" or "O_CREAT" in rest):
                        where = rest.partition(") ")[0].replace(str(data), "").strip()
                        found.append(Point(threads[tid], syscall, numbers[tid, syscall], where))
        return found

    def failed_calls(self) -> list[str]:
        """Return the calls that were made to fail since the last subject was started, as the log shows them."""
        with self._trace.open(errors="replace") as trace:
            trace.seek(self._read)
            return [line.strip() for line in trace if "(INJECTED)" in line and "access" not in line]

    def fsyncs_from_failure(self) -> list[str]:
        """Return the paths that the last subject tried to bring to disk, from the first that was made to fail on."""
        with self._trace.open(errors="replace") as trace:
            trace.seek(self._read)
            lines = [line for line in trace if re.search(r"fsync\(\d", line)]
        begin = next(number for number, line in enumerate(lines) if "(INJECTED)" in line)
        return [line.partition("<")[2].partition(">")[0] for line in lines[begin:]]

    @property
    def _trace(self) -> Path:
        return self._folder / "strace.log"

    async def _ask(self, op: str, message: dict[str, object]) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps({"op": op, **message}) + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            line = await self._process.stdout.readline()
        assert line, f"the zygote is gone: {self.log.read_text()[-2000:] if self.log.exists() else ''}"
        return orjson.loads(line)


@asynccontextmanager
async def traced(folder: Path, outcome: str = KILL, *, times: int = 1) -> AsyncIterator[Traced]:
    """Start a zygote under strace whose points have this outcome, such as `error=EIO`, `times` calls in a row."""
    require_strace()
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    command = ["strace", "-f", "-qq", "-y", "-o", str(folder / "strace.log"), "-e", f"trace=access,{','.join(WHEN)}"]
    for call, first in WHEN.items():
        command += ["-e", f"inject={call}:{outcome}:when={first}..{first + times - 1}"]
    command += [sys.executable, "-B", "-m", "tests.faults.disk.zygote", str(folder / "subject.log")]
    with (folder / "zygote.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=log, cwd=ROOT, start_new_session=True
        )
    try:
        yield Traced(process, folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
        if process.returncode is None:  # a subject that hangs keeps strace: its session is ours alone
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        assert process.stdout is not None
        await process.stdout.read()
        sys.stderr.write((folder / "zygote.log").read_text()[-4000:])
        log_path = folder / "subject.log"
        sys.stderr.write(log_path.read_text()[-4000:] if log_path.exists() else "")
