"""Lane states and leases: one suite for every bus."""

import asyncio

import pytest

from fluxforge.domain.errors import BusUnavailableError, StateConflictError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState, Sealing
from tests.contract.bus_world import LANE, eventually

OTHER = Lane("ccxt", "kraken", "1of2r9f3c21ab")
SEALING = Sealing("segment_20261122T17_00001", 1, 1, 9, 1234, "ab" * 32, 1)


@pytest.fixture
async def bus(world):
    return await world.bus()


async def test_lanes_are_listed_once_they_have_a_key(bus):
    assert await bus.states.lanes() == []
    await bus.states.create(OTHER)
    await bus.states.create(LANE)
    assert await bus.states.lanes() == [LANE, OTHER]


async def test_a_state_is_read_back_as_it_was_written(bus):
    assert await bus.states.get(LANE) is None
    await bus.states.create(LANE)
    found = await bus.states.get(LANE)
    assert found.state == LaneState()
    state = LaneState(3, "7-ab", 9, "20261122T17", 4, 12345, SEALING, (SEALING, SEALING))
    revision = await bus.states.update(LANE, state, found.revision)
    assert revision > found.revision
    again = await bus.states.get(LANE)
    assert (again.state, again.revision) == (state, revision)


async def test_creating_a_key_that_stands_changes_nothing(bus):
    await bus.states.create(LANE)
    revision = (await bus.states.get(LANE)).revision
    await bus.states.update(LANE, LaneState(epoch=1), revision)
    await bus.states.create(LANE)
    assert (await bus.states.get(LANE)).state.epoch == 1


async def test_an_update_of_an_old_revision_is_refused_and_writes_nothing(bus):
    await bus.states.create(LANE)
    revision = (await bus.states.get(LANE)).revision
    await bus.states.update(LANE, LaneState(epoch=1), revision)
    with pytest.raises(StateConflictError, match=f"no longer at revision {revision}"):
        await bus.states.update(LANE, LaneState(epoch=2), revision)
    assert (await bus.states.get(LANE)).state.epoch == 1


async def test_a_key_is_deleted_at_its_revision_alone_and_leaves_no_trace(bus):
    await bus.states.create(LANE)
    await bus.states.create(OTHER)
    old = (await bus.states.get(LANE)).revision
    revision = await bus.states.update(LANE, LaneState(epoch=1), old)
    with pytest.raises(StateConflictError, match=f"no longer at revision {old}"):
        await bus.states.delete(LANE, revision=old)
    assert (await bus.states.get(LANE)).state.epoch == 1
    for _ in range(2):
        await bus.states.delete(LANE, revision=revision)
        assert await bus.states.get(LANE) is None
    assert await bus.states.lanes() == [OTHER]
    with pytest.raises(StateConflictError):
        await bus.states.update(LANE, LaneState(epoch=2), revision)
    await bus.states.create(LANE)
    assert (await bus.states.get(LANE)).state == LaneState()


async def test_of_many_writers_of_one_revision_exactly_one_wins(world):
    buses = [await world.bus() for _ in range(4)]
    await buses[0].states.create(LANE)
    revision = (await buses[0].states.get(LANE)).revision

    async def write(owner):
        try:
            await buses[owner % 4].states.update(LANE, LaneState(owner=str(owner)), revision)
        except StateConflictError:
            return None
        return str(owner)

    winners = [each for each in await asyncio.gather(*(write(owner) for owner in range(16))) if each]
    assert len(winners) == 1
    assert (await buses[0].states.get(LANE)).state.owner == winners[0]


async def test_states_survive_the_bus_going_away(world, bus):
    await bus.states.create(LANE)
    await world.go_away()
    with pytest.raises(BusUnavailableError):
        await bus.states.get(LANE)
    await world.come_back()
    await eventually(lambda: bus.connected)
    assert (await bus.states.get(LANE)).state == LaneState()


async def test_a_lease_has_one_holder_until_it_is_given_back(bus):
    revision = await bus.leases.acquire("segmenter.ccxt-binance-0of1", "me")
    assert await bus.leases.acquire("segmenter.ccxt-binance-0of1", "you") is None
    assert await bus.leases.acquire("segmenter.other", "you") is not None
    renewed = await bus.leases.renew("segmenter.ccxt-binance-0of1", "me", revision)
    assert renewed > revision
    await bus.leases.release("segmenter.ccxt-binance-0of1", renewed)
    taken = await bus.leases.acquire("segmenter.ccxt-binance-0of1", "you")
    assert taken > renewed
    with pytest.raises(StateConflictError):
        await bus.leases.renew("segmenter.ccxt-binance-0of1", "me", renewed)
    await bus.leases.release("segmenter.ccxt-binance-0of1", renewed)
    assert await bus.leases.acquire("segmenter.ccxt-binance-0of1", "me") is None


@pytest.mark.parametrize("lease_ttl_s", [1])
async def test_a_lease_that_is_not_renewed_expires(bus):
    revision = await bus.leases.acquire("lane", "me")
    taken = None
    async with asyncio.timeout(60):
        while taken is None:
            await asyncio.sleep(0.05)
            taken = await bus.leases.acquire("lane", "you")
    assert taken > revision
    with pytest.raises(StateConflictError):
        await bus.leases.renew("lane", "me", revision)
