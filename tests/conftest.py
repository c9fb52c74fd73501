"""Fixtures of all layers: what is real and takes a process to run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from tests.servers import running_nats


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    async with running_nats(tmp_path) as server:
        yield server
