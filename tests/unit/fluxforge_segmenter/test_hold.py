"""One sealer per lane."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import FencedError, LaneBrokenError
from fluxforge.ports.clock import Clock
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.hold import LaneHold
from tests.traffic import LANE


async def take(bus: MemoryBus, holder: str, *, ttl_s: float = 10, clock: Clock | None = None) -> LaneHold:
    events = SegmenterEvents(CollectorRegistry())
    clock = clock or SystemClock()
    return await LaneHold.take(
        bus, LANE, holder=holder, lease_ttl_s=ttl_s, clock=clock, patience=Patience(events), events=events
    )


async def awaiting(taking: Coroutine[None, None, LaneHold]) -> "asyncio.Task[LaneHold]":
    """Return the task once it waits for the lease of somebody else."""
    with capture_logs() as logs:
        task = asyncio.ensure_future(taking)
        async with asyncio.timeout(60):
            while "lane.awaited" not in [line["event"] for line in logs]:  # noqa: ASYNC110 - a log line is no event
                await asyncio.sleep(0.005)
    return task


@pytest.fixture
async def bus() -> MemoryBus:
    bus = MemoryBus()
    await bus.states.create(LANE)
    return bus


async def owner(bus: MemoryBus) -> str | None:
    found = await bus.states.get(LANE)
    assert found is not None
    return found.state.owner


async def test_taking_a_lane_writes_our_name_and_nothing_else(bus: MemoryBus) -> None:
    before = await bus.states.get(LANE)
    hold = await take(bus, "one")
    after = await bus.states.get(LANE)
    assert before is not None
    assert after is not None
    assert after.state == replace(before.state, owner=hold.owner) == hold.state
    assert hold.owner.endswith("-one")


async def test_a_lane_whose_holder_lives_is_refused(bus: MemoryBus) -> None:
    first = await take(bus, "one")
    clock = ManualClock()
    waiting = await awaiting(take(bus, "two", clock=clock))
    clock.advance(13_000_000_000)
    with pytest.raises(FencedError, match="another segmenter renews its lease"):
        await waiting
    assert await owner(bus) == first.owner


async def test_the_lease_of_a_dead_holder_is_waited_for() -> None:
    clock = ManualClock(monotonic_ns=1)
    bus = MemoryBus(MemoryServer(clock=clock))
    await bus.states.create(LANE)
    dead = await take(bus, "one", clock=clock)
    waiting = await awaiting(take(bus, "two", clock=clock))
    assert await owner(bus) == dead.owner
    clock.advance(11_000_000_000)
    heir = await waiting
    assert await owner(bus) == heir.owner


async def test_a_lease_that_was_given_back_is_free_at_once(bus: MemoryBus) -> None:
    await (await take(bus, "one")).release()
    heir = await take(bus, "two")
    assert await owner(bus) == heir.owner


async def test_writing_after_somebody_else_took_over_is_refused_and_names_him(bus: MemoryBus) -> None:
    zombie = await take(bus, "one")
    await zombie.release()
    heir = await take(bus, "two")
    with pytest.raises(FencedError, match=f"owner is {heir.owner}"):
        await zombie.replace(replace(zombie.state, sealed_seq=9))
    assert await owner(bus) == heir.owner


async def test_a_lease_that_expired_unseen_is_taken_again_unless_somebody_else_did(bus: MemoryBus) -> None:
    hold = await take(bus, "one")
    keeping = asyncio.ensure_future(hold.keep(0.03))
    bus.server.leases.clear()
    async with asyncio.timeout(60):
        while not bus.server.leases:  # noqa: ASYNC110 - a plain condition of the task under test
            await asyncio.sleep(0.005)
    bus.server.leases.clear()
    assert await bus.leases.acquire(f"segmenter-{LANE}", "two") is not None
    with pytest.raises(FencedError, match="took the lease that we lost"):
        await keeping


async def test_a_lane_without_a_state_cannot_be_taken_and_its_lease_is_given_back() -> None:
    bus = MemoryBus()
    with pytest.raises(LaneBrokenError, match="its key is gone"):
        await take(bus, "one")
    assert bus.server.leases == {}
