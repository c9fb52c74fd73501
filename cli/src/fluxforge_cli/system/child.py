"""Children: one run of a service process, from its start to its last words."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.status import Status, status_from_json
from fluxforge_cli.system.plan import ServicePlan

_TAIL_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: exit code (negative: a signal), its final status if it said one, why if it said so."""

    code: int
    status: Status | None
    reason: str


class Child:
    """A running child. It drains when `drain` closes its stdin, and so does it if we are killed."""

    def __init__(self, process: Process, log: Path, log_start_bytes: int) -> None:
        self._process = process
        self._log = log
        self._log_start_bytes = log_start_bytes

    @classmethod
    async def start(cls, plan: ServicePlan, log: Path) -> "Child":
        """Start the process; its stderr goes to the end of the log file."""
        with log.open("ab") as stderr:
            start_bytes = stderr.tell()
            process = await asyncio.create_subprocess_exec(
                "nohup",  # a SIGHUP that comes before it listens must not end it
                sys.executable,
                "-P",  # modules of ours alone, not what lies in the working directory under the same name
                "-m",
                plan.module,
                *plan.arguments,
                stdin=PIPE,
                stdout=PIPE,
                stderr=stderr,
                env={**os.environ, **plan.variables},  # noqa: TID251 - a child inherits what we were given
                start_new_session=True,  # Ctrl-C reaches us alone: the order of the drain is ours
            )
        return cls(process, log, start_bytes)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def ended(self) -> Ended:
        """Wait for the end."""
        assert self._process.stdout is not None
        output = await self._process.stdout.read()
        code = await self._process.wait()
        return Ended(code, final_status(output), self._reason())

    def drain(self) -> None:
        """Ask it to finish what it has and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def reload(self) -> None:
        """Ask it to read its configuration again."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()

    def _reason(self) -> str:
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start_bytes, size - _TAIL_BYTES))
            return last_error(log.read())


def final_status(output: bytes) -> Status | None:
    """Return the status on the last line of a child's stdout, or None where it ended without one."""
    lines = output.strip().splitlines()
    try:
        return status_from_json(lines[-1]) if lines else None
    except ManifestError:
        return None


def last_error(log: bytes) -> str:
    """Return what the last error line of a log says, else its last line that is no event, else nothing."""
    lines = [line.strip() for line in log.decode(errors="replace").splitlines() if line.strip()]
    plain = ""
    for line in reversed(lines):
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            plain = plain or line
            continue
        if isinstance(event, dict) and event.get("level") in {"error", "critical"}:
            return str(event.get("error") or event.get("event"))
    return plain
