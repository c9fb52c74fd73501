"""The whole system as processes that can be killed, stopped and left: a bus, a configuration, supervised services."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import yaml

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.adapters.stores import open_store
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import MANIFEST_SUFFIX, PLACED_SUFFIX
from fluxforge.domain.segment import Manifest
from fluxforge.runtime.settings import load
from tests.servers import running_nats

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0
_POLL_S = 0.02
_DRAIN_S = 1200.0
"""How long a busy machine may take over what piled up."""
_ORPHAN = 'File "<string>"'
"""Where the traceback begins of a worker's child whose parent was killed before it handed over the work."""
_EXCHANGE = {"rate_hz": 300, "bulk": 1, "bulk_bytes": 2_000}

READY = {
    "collector": (b'"lane.joined"',),
    "segmenter": (b'"lane.taken"',),
    "etl_worker": (b'"settings.loaded"',),
}
PROGRESS = {
    "collector": (b'"lane.joined"',),
    "segmenter": (b'"lane.taken"',),
    "etl_worker": (b'"segment.committed"',),
}
"""What a service logs once it is ready, and once it has done what it is there for."""


class Service:
    """One service under a supervisor: whatever ends it, `run` starts it again, until it is told to end."""

    def __init__(
        self, plant: "Plant", name: str, module: str, arguments: tuple[str, ...], environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.kind = module.removeprefix("fluxforge_") if module.startswith("fluxforge_") else "collector"
        self.lives = 0
        self.exits: list[int] = []
        """Codes of the lives that ended by themselves."""
        self.process: Process | None = None
        self._plant = plant
        self._command = (sys.executable, "-m", module, "--config", str(plant.config), *arguments)
        self._environment = environment

    @property
    def log_path(self) -> Path:
        return self._plant.base / "logs" / f"{self.name}.{self.lives:04d}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> Process:
        """Begin the next life."""
        self.lives += 1
        self.log_path.parent.mkdir(exist_ok=True)
        with self.log_path.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                    **self._environment,
                },
            )
        return self.process

    def logged(self, *marks: bytes) -> bool:
        """Whether this life has logged any of these."""
        text = self.log_path.read_bytes()
        return any(mark in text for mark in marks)

    async def until_logged(self, marks: tuple[bytes, ...], *, patience_s: float = PATIENCE_S) -> bool:
        """Wait until this life has logged one of the marks; False when it ended before."""
        assert self.process is not None
        async with asyncio.timeout(patience_s):
            while not self.logged(*marks):
                if self.process.returncode is not None:
                    return self.logged(*marks)
                await asyncio.sleep(_POLL_S)
        return True

    async def until_ready(self) -> None:
        """Wait until the service is ready; one that ends by itself is started again, as a supervisor does."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self.until_logged(READY[self.kind]):
                await self._ended()
                await asyncio.sleep(0.1)
                await self.start()

    async def _ended(self) -> None:
        assert self.process is not None
        await self.process.communicate()
        assert self.process.returncode is not None
        self.exits.append(self.process.returncode)

    def signal(self, number: int) -> None:
        """Send a signal to the life that runs, if one does."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> bool:
        """End this life by SIGKILL and wait for it; False when it had ended before."""
        assert self.process is not None
        was_alive = self.process.returncode is None
        self.signal(signal.SIGKILL)
        await self.process.communicate()
        if not was_alive:
            self.exits.append(self.process.returncode)
        return was_alive

    async def stop(self, *, patience_s: float = PATIENCE_S, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """End the service by SIGTERM and return its final status, empty where it gives none."""
        assert self.process is not None
        async with asyncio.timeout(patience_s):
            # Before its first word a process does not listen to signals yet, and just dies.
            await self.until_logged((b"\n",))
            self.signal(signal.SIGTERM)
            out, _ = await self.process.communicate()
        assert self.process.returncode in codes, self.tail()
        lines = out.splitlines()
        status: dict[str, Any] = orjson.loads(lines[-1]) if lines else {}
        return status

    def tail(self) -> str:
        """Return the end of this life's log."""
        return f"--- {self.log_path.name} (exit {self.process and self.process.returncode})\n" + "\n".join(
            self.log_path.read_text(errors="replace").splitlines()[-20:]
        )


class Plant:
    """A bus, a directory of data and one configuration, and the services that run on them."""

    def __init__(self, base: Path, server: EmbeddedNats, bus: JetStreamBus, tree: dict[str, Any]) -> None:
        self.base = base
        self.server = server
        self.bus = bus
        self.tree = tree
        self.config = base / "config.yaml"
        self.config.write_text(yaml.safe_dump(tree))
        self.segments = open_store(load(self.config).storage.ingestion_storage)
        self.services: dict[str, Service] = {}
        self.is_supervised = False
        """Whether a service that ends by itself is started again; else it fails the test at once."""

    @property
    def lanes(self) -> list[Lane]:
        return [Lane("ccxt", name, "0of1") for name in self.tree["ccxt"]["exchanges"]]

    @property
    def produced_dir(self) -> Path:
        return self.base / "produced"

    def service(self, module: str, *arguments: str, name: str | None = None, **environment: str) -> Service:
        """Make a service known under a name; it is started by `start`."""
        name = name or module
        service = Service(self, name, module, arguments, environment)
        self.services[name] = service
        return service

    def collector(self, exchange: str, *, name: str | None = None, **environment: str) -> Service:
        """A collector of numbered records."""
        return self.service(
            "tests.faults.load", "--exchange", exchange, name=name or f"collector-{exchange}", **environment
        )

    def segmenter(self, name: str = "segmenter", **environment: str) -> Service:
        return self.service("fluxforge_segmenter", name=name, **environment)

    def etl(self, name: str = "etl", **environment: str) -> Service:
        return self.service("fluxforge_etl_worker", name=name, **environment)

    async def until(self, condition: Callable[[], Awaitable[object]], *, patience_s: float = PATIENCE_S) -> float:
        """Poll until a condition holds; return how long that took."""
        begin = time.monotonic()
        async with asyncio.timeout(patience_s):
            while not await condition():
                self._check()
                await asyncio.sleep(_POLL_S)
        return time.monotonic() - begin

    async def stream_end(self, lane: Lane) -> tuple[int, int]:
        """Return (epoch, last sequence) of a lane's stream; (0, 0) where none stands."""
        state = await self.bus.states.get(lane)
        if state is None or not state.state.epoch:
            return 0, 0
        info = await self.bus.streams.info(lane, state.state.epoch)
        return state.state.epoch, info.last_seq if info else 0

    async def is_sealed(self, lane: Lane) -> bool:
        """Whether everything in a lane's stream is sealed, the seed of an epoch being nothing."""
        state = await self.bus.states.get(lane)
        if state is None or not state.state.epoch:
            return False
        info = await self.bus.streams.info(lane, state.state.epoch)
        return info is not None and state.state.sealing is None and state.state.sealed_seq >= info.last_seq

    def manifests(self) -> list[Manifest]:
        keys = [key for key in self.segments.keys("raw/ready") if key.endswith(MANIFEST_SUFFIX)]
        return [Manifest.from_json(self.segments.read(key), what=key) for key in keys]

    def sealed(self) -> frozenset[str]:
        """Return the segments that have a manifest, each as `<lane>/<name>`."""
        parts = [key.removesuffix(MANIFEST_SUFFIX).split("/") for key in self.segments.keys("raw/ready")]
        return frozenset(f"{source}-{folder}/{name}" for _, _, source, folder, name in parts if "." not in name)

    def all_placed(self, due: frozenset[str] | None = None) -> bool:
        """Whether the parts of these segments, or else of every sealed one, stand in their place."""
        due = self.sealed() if due is None else due
        placed = {key.removeprefix("commits/").removesuffix(PLACED_SUFFIX) for key in self.segments.keys("commits")}
        return due <= placed

    async def drain(self) -> None:
        """Let everything that was captured become Parquet, then end all services in order."""
        for service in self._of("collector"):
            await self._dismiss(service)
        for service in (*self._of("segmenter"), *self._of("etl_worker")):
            await self._revive(service)

        async def is_sealed() -> bool:
            await self._revive_ended()
            return all([await self.is_sealed(lane) for lane in await self.bus.states.lanes()])

        async def is_placed() -> bool:
            await self._revive_ended()
            return self.all_placed()

        await self.until(is_sealed, patience_s=_DRAIN_S)
        await self.until(is_placed, patience_s=_DRAIN_S)
        for service in (*self._of("segmenter"), *self._of("etl_worker")):
            await service.stop()

    def crashes(self) -> list[str]:
        """Return the lines of all logs that speak of an error nobody foresaw."""
        return [
            f"{path.name}: {line}"
            for path in sorted((self.base / "logs").glob("*.log"))
            for line, below in pairwise([*path.read_text(errors="replace").splitlines(), "", ""])
            if '"service.crashed"' in line or (line.startswith("Traceback") and _ORPHAN not in below)
        ]

    async def end(self) -> None:
        """Kill what still runs."""
        for service in self.services.values():
            if service.process is not None and service.process.returncode is None:
                service.signal(signal.SIGCONT)
                sys.stderr.write(service.tail() + "\n")
                await service.kill()

    async def _dismiss(self, collector: Service) -> None:
        """End a collector; what a slow bus made it leave in its spool is sent by the lives that follow."""
        await collector.stop(patience_s=_DRAIN_S, codes=(0, 1))
        while collector.process is not None and collector.process.returncode:
            assert collector.logged(b'"lane.rescued"'), collector.tail()
            await collector.start()
            await collector.until_logged((b'"spool.drained"',), patience_s=_DRAIN_S)
            await collector.stop(patience_s=_DRAIN_S, codes=(0, 1))

    def _check(self) -> None:
        for service in self.services.values():
            failed = service.process is not None and service.process.returncode in {1, 2}
            assert self.is_supervised or not failed, service.tail()

    def _of(self, kind: str) -> list[Service]:
        return [s for s in self.services.values() if s.kind == kind and s.process is not None]

    async def _revive(self, service: Service) -> None:
        if service.process is None or service.process.returncode is not None:
            await service.start()

    async def _revive_ended(self) -> None:
        for service in (*self._of("segmenter"), *self._of("etl_worker")):
            if service.process is not None and service.process.returncode is not None:
                service.exits.append(service.process.returncode)
                await asyncio.sleep(0.1)
                await service.start()


def merged(tree: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with the other's values put in, deeply."""
    result = dict(tree)
    for key, value in other.items():
        result[key] = merged(result[key], value) if isinstance(value, Mapping) and key in result else value
    return result


def numbered(
    base: Path,
    *names: str,
    rate_hz: float = 300,
    bulk_bytes: int = 2_000,
    bulk: int = 1,
    markets: int = 1,
) -> dict[str, Any]:
    """Return the exchanges of a configuration whose collectors bring numbered records."""
    bases = ("BTC", "ETH", "SOL", "ADA", "XRP")[:markets]
    return {
        name: {
            "channels": {
                "watchTrades": [f"{b}/USD" for b in bases],
                "watchTicker": [f"{b}/USD" for b in bases],
                "watchOrderBook": [f"{b}/USD" for b in bases[:1]],
            },
            "options": {
                "rate_hz": rate_hz,
                "bulk": bulk,
                "bulk_bytes": bulk_bytes,
                "produced": str(base / "produced" / name),
            },
        }
        for name in names
    }


@asynccontextmanager
async def running_plant(
    base: Path, exchanges: dict[str, Any], *, url: str | None = None, **sections: Any
) -> AsyncIterator[Plant]:
    """Run a provisioned bus below `base`; `sections` are merged into the configuration, `url` is where services go."""
    await asyncio.to_thread(base.mkdir, parents=True, exist_ok=True)
    async with running_nats(base) as server:
        tree = configured(base, url or server.url, exchanges, sections)
        options = BusOptions(servers=(server.url,), lease_ttl_s=tree["nats"]["lease_ttl_seconds"])
        await provision(options)
        bus = await connect(options, name="harness")
        plant = Plant(base, server, bus, tree)
        try:
            yield plant
        finally:
            await plant.end()
            await bus.close()


def configured(base: Path, url: str, exchanges: dict[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration under which everything happens often: seals, commits, purges, takeovers."""
    store = {"backend": "local", "base_dir": str(base)}
    tree = {
        "storage": {
            "scratch_dir": str(base),
            "ingestion_storage": store,
            "etl_storage_input": store,
            "etl_storage_output": store,
        },
        "nats": {"servers": [url], "lane_max_bytes": "256MB", "bus_grace_seconds": 0, "lease_ttl_seconds": 1},
        "ccxt": {"exchanges": exchanges},
        "ingestion": {"segment_max_mb": 1, "segment_max_age_seconds": 1, "flush_interval_seconds": 0.2},
        "etl": {"channels": {"orderbook": {"processor_options": {"bar_durations": [1], "horizons": [1]}}}},
        "telemetry": {"port": 0, "log_format": "json"},
    }
    return merged(tree, sections)
