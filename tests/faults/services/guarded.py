"""A system whose bus may be told to change while it runs: who may sign in, what they may do, how much it stores."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest

from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.jetstream.provision import provision
from tests.faults.oracle import judge
from tests.faults.plant import Plant, Service, configured
from tests.faults.table import FaultTable
from tests.ports import kept_port
from tests.servers import MAX_PAYLOAD

EXIT_S = 15.0
"""A service that cannot go on has ended by then."""
START_S = 60.0


class GuardedNats:
    """A nats-server with two users: `harness`, who may do everything, and `service`, whose rights may change."""

    def __init__(self, directory: Path, port: int, *, jetstream: str = "", more: str = "", host: str = "127.0.0.1"):
        self.url = f"nats://{host}:{port}"
        self._directory = directory
        self._config = directory / "guarded.conf"
        self._listen = f"{host}:{port}"
        self.jetstream = jetstream or "sync_interval: always"
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def write(self, *, password: str = "service", permissions: str = "") -> None:
        rights = f", permissions: {{ {permissions} }}" if permissions else ""
        self._config.write_text(
            f'listen: "{self._listen}"\nmax_payload: {MAX_PAYLOAD}\n{self._more}\n'
            f'jetstream {{ store_dir: "{self._directory}", {self.jetstream} }}\n'
            "authorization { users: [\n"
            f"  {{ user: harness, password: harness }}\n  {{ user: service, password: {password}{rights} }}\n] }}\n"
        )

    async def start(self) -> None:
        command = [str(Path(sys.executable).parent / "nats-server"), "-c", str(self._config)]
        with (self._directory / "nats-server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - it is not waited for
        host, _, port = self._listen.partition(":")
        async with asyncio.timeout(START_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                return

    def reload(self, **rights: str) -> None:
        """Give the user `service` other rights at once."""
        self.write(**rights)
        os.kill(self.pid, signal.SIGHUP)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@asynccontextmanager
async def guarded_plant(
    base: Path, exchanges: dict[str, Any], *, server: GuardedNats | None = None, **sections: Any
) -> AsyncIterator[tuple[Plant, GuardedNats]]:
    """Run a provisioned bus and a plant whose services sign in as `service`."""
    with kept_port() as port:
        guard = server or GuardedNats(base / "guarded", port)
        await guard.start()
        try:
            credentials = base / "service.credentials"
            credentials.write_text("service:service")
            harness = base / "harness.credentials"
            harness.write_text("harness:harness")
            tree = configured(base, guard.url, exchanges, sections)
            tree["nats"]["credentials_file"] = str(credentials)
            options = BusOptions(
                servers=(guard.url,),
                credentials_file=harness,
                lease_ttl_s=tree["nats"]["lease_ttl_seconds"],
                unsafe_durability=True,
            )
            await provision(options)
            bus = await connect(options, name="harness")
            plant = Plant(base, guard, bus, tree)  # type: ignore[arg-type] - a server by another name
            try:
                yield plant, guard
            finally:
                await plant.end()
                await bus.close()
        finally:
            guard.end()


async def start_all(plant: Plant) -> list[Service]:
    """Start a segmenter, a worker and a collector, and wait until the bus holds what the collector brings."""
    services = [plant.segmenter(), plant.etl(), plant.collector(plant.lanes[0].exchange)]
    await start_again(services)
    return services


async def start_again(services: Iterable[Service], *, started: bool = False) -> None:
    """Start services, as their supervisor does, unless they run, and wait until they are at work."""
    for service in services:
        if not started:
            await service.start()
    for service in services:
        assert await service.until_logged(AT_WORK[service.kind], patience_s=START_S), service.tail()


AT_WORK = {
    "collector": (b'"lane.joined"',),
    "segmenter": (b'"segment.sealed"',),
    "etl_worker": (b'"segment.committed"',),
}


async def exit_of(service: Service, *, within_s: float = EXIT_S) -> tuple[int, float]:
    """Wait for the end of a service's life; return its exit code and how long it took."""
    process = service.process
    assert isinstance(process, Process)
    begin = time.monotonic()
    try:
        async with asyncio.timeout(within_s):
            await process.communicate()
    except TimeoutError:
        raise AssertionError(f"still there after {within_s} s\n{service.tail()}") from None
    assert process.returncode is not None
    return process.returncode, time.monotonic() - begin


async def settled(plant: Plant, table: FaultTable, fault: str) -> None:
    """Drain everything and demand that every record stands in the datasets once."""

    async def is_back() -> bool:
        return plant.bus.connected

    await plant.until(is_back)
    await plant.drain()
    assert plant.crashes() == []
    verdict = judge(plant)
    table.judged(fault, verdict, runs=1)
    assert verdict.made > 100
    assert verdict.is_whole, verdict


def is_run(variant: str, *, bounded: str, is_full: bool) -> None:
    """Skip a variant of a test of which the bounded share runs another."""
    if not is_full and variant != bounded:
        pytest.skip(f"the bounded share runs the variant {bounded!r}; all of them: --faults full")


def lines(service: Service) -> list[dict[str, Any]]:
    """Return what this life has logged; every line must be one event."""
    return [orjson.loads(line) for line in service.log_path.read_bytes().splitlines()]


def error_of(service: Service) -> str:
    """Return what the one error line of this life says."""
    found = [line for line in lines(service) if line["level"] in {"error", "critical"}]
    assert len(found) == 1, found
    return str(found[0]["error"])


def events(service: Service, name: str) -> list[dict[str, Any]]:
    """Return the events of one name in this life."""
    return [line for line in lines(service) if line["event"] == name]


async def probe(service: Service, path: str) -> tuple[int, str]:
    """Ask a service's telemetry."""
    (loaded,) = events(service, "settings.loaded")

    def ask() -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{loaded['telemetry_port']}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except OSError as error:
            return getattr(error, "code", 0), ""

    return await asyncio.to_thread(ask)
