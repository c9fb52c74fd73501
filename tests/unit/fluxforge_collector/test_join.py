import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.block import Block
from fluxforge.domain.errors import LaneBrokenError
from fluxforge.domain.lane_state import LaneState, Sealing
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.join import Joined, Lost, join
from fluxforge_collector.lane_link import Relink
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool
from fluxforge_collector.stamp import BEHIND_NS_MAX
from tests.unit.fluxforge_collector.made import BEGIN_NS, LANE, block, chain, events, open_lane


class Harbour:
    def __init__(self, tmp_path: Path) -> None:
        self.server = MemoryServer()
        self.bus = MemoryBus(self.server)
        self.spool = Spool(SpoolSettings(tmp_path / "spool", 1_000_000))
        self.clock = ManualClock(BEGIN_NS + 1_000)

    async def publish(self, blocks: list[Block]) -> None:
        await self.bus.states.create(LANE)
        await open_lane(self.bus)
        publisher = await self.bus.publisher(LANE, 1, after=None, window_blocks=64)
        for each in blocks:
            await publisher.publish(each)
        assert await publisher.settle(timeout_s=60)
        await publisher.close()

    async def join(self, shutdown: Shutdown | None = None) -> Joined | None:
        async with asyncio.timeout(60):
            return await join(LANE, self.bus, self.spool, self.clock, shutdown or Shutdown(), events())


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


async def test_a_new_lane_gets_its_key_and_waits_for_its_stream(harbour: Harbour) -> None:
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(harbour.join())
        await open_lane(harbour.bus)  # waits for the key
    assert joining.result() == Joined(epoch=1, stream_last=None, last=None, last_capture_ns=0)


async def test_a_lane_is_joined_behind_its_last_message(harbour: Harbour) -> None:
    blocks = chain(3)
    await harbour.publish(blocks)
    last_ns = blocks[-1].last_capture_ns
    assert await harbour.join() == Joined(1, blocks[-1].id, blocks[-1].id, last_ns, last_ns)


async def test_what_of_the_spool_stands_on_the_bus_is_not_sent_again(harbour: Harbour) -> None:
    blocks = chain(5)
    await harbour.publish(blocks[:3])
    harbour.spool.append(blocks[1:])
    joined = await harbour.join()
    assert joined == Joined(1, blocks[2].id, blocks[4].id, blocks[4].last_capture_ns, blocks[2].last_capture_ns)
    assert harbour.spool.ids() == [blocks[3].id, blocks[4].id]


async def test_a_spool_that_follows_the_last_message_is_sent_whole(harbour: Harbour) -> None:
    blocks = chain(5)
    await harbour.publish(blocks[:3])
    harbour.spool.append(blocks[3:])
    await harbour.join()
    assert harbour.spool.ids() == [blocks[3].id, blocks[4].id]


async def test_a_spool_that_stands_on_the_bus_whole_is_removed(harbour: Harbour) -> None:
    blocks = chain(5)
    await harbour.publish(blocks)
    harbour.spool.append(blocks[3:])
    await harbour.join()
    assert harbour.spool.is_empty


async def test_a_clock_far_behind_the_lane_is_refused(harbour: Harbour) -> None:
    blocks = chain(1)
    await harbour.publish(blocks)
    harbour.clock.step_wall(blocks[0].last_capture_ns - BEHIND_NS_MAX - harbour.clock.wall_ns())
    assert await harbour.join() is not None
    harbour.clock.step_wall(-1)
    with pytest.raises(LaneBrokenError, match="set the clock"):
        await harbour.join()


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(lambda state: replace(state, sealed_seq=3), id="sealed"),
        pytest.param(lambda state: replace(state, sealing=Sealing("s", 1, 1, 3, 9, "ab", 5)), id="about to be"),
    ],
)
async def test_a_stream_that_ends_before_what_is_sealed_is_waited_out(
    harbour: Harbour, claim: Callable[[LaneState], LaneState]
) -> None:
    blocks = chain(2)
    await harbour.publish(blocks)
    found = await harbour.bus.states.get(LANE)
    assert found is not None
    revision = await harbour.bus.states.update(LANE, claim(found.state), found.revision)
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(harbour.join())
        await asyncio.sleep(0.05)
        assert not joining.done()
        seed = replace(blocks[1], feeds=(), payload=b"")
        await harbour.bus.streams.create(LANE, 2, seed=seed)
        await harbour.bus.states.update(LANE, replace(found.state, epoch=2, sealed_seq=1), revision)
    joined = joining.result()
    assert joined is not None
    assert (joined.epoch, joined.stream_last) == (2, seed.id)


async def test_an_ended_stream_is_waited_out(harbour: Harbour) -> None:
    await harbour.publish(chain(2))
    await harbour.bus.streams.end(LANE, 1)
    shutdown = Shutdown()
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(harbour.join(shutdown))
        await asyncio.sleep(0.05)
        assert not joining.done()
        shutdown.request()
    assert joining.result() is None


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_spool_behind_blocks_that_the_bus_lost_follows_what_is_left(harbour: Harbour, left: int) -> None:
    blocks = chain(6)
    await harbour.publish(blocks[:left])
    harbour.spool.append(blocks[4:])
    joined = await harbour.join()
    stands = blocks[left - 1] if left else None
    assert joined is not None
    assert joined.lost == Lost(
        Relink(blocks[3].id, stands.id if stands else None),
        stands.last_capture_ns if stands else None,
        blocks[4].first_capture_ns,
    )
    assert harbour.spool.ids() == [blocks[4].id, blocks[5].id]


async def test_a_spool_behind_an_older_seed_follows_it(harbour: Harbour) -> None:
    seed = replace(block(1, after=None, boot="0lder"), feeds=(), payload=b"")
    await harbour.bus.states.create(LANE)
    await harbour.bus.streams.create(LANE, 1, seed=seed)
    found = await harbour.bus.states.get(LANE)
    assert found is not None
    await harbour.bus.states.update(LANE, replace(found.state, epoch=1, sealed_seq=1), found.revision)
    blocks = chain(6)
    harbour.spool.append(blocks[4:])
    joined = await harbour.join()
    assert joined is not None
    assert joined.lost == Lost(Relink(blocks[3].id, seed.id), seed.last_capture_ns, blocks[4].first_capture_ns)


async def test_it_waits_for_a_bus_that_is_away(harbour: Harbour) -> None:
    await harbour.publish(chain(1))
    harbour.server.go_away()
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(harbour.join())
        await asyncio.sleep(0.05)
        assert not joining.done()
        harbour.server.come_back()
    assert joining.result() is not None


async def test_waiting_ends_when_the_end_is_asked_for(harbour: Harbour) -> None:
    shutdown = Shutdown()
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(harbour.join(shutdown))
        await asyncio.sleep(0.05)
        shutdown.request()
    assert joining.result() is None
