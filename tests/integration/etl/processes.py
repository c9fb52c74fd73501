"""The ETL worker as a process on a real bus, and segments for it."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.segment import Manifest, SealedEvent


def bus_options(server: EmbeddedNats) -> BusOptions:
    return BusOptions((server.url,))


@asynccontextmanager
async def provisioned(server: EmbeddedNats) -> AsyncIterator[JetStreamBus]:
    await provision(bus_options(server))
    bus = await connect(bus_options(server), name="test")
    try:
        yield bus
    finally:
        await bus.close()


async def announce(bus: JetStreamBus, manifest: Manifest) -> None:
    event = SealedEvent(
        str(manifest.lane), manifest.name, manifest.size_bytes, manifest.records, manifest.last_capture_ns
    )
    name = f"{manifest.lane}.{manifest.name}"
    await bus.events.publish(f"segments.sealed.{name}", event.to_json(), message_id=name)


async def start_worker(
    server: EmbeddedNats, data: Path, *arguments: str, module: str = "fluxforge_etl_worker", **environment: str
) -> Process:
    """Start a worker on `data`; its log goes to worker.log beside it."""
    values = {
        "NATS__SERVERS": orjson.dumps([server.url]).decode(),
        "STORAGE__SCRATCH_DIR": str(data),
        "STORAGE__ETL_STORAGE_INPUT__BASE_DIR": str(data),
        "STORAGE__ETL_STORAGE_OUTPUT__BASE_DIR": str(data),
        "TELEMETRY__PORT": "0",
        "TELEMETRY__LOG_FORMAT": "json",
        **environment,
    }
    command = [sys.executable, "-m", module, *arguments]
    with (data.parent / "worker.log").open("ab") as log:
        return await create_subprocess_exec(
            *command,
            stdin=PIPE if "--parent-pipe" in arguments else DEVNULL,
            stdout=PIPE,
            stderr=log,
            env={**os.environ, **{f"FLUXFORGE__{key}": value for key, value in values.items()}},
        )


async def until(condition: Callable[[], bool], *, deadline_s: float = 60.0) -> None:
    """Poll a condition until it holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - the condition is a file's state
            await asyncio.sleep(0.05)


def log_of(data: Path) -> list[dict[str, object]]:
    path = data.parent / "worker.log"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
