"""The true segmenter as a process of its own, on a real bus."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.lane_state import LaneState
from fluxforge.domain.status import SegmenterStatus, status_from_json
from tests.servers import running_nats
from tests.traffic import LANE

PATIENCE_S = 90.0


@dataclass(frozen=True)
class Rig:
    """A bus with one lane, and a data directory; starts segmenters on them."""

    bus: JetStreamBus
    server: EmbeddedNats
    data: Path
    lease_ttl_s: int

    @property
    def url(self) -> str:
        """Where the bus is."""
        return self.server.url

    @property
    def log(self) -> Path:
        """What all segmenters have logged."""
        return self.data.with_name("segmenter.log")

    @asynccontextmanager
    async def segmenter(self, **options: object) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a segmenter; options are keys of `ingestion`, or paths with `__`. Killed at the end if it still runs."""
        environment = {
            **os.environ,
            "FLUXFORGE__NATS__SERVERS": f'["{self.url}"]',
            "FLUXFORGE__NATS__LEASE_TTL_SECONDS": str(self.lease_ttl_s),
            "FLUXFORGE__STORAGE__SCRATCH_DIR": str(self.data),
            "FLUXFORGE__STORAGE__INGESTION_STORAGE__BASE_DIR": str(self.data),
            "FLUXFORGE__TELEMETRY__PORT": "0",
            "FLUXFORGE__TELEMETRY__LOG_FORMAT": "json",
            **{_variable(key): str(value) for key, value in options.items()},
        }
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fluxforge_segmenter", env=environment, stdout=PIPE, stderr=log, stdin=DEVNULL
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
            sys.stderr.write(self.log.read_text())  # pytest shows it where the test fails

    async def drain(self, process: asyncio.subprocess.Process) -> SegmenterStatus:
        """Ask a segmenter that holds its lane to end, expect it in order, and return the final status."""
        process.send_signal(signal.SIGTERM)
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0
        status = status_from_json(out)
        assert isinstance(status, SegmenterStatus)
        return status

    async def restart_bus(self) -> None:
        """Kill the server as a power cut would and start it again on what it stored."""
        os.kill(self.server.pid, signal.SIGKILL)
        await self.server.start()

        async def is_back() -> bool:
            return self.bus.connected

        await until(is_back)

    async def state(self) -> LaneState:
        """Return the lane's state."""
        found = await self.bus.states.get(LANE)
        assert found is not None
        return found.state

    async def until_logged(self, event: str) -> None:
        """Wait until some segmenter has logged an event."""

        async def is_logged() -> bool:
            return event in self.log.read_text()

        await until(is_logged)

    async def until_open(self) -> None:
        """Wait for the lane's stream."""

        async def is_open() -> bool:
            return (await self.state()).epoch >= 1

        await until(is_open)

    async def until_sealed(self, stream_seq: int) -> None:
        """Wait until everything up to a stream sequence is sealed."""

        async def is_sealed() -> bool:
            return (await self.state()).sealed_seq >= stream_seq

        await until(is_sealed)


def _variable(key: str) -> str:
    return "FLUXFORGE__" + (key if "__" in key else f"ingestion__{key}").upper()


async def until(condition: Callable[[], Awaitable[bool]], *, deadline_s: float = PATIENCE_S) -> None:
    """Poll a condition until it holds."""
    async with asyncio.timeout(deadline_s):
        while not await condition():  # noqa: ASYNC110 - what is waited for is another process' doing
            await asyncio.sleep(0.02)


@pytest.fixture
def lease_ttl_s() -> int:
    """How long the lease of a segmenter lasts that was killed; a test may parametrize it."""
    return 2


@pytest.fixture
async def rig(tmp_path: Path, lease_ttl_s: int) -> AsyncIterator[Rig]:
    async with running_nats(tmp_path) as server:
        options = BusOptions(servers=(server.url,), lease_ttl_s=lease_ttl_s, lane_max_bytes=200_000_000)
        await provision(options)
        bus = await connect(options, name="test")
        try:
            await bus.states.create(LANE)
            yield Rig(bus, server, tmp_path / "data", lease_ttl_s)
        finally:
            await bus.close()
