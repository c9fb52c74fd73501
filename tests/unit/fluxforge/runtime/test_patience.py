"""Trying again what may heal."""

import pytest
from prometheus_client import CollectorRegistry

from fluxforge.domain.errors import BusUnavailableError, FencedError, StoreUnavailableError
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.events import SegmenterEvents


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_what_heals_is_repeated_until_it_succeeds(registry: CollectorRegistry) -> None:
    failures = [BusUnavailableError("update", "away"), BusUnavailableError("update", "away")]

    async def operation() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert await Patience(SegmenterEvents(registry)).bus(operation) == "done"
    assert registry.get_sample_value("fluxforge_segmenter_retries_total", {"error": "BusUnavailableError"}) == 2


async def test_a_disk_that_is_full_is_waited_for(registry: CollectorRegistry) -> None:
    failures = [StoreUnavailableError("write", "x", "No space left on device")]

    def operation() -> int:
        if failures:
            raise failures.pop()
        return 7

    assert await Patience(SegmenterEvents(registry)).disk(operation) == 7


async def test_what_does_not_heal_is_raised_at_once(registry: CollectorRegistry) -> None:
    tries = []

    async def operation() -> None:
        tries.append(1)
        raise FencedError("lane", "somebody")

    with pytest.raises(FencedError):
        await Patience(SegmenterEvents(registry)).bus(operation)
    assert len(tries) == 1
