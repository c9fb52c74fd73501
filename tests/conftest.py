"""Fixtures of all layers: what is real and takes a process to run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fluxforge.adapters.embedded_nats import EmbeddedNats
from tests.faults.mode import (
    full_run,
    is_full,
    notices,
    pytest_addoption,
    pytest_configure,
    pytest_report_header,
    pytest_terminal_summary,
    runs,
    seed,
    table,
)
from tests.s3_server import s3_server
from tests.servers import running_nats

# Hooks and fixtures of the fault runs stand here because tests of every layer have a bounded and a full share.
__all__ = [
    "full_run",
    "is_full",
    "nats_server",
    "notices",
    "pytest_addoption",
    "pytest_configure",
    "pytest_report_header",
    "pytest_terminal_summary",
    "runs",
    "s3_server",
    "seed",
    "table",
]

# How long an example takes is the machine's matter: what a busy one does slowly is no failure.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    async with running_nats(tmp_path) as server:
        yield server
