"""Real servers for tests: a nats-server on a free port in a directory of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fluxforge.adapters.embedded_nats import EmbeddedNats

MAX_PAYLOAD = 8388608


@asynccontextmanager
async def running_nats(tmp_path: Path, *, sync_always: bool = True) -> AsyncIterator[EmbeddedNats]:
    """Run a server below `tmp_path/nats`; its `url`, `monitor_url`, `pid` tell where, `start` revives a killed one."""
    server = EmbeddedNats(tmp_path / "nats", MAX_PAYLOAD, sync_always=sync_always)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
