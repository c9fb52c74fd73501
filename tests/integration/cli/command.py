"""The `fluxforge` command as a person starts it: a process of its own, with its output and exit code."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

FLUXFORGE = Path(sys.executable).parent / "fluxforge"
PATIENCE_S = 150.0


class Command:
    """A running command; `lines` is what it has printed so far."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def until(self, pattern: str) -> str:
        """Return the first line from here on in which a regular expression is found."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self._process.stdout.readline()).decode():
                self.lines.append(line.rstrip("\n"))
                if re.search(pattern, line):
                    return line
        raise AssertionError(f"it ended without saying {pattern!r}:\n" + "\n".join(self.lines))

    async def end(self) -> int:
        """Wait for the end; return the exit code."""
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await self._process.communicate()
        self.lines += output.decode().splitlines()
        assert self._process.returncode is not None
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    @property
    def text(self) -> str:
        """All that it printed."""
        return "\n".join(self.lines)


@asynccontextmanager
async def started(*arguments: object, cwd: Path, stdin: int | None = None, **variables: str) -> AsyncIterator[Command]:
    """Start the command in a directory, on `stdin` or ours; one that still runs at the end is killed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLUXFORGE__")}
    process = await asyncio.create_subprocess_exec(
        FLUXFORGE,
        *map(str, arguments),
        cwd=cwd,
        env={**environment, **variables},
        stdin=stdin,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(*arguments: object, cwd: Path, **variables: str) -> tuple[int, str]:
    """Run the command to its end; return exit code and output."""
    async with started(*arguments, cwd=cwd, **variables) as command:
        code = await command.end()
        return code, command.text


def names_in(directory: Path) -> list[str]:
    """Return the names of what stands in a directory."""
    return sorted(entry.name for entry in directory.iterdir())
