"""Fixtures of all layers: what is real and takes a process to run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fluxforge.adapters.embedded_nats import EmbeddedNats
from tests.servers import running_nats

# How long an example takes is the machine's matter: what a busy one does slowly is no failure.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    async with running_nats(tmp_path) as server:
        yield server
