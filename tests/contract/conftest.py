"""Fixtures of the contract suites: every adapter of a port in turn."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.bus_world import BusWorld, MemoryWorld, jetstream_world


@pytest.fixture(params=["memory", "jetstream"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BusWorld]:
    if request.param == "memory":
        yield MemoryWorld()
    else:
        async with jetstream_world(tmp_path) as opened:
            yield opened
