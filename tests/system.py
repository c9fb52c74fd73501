"""The whole system as processes of its own, for tests that follow data from the socket to Parquet."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.segment import Manifest
from fluxforge.domain.status import CollectorStatus, Status, status_from_json
from tests.servers import running_nats

PATIENCE_S = 120.0
DRAIN_S = 120.0

KEEP_RAW = {"delete_after_processing": False}
"""Section `etl` of a test that reads the segments after they were processed."""


@asynccontextmanager
async def simulator(*arguments: object) -> AsyncIterator[tuple[int, Process]]:
    """Run `fluxforge_simulator` with these arguments; yield its port and process, and stop it in order."""
    command = [sys.executable, "-m", "fluxforge_simulator", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stdin=DEVNULL)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            port = orjson.loads(await process.stdout.readline())["port"]
        yield port, process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DRAIN_S):
            await process.communicate()


class System:
    """A bus, a data directory and one configuration; starts services on them, and drains, stops or kills them."""

    def __init__(self, base: Path, server: EmbeddedNats, exchanges: dict[str, Any], sections: dict[str, Any]) -> None:
        self.base = base
        self.server = server
        self.config = base / "config.yaml"
        self._running: dict[Process, tuple[str, tuple[str, ...]]] = {}
        self._forgotten: dict[Process, tuple[str, tuple[str, ...]]] = {}
        store = {"backend": "local", "base_dir": str(base)}
        tree = {
            "storage": {
                "scratch_dir": str(base),
                "ingestion_storage": store,
                "etl_storage_input": store,
                "etl_storage_output": store,
            },
            "nats": {"servers": [server.url], "lane_max_bytes": "2GB"},
            "ccxt": {"exchanges": exchanges},
            "telemetry": {"port": 0, "log_format": "json"},
            **sections,
        }
        self.config.write_text(yaml.safe_dump(tree))

    async def start(self, service: str, *arguments: str, variables: dict[str, str] | None = None) -> Process:
        """Start a service with the configuration, further arguments and variables."""
        module = "tests.clock_collector" if service == "clock_collector" else f"fluxforge_{service}"
        named = [str(self.config)] if module.startswith("tests.") else ["--config", str(self.config), "--parent-pipe"]
        with (self.base / f"{service}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", module, *named, *arguments),
                stdout=PIPE,
                stderr=log,
                stdin=PIPE,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **(variables or {})},
            )
        self._running[process] = (service, arguments)
        return process

    async def drain(self, process: Process) -> Status:
        """End a service by its pipe, demand that it ends in order with nothing left, and return its final status."""
        assert process.stdin is not None
        process.stdin.close()
        return await self._ended_in_order(process)

    async def stop(self, process: Process) -> Status:
        """End a service by SIGTERM, demand that it ends in order in time, and return its final status."""
        process.send_signal(signal.SIGTERM)
        return await self._ended_in_order(process)

    async def _ended_in_order(self, process: Process) -> Status:
        code, out = await self.ended(process)
        assert code == 0, self.log_of(process)
        return status_from_json(out)

    async def ended(self, process: Process) -> tuple[int, bytes]:
        """Wait until a service has ended; return its exit code and what it printed."""
        async with asyncio.timeout(DRAIN_S):
            out, _ = await process.communicate()
        self._forgotten[process] = self._running.pop(process)
        assert process.returncode is not None
        return process.returncode, out

    async def kill(self, process: Process) -> None:
        """End a service by SIGKILL."""
        process.kill()
        await self.ended(process)

    async def restart(self, process: Process) -> Process:
        """Start a service that has ended again, as its supervisor does."""
        service, arguments = self._forgotten[process]
        return await self.start(service, *arguments)

    async def drain_collector(self, process: Process) -> CollectorStatus:
        """Drain a collector."""
        status = await self.drain(process)
        assert isinstance(status, CollectorStatus)
        return status

    async def until(self, condition: Callable[[], bool], *, deadline_s: float = PATIENCE_S) -> None:
        """Poll a condition until it holds; a service that ends meanwhile fails the test at once."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                ended = [process for process in self._running if process.returncode is not None]
                assert not ended, self.log_of(ended[0])
                await asyncio.sleep(0.05)

    def log(self, service: str) -> str:
        """Return what a service has logged."""
        return (self.base / f"{service}.log").read_text()

    def log_of(self, process: Process) -> str:
        """Return what a process, and others of its service, have logged."""
        return self.log((self._running.get(process) or self._forgotten[process])[0])

    def manifests(self) -> list[Manifest]:
        """Return the manifests of all sealed segments, by lane and in order."""
        paths = sorted((self.base / "raw" / "ready").rglob("*.manifest.json"))
        return [Manifest.from_json(path.read_bytes(), what=path.name) for path in paths]

    def records(self, channel: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the records of all sealed segments in order, parsed."""
        for manifest in self.manifests():
            path = self.base / "raw" / "ready" / manifest.lane.folder / manifest.file
            for line in path.read_bytes().splitlines():
                record = orjson.loads(line)
                if channel is None or record["channel"] == channel:
                    yield record

    def all_placed(self) -> bool:
        """Whether every sealed segment's parts stand in their place."""
        commits = self.base / "commits"
        return all((commits / str(m.lane) / f"{m.name}.placed").exists() for m in self.manifests())

    async def end(self) -> None:
        """Kill what still runs and show its log."""
        for process, (service, _) in self._running.items():
            if process.returncode is None:
                process.kill()
                await process.communicate()
            sys.stderr.write(f"--- {service}\n{self.log(service)[-4000:]}\n")


@asynccontextmanager
async def running_system(base: Path, exchanges: dict[str, Any], **sections: Any) -> AsyncIterator[System]:
    """Run a provisioned bus below `base`; `sections` are further top-level keys of the configuration."""
    async with running_nats(base) as server:
        await provision(BusOptions(servers=(server.url,)))
        system = System(base, server, exchanges, sections)
        try:
            yield system
        finally:
            await system.end()
