import asyncio

import pytest

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.errors import FencedError
from fluxforge_collector import lane_lease
from fluxforge_collector.lane_lease import LaneLease
from tests.unit.fluxforge_collector.made import LANE, events, until

TTL_S = 0.06
SECOND_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_lease, "_POLL_S", 0.002)


class Pair:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(clock=self.clock, lease_ttl_s=10)
        self.bus = MemoryBus(self.server)

    def lease(self, holder: str) -> LaneLease:
        return LaneLease(self.bus, LANE, holder, ttl_s=TTL_S, clock=self.clock)

    def holder(self) -> str | None:
        holder, _, expiry_ns = self.server.leases.get(f"collector-{LANE}", ("", 0, 0))
        return holder if expiry_ns > self.clock.monotonic_ns() else None


@pytest.fixture
def pair() -> Pair:
    return Pair()


async def test_a_second_holder_waits_until_the_first_gives_back(pair: Pair) -> None:
    first, second = pair.lease("a"), pair.lease("b")
    await first.take(events())
    waiting = asyncio.ensure_future(second.take(events()))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await first.release()
    await waiting
    assert pair.holder() == "b"


async def test_a_second_holder_takes_over_when_the_first_does_not_renew(pair: Pair) -> None:
    await pair.lease("a").take(events())
    waiting = asyncio.ensure_future(pair.lease("b").take(events()))
    await asyncio.sleep(0.02)
    pair.clock.advance(11 * SECOND_NS)
    await waiting


async def test_the_heir_of_a_holder_has_its_lease_at_once(pair: Pair) -> None:
    await pair.lease("a").take(events())
    async with asyncio.timeout(5):
        await pair.lease("a").take(events())


async def test_a_holder_renews_and_takes_again_what_expired_while_nobody_wanted_it(pair: Pair) -> None:
    first = pair.lease("a")
    await first.take(events())
    keeping = asyncio.ensure_future(first.keep())
    pair.clock.advance(11 * SECOND_NS)
    await until(lambda: pair.holder() == "a")
    keeping.cancel()


async def test_a_holder_that_slept_while_another_took_over_is_fenced(pair: Pair) -> None:
    first, second = pair.lease("a"), pair.lease("b")
    await first.take(events())
    pair.clock.advance(11 * SECOND_NS)
    await second.take(events())
    with pytest.raises(FencedError, match="another collector"):
        await first.keep()


async def test_a_bus_that_is_away_takes_no_lease_from_anybody(pair: Pair) -> None:
    first = pair.lease("a")
    await first.take(events())
    keeping = asyncio.ensure_future(first.keep())
    pair.server.go_away()
    await asyncio.sleep(3 * TTL_S)
    assert not keeping.done()
    pair.clock.advance(60 * SECOND_NS)
    await first.release()  # a bus that is away keeps nobody from ending
    pair.server.come_back()
    await until(lambda: pair.holder() == "a")
    keeping.cancel()


async def test_a_standby_that_saw_the_bus_away_lets_the_holder_take_its_lease_again(pair: Pair) -> None:
    await pair.lease("a").take(events())
    waiting = asyncio.ensure_future(pair.lease("b").take(events()))
    await asyncio.sleep(0.02)
    pair.server.go_away()
    await asyncio.sleep(0.02)
    pair.clock.advance(60 * SECOND_NS)  # the lease expires meanwhile
    pair.server.come_back()
    await asyncio.sleep(0.05)
    assert not waiting.done()
    pair.clock.advance(29 * SECOND_NS)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    pair.clock.advance(2 * SECOND_NS)
    await waiting
