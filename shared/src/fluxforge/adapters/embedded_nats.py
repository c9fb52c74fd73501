"""A nats-server of our own: one per data directory, on free ports of the loopback, syncing every write.

It ends with `stop`. After a kill -9 of its owner it lives on and the next owner adopts it, provided it runs the same
version with the same configuration; else it is stopped first. Two locks keep this exact: one is held by the owner,
the other is inherited by the server process, so neither a reused pid nor a second owner is ever mistaken.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final, TypeVar

import orjson

from fluxforge.adapters import nats_process
from fluxforge.domain.errors import FatalError, UsageError

_POLL_S: Final = 0.02
_START_S: Final = 60.0  # a big store is read through before the server listens
_TERM_S: Final = 10.0
_KILL_S: Final = 10.0
_LOG_TAIL_BYTES: Final = 2000

_T = TypeVar("_T")


class EmbeddedNats:
    """Starts, adopts and stops the server of one data directory; its streams stand under `data_dir/jetstream`."""

    def __init__(self, data_dir: Path, max_payload: int, *, sync_always: bool = True) -> None:
        """Take the directory (made by `start`) and the largest payload; `sync_always` False is for measurements."""
        self._dir = data_dir.absolute()
        self._max_payload = max_payload
        self._sync_always = sync_always
        self._owner_lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None
        self._monitor_url: str | None = None

    @property
    def url(self) -> str:
        """Where clients connect; known once started."""
        return _known(self._url)

    @property
    def monitor_url(self) -> str:
        """Where the server's monitoring answers; known once started."""
        return _known(self._monitor_url)

    @property
    def pid(self) -> int:
        """The process id of the server; known once started."""
        return _known(self._read_pid())

    @property
    def alive(self) -> bool:
        """Whether a server process holds the data directory now."""
        if self._process is not None:
            self._process.poll()
        return nats_process.is_running(self._dir)

    async def start(self) -> str:
        """Adopt the server that runs on the directory or start one; return its url.

        A server that died comes back on the port it had, so that its clients find it again.

        Raises:
            UsageError: Another FluxForge uses the directory, or something else holds it.
            ConfigurationError: There is no `nats-server` to run.
            FatalError: The server did not come up; the message holds the end of its log.
        """
        program = nats_process.executable()
        self._dir.mkdir(parents=True, exist_ok=True)
        self._take_owner_lock()
        try:
            name = self._server_name(await asyncio.to_thread(nats_process.version, program))
            if not (self.alive and await self._adopt(name)):
                await self._end_server()
                lock = await nats_process.take_lock(self._dir)
                await self._await_ready(self._spawn(program, name, lock))
        except BaseException:
            self._drop_owner_lock()
            raise
        return self.url

    async def stop(self) -> None:
        """Stop the server in order and give the directory back; repeating it is no error."""
        if self._owner_lock is None:
            return
        try:
            await self._end_server()
        finally:
            self._drop_owner_lock()

    def _config(self, name: str, port: int) -> str:
        sync = "always" if self._sync_always else "2m"
        quoted = {key: _quote(str(self._dir / key)) for key in ("", nats_process.PID_FILE)}
        return (
            f"server_name: {_quote(name)}\n"
            f'listen: "127.0.0.1:{port}"\n'
            'http: "127.0.0.1:-1"\n'
            f"max_payload: {self._max_payload}\n"
            f"pid_file: {quoted[nats_process.PID_FILE]}\n"
            f"ports_file_dir: {quoted['']}\n"
            "feature_flags { js_ack_fc_v2: false }\n"
            f"jetstream {{ store_dir: {quoted['']}, sync_interval: {sync} }}\n"
        )

    def _server_name(self, version: str) -> str:
        identity = f"{version}\n{self._config('', 0)}"
        return f"fluxforge-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    def _take_owner_lock(self) -> None:
        if self._owner_lock is not None:
            return
        path = self._dir / "owner.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = path.read_text().strip()
            os.close(lock)
            raise UsageError(
                f"{self._dir} is in use by another FluxForge (pid {owner}): stop that one or choose another directory"
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._owner_lock = lock

    def _drop_owner_lock(self) -> None:
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None

    async def _adopt(self, name: str) -> bool:
        pid = self._read_pid()
        ports = nats_process.read_ports(self._dir, pid) if pid is not None else None
        if ports is None or await nats_process.greeting_name(ports[0]) != name:
            return False
        self._url, self._monitor_url = ports
        return True

    def _spawn(self, program: str, name: str, lock: int) -> subprocess.Popen[bytes]:
        try:
            port = int(self._url.rpartition(":")[2]) if self._url else -1
            config = self._dir / nats_process.CONFIG_FILE
            config.write_text(self._config(name, port))
            for stale in (self._dir / nats_process.PID_FILE, *self._dir.glob("*.ports")):
                stale.unlink(missing_ok=True)
            with (self._dir / "nats-server.log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own executable and file
                    [program, "-c", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C must reach the services, not the bus they drain into
                )
        finally:
            os.close(lock)  # the server's copy holds it on
        return self._process

    async def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < deadline:
            ports = nats_process.read_ports(self._dir, process.pid)
            if ports is not None and await nats_process.greeting_name(ports[0]) is not None:
                self._url, self._monitor_url = ports
                return
            await asyncio.sleep(_POLL_S)
        await self._end_server()
        log = (self._dir / "nats-server.log").read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        raise FatalError(f"the embedded nats-server did not come up on {self._dir}:\n{log}")

    async def _end_server(self) -> None:
        """Stop whatever server holds the directory: in order, then by force."""
        for number, patience_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
            if not self.alive:
                break
            pid = self._read_pid()
            if pid is not None and nats_process.is_server(pid, self._dir):
                with contextlib.suppress(ProcessLookupError):  # it ended by itself: what we want
                    os.kill(pid, number)
            await self._await_end(patience_s)
        if self.alive:
            raise UsageError(f"{self._dir} is held by a process that is no nats-server of ours: stop it first")
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)  # it let go of its lock: only its exit code is left
            self._process = None

    async def _await_end(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self.alive and time.monotonic() < deadline:  # noqa: ASYNC110 - another process's end has no event
            await asyncio.sleep(_POLL_S)

    def _read_pid(self) -> int | None:
        return nats_process.read_pid(self._dir) or (self._process.pid if self._process else None)


def running_url(data_dir: Path) -> str | None:
    """Return where the server that runs on a directory listens, or None where none runs."""
    urls = running_urls(data_dir)
    return urls[0] if urls else None


def running_urls(data_dir: Path) -> tuple[str, str] | None:
    """Return where clients and where monitoring reach the server that runs on a directory, or None."""
    data_dir = data_dir.absolute()
    if not nats_process.is_running(data_dir):
        return None
    return nats_process.read_ports(data_dir, nats_process.read_pid(data_dir) or 0)


def _known(value: _T | None) -> _T:
    if value is None:
        raise UsageError("the embedded nats-server has not been started")
    return value


def _quote(text: str) -> str:
    return orjson.dumps(text).decode()
