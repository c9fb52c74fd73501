"""Fixtures of the contract suites: every adapter of a port in turn."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.bus_world import LEASE_TTL_S, BusWorld, MemoryWorld, jetstream_world


@pytest.fixture
def lease_ttl_s() -> int:
    """How long leases last; a test may parametrize it."""
    return LEASE_TTL_S


@pytest.fixture(params=["memory", "jetstream"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, lease_ttl_s: int) -> AsyncIterator[BusWorld]:
    if request.param == "memory":
        yield MemoryWorld(lease_ttl_s)
    else:
        async with jetstream_world(tmp_path, lease_ttl_s) as opened:
            yield opened
