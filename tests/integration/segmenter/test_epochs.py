"""The true process on a bus that loses streams, consumers, buckets, or everything."""

import asyncio
import os
import shutil
import signal

import pytest

from fluxforge.adapters.jetstream import BusOptions
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.control import Event
from tests.integration.segmenter.processes import PATIENCE_S, Rig, lease_ttl_s, rig, until
from tests.traffic import LANE, Traffic, content, manifests

__all__ = ["lease_ttl_s", "rig"]
pytestmark = pytest.mark.timeout(300)
NOTICED_S = 30.0


def lines(rig: Rig) -> bytes:
    """Return everything that is sealed, in order."""
    return b"".join(content(rig.data, manifest) for manifest in manifests(rig.data))


def payload(blocks: list[Block]) -> bytes:
    """Return the lines of blocks."""
    return b"".join(block.payload for block in blocks)


async def until_epoch(rig: Rig, epoch: int, *, deadline_s: float = PATIENCE_S) -> None:
    """Wait until the lane is in an epoch."""

    async def is_there() -> bool:
        found = await rig.bus.states.get(LANE)
        return found is not None and found.state.epoch == epoch

    await until(is_there, deadline_s=deadline_s)


async def goes_on(rig: Rig, traffic: Traffic, after: BlockId, *, epoch: int) -> list[Block]:
    """Publish behind the seed of an epoch as a collector does, and wait until that is sealed."""
    last = await rig.bus.streams.last(LANE, epoch)
    assert last is not None
    assert (last.block.id, last.block.records) == (after, 0)
    other = Traffic(boot="after", after=after, capture_ns=traffic.capture_ns)
    await other.publish(rig.bus, [other.block() for _ in range(3)], epoch=epoch)
    await rig.until_sealed(4)
    return other.published


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_deleted_stream_is_noticed_and_the_lane_goes_on_in_a_new_epoch(
    rig: Rig,
    is_replaced: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    traffic = Traffic()
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(5)])
        await rig.until_sealed(5)
        await rig.bus.streams.delete(LANE, 1)
        if is_replaced:  # fewer messages than the consumer of before waits for
            await rig.bus.streams.create(LANE, 1)
        await until_epoch(rig, 2, deadline_s=NOTICED_S)
        kept = await goes_on(rig, traffic, traffic.published[-1].id, epoch=2)
        await rig.drain(process)
    assert lines(rig) == payload([*traffic.published, *kept])
    assert [manifest.epoch for manifest in manifests(rig.data)][-1] == 2


async def test_a_stream_that_was_ended_is_sealed_to_its_end_before_the_next_is_opened(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter() as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(5)])
        process.kill()
        await process.wait()
    await rig.bus.streams.end(LANE, 1)
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await until_epoch(rig, 2)
        kept = await goes_on(rig, traffic, traffic.published[-1].id, epoch=2)
        await rig.drain(process)
    assert lines(rig) == payload([*traffic.published, *kept])


async def test_a_bus_that_lost_everything_under_it_ends_it_and_its_successor_goes_on(rig: Rig) -> None:
    traffic = Traffic()
    options = BusOptions(servers=(rig.url,), lease_ttl_s=rig.lease_ttl_s)
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(5)])
        await rig.until_sealed(5)
        os.kill(rig.server.pid, signal.SIGKILL)
        for folder in rig.data.parent.rglob("jetstream"):
            shutil.rmtree(folder)
        await rig.server.start()
        await provision(options)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 1
    await rig.bus.states.create(LANE)
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await until_epoch(rig, 2)
        kept = await goes_on(rig, traffic, traffic.published[-1].id, epoch=2)
        await rig.drain(process)
    assert lines(rig) == payload([*traffic.published, *kept])
    names = [manifest.name for manifest in manifests(rig.data)]
    assert names == sorted(set(names))


async def test_an_emptied_bucket_ends_it_and_its_successor_goes_on_in_the_same_stream(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(5)])
        await rig.until_sealed(5)
        await rig.bus._api.call("STREAM.PURGE.KV_lanes")
        await rig.bus._api.call("STREAM.PURGE.KV_leases")
        await traffic.publish(rig.bus, [traffic.block() for _ in range(2)])
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 1
    async with rig.segmenter(segment_max_age_seconds=1) as process:  # nobody made the key again

        async def is_sealed() -> bool:
            found = await rig.bus.states.get(LANE)
            return found is not None and found.state.sealed_seq == 7

        await until(is_sealed)
        await rig.drain(process)
    assert lines(rig) == payload(traffic.published)
    assert (await rig.state()).epoch == 1


async def test_a_deleted_consumer_costs_neither_blocks_nor_a_storm_of_requests(rig: Rig) -> None:
    traffic = Traffic()
    stream = LANE.stream(1)
    creations: list[str] = []
    await rig.bus._connection.subscribe(
        f"$JS.API.CONSUMER.CREATE.{stream}.>", lambda message: creations.append(message.subject)
    )
    await rig.bus._connection.subscribe(
        f"$JS.API.CONSUMER.CREATE.{stream}", lambda message: creations.append(message.subject)
    )
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await rig.until_open()
        deleted = 0
        for _ in range(5):
            await traffic.publish(rig.bus, [traffic.block() for _ in range(3)])
            for name in (await rig.bus._api.call(f"CONSUMER.NAMES.{stream}"))["consumers"]:
                await rig.bus._api.call(f"CONSUMER.DELETE.{stream}.{name}")
                deleted += 1
        assert deleted
        await rig.until_sealed(15)
        await rig.drain(process)
    assert 1 <= len(creations) <= deleted + 2, creations
    assert lines(rig) == payload(traffic.published)


async def test_what_the_stream_lost_from_its_middle_is_a_hole(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter() as process:
        await rig.until_open()
        process.kill()
        await process.wait()
    await traffic.publish(rig.bus, [traffic.block() for _ in range(6)])
    config = (await rig.bus._api.stream_info(LANE.stream(1)) or {})["config"]
    await rig.bus._api.call(f"STREAM.PURGE.{LANE.stream(1)}", {"seq": 3})
    assert config["deny_delete"]
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await rig.until_sealed(6)
        await rig.drain(process)
    (manifest,) = manifests(rig.data)
    assert (manifest.first, manifest.last, manifest.holes) == (1, 6, ((1, 2),))
    assert lines(rig) == payload(traffic.published[2:])


async def test_a_closed_lane_leaves_the_bus_and_comes_back_with_its_collector(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter(segment_max_age_seconds=1, nats__bus_grace_seconds=0) as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block(), traffic.control(Event.LANE_CLOSED)])
        await rig.until_sealed(2)
        await rig.drain(process)

    async def is_gone() -> bool:
        return not await rig.bus.states.lanes() and not await rig.bus.streams.lanes()

    await rig.bus.streams.end(LANE, 1)  # what closing does first; else it comes with the next look after a minute
    async with rig.segmenter(segment_max_age_seconds=1, nats__bus_grace_seconds=0) as process:
        await until(is_gone)
        await rig.bus.states.create(LANE)
        await until_epoch(rig, 2)
        kept = await goes_on(rig, traffic, traffic.published[-1].id, epoch=2)
        await rig.drain(process)
    assert lines(rig) == payload([*traffic.published, *kept])
