"""One sealer per lane."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import TypeVar

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.errors import FencedError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.ports.lanes import LaneStates, VersionedState
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.hold import LaneHold
from tests.traffic import LANE

Held = TypeVar("Held")


async def offered(
    bus: MemoryBus, holder: str, *, above: int = 0, is_wanted: Callable[[], bool] = lambda: True
) -> LaneHold | None:
    events = SegmenterEvents(CollectorRegistry())
    return await LaneHold.take(
        bus, LANE, holder=holder, above=above, patience=Patience(events), events=events, is_wanted=is_wanted
    )


async def take(bus: MemoryBus, holder: str, *, above: int = 0) -> LaneHold:
    hold = await offered(bus, holder, above=above)
    assert hold is not None
    return hold


async def awaiting(taking: Coroutine[None, None, Held]) -> "asyncio.Task[Held]":
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


async def test_a_standby_waits_however_long_the_holder_lives_and_takes_over_when_it_dies() -> None:
    clock = ManualClock(monotonic_ns=1)
    bus = MemoryBus(MemoryServer(clock=clock))
    await bus.states.create(LANE)
    first = await take(bus, "one")
    waiting = await awaiting(take(bus, "two"))
    revision = first._lease_revision
    for _ in range(20):
        clock.advance(9_000_000_000)
        revision = await bus.leases.renew(f"segmenter-{LANE}", "one", revision)
    assert not waiting.done()
    assert await owner(bus) == first.owner
    clock.advance(11_000_000_000)
    heir = await asyncio.wait_for(waiting, 60)
    assert await owner(bus) == heir.owner


async def test_a_standby_that_is_not_wanted_any_more_ends_without_the_lane(bus: MemoryBus) -> None:
    first = await take(bus, "one")
    wanted = [True]
    waiting = await awaiting(offered(bus, "two", is_wanted=lambda: bool(wanted)))
    wanted.clear()
    assert await asyncio.wait_for(waiting, 60) is None
    assert await owner(bus) == first.owner


async def test_owners_are_numbered_above_all_that_left_a_trace(bus: MemoryBus) -> None:
    hold = await take(bus, "one", above=1000)
    assert hold.owner == "1001-one"


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


async def test_one_that_lost_the_lane_and_its_lease_unseen_is_told_when_it_renews(bus: MemoryBus) -> None:
    zombie = await take(bus, "one")
    bus.server.leases.clear()
    heir = await take(bus, "two")
    await heir.release()
    with pytest.raises(FencedError, match=f"owner is {heir.owner}"):
        await asyncio.wait_for(zombie.keep(0.03), 60)


async def test_confirming_finds_out_what_became_of_the_lane(bus: MemoryBus) -> None:
    hold = await take(bus, "one")
    assert await hold.confirm() == hold.state
    bus.server.leases.clear()
    heir = await take(bus, "two")
    with pytest.raises(FencedError, match=f"owner is {heir.owner}"):
        await hold.confirm()
    bus.server.states.clear()
    with pytest.raises(FencedError, match="owner is nobody"):
        await heir.confirm()


async def test_a_lane_with_neither_state_nor_stream_is_gone_and_its_lease_given_back() -> None:
    bus = MemoryBus()
    assert await offered(bus, "one") is None
    assert bus.server.leases == {}


async def test_a_lane_with_a_stream_gets_the_key_that_the_bus_lost() -> None:
    bus = MemoryBus()
    await bus.streams.create(LANE, 3)
    hold = await take(bus, "one")
    assert await owner(bus) == hold.owner


async def test_giving_a_lane_up_removes_its_key_unless_it_is_anothers(bus: MemoryBus) -> None:
    zombie = await take(bus, "one")
    bus.server.leases.clear()
    heir = await take(bus, "two")
    with pytest.raises(FencedError):
        await zombie.give_up()
    assert await owner(bus) == heir.owner
    await heir.give_up()
    assert await bus.states.lanes() == []


class LateAnswers:
    """Lane states that answer a write long after it stands."""

    def __init__(self, states: LaneStates) -> None:
        self._states = states
        self.written = asyncio.Event()
        self.answering = asyncio.Event()

    async def get(self, lane: Lane) -> VersionedState | None:
        return await self._states.get(lane)

    async def update(self, lane: Lane, state: LaneState, revision: int) -> int:
        new = await self._states.update(lane, state, revision)
        self.written.set()
        await self.answering.wait()
        return new


async def test_a_write_of_ours_that_was_not_answered_yet_is_not_taken_for_anothers(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = await take(bus, "h")
    late = LateAnswers(bus.states)
    monkeypatch.setattr(hold, "_bus", SimpleNamespace(states=late))
    writing = asyncio.ensure_future(hold.replace(replace(hold.state, sealed_seq=7)))
    await late.written.wait()
    confirming = asyncio.ensure_future(hold.confirm())
    done, _ = await asyncio.wait({confirming}, timeout=0.05)
    assert not done
    late.answering.set()
    await writing
    assert (await confirming).sealed_seq == 7
