"""The backlog on a stream that loses messages under its consumer, and on a consumer made anew."""

import asyncio

import pytest

from fluxforge.adapters.jetstream.provision import provision

SUBJECT = "segments.sealed.ccxt-binance-0of1.segment_20261122T17_0000"


@pytest.fixture
async def queue(bus):
    """A queue of five events: two acknowledged, the third claimed."""
    queue = await bus.work()
    await publish(bus, 1, 5)
    for _ in range(2):
        await (await queue.claim(wait_s=60)).ack()
    await queue.claim(wait_s=60)
    assert await left(queue) == (2, 1)
    yield queue
    await queue.close()


async def publish(bus, first, last):
    for n in range(first, last + 1):
        await bus.events.publish(f"{SUBJECT}{n}", b"%d" % n, message_id=str(n))


async def left(queue):
    backlog = await queue.backlog()
    return backlog.num_pending, backlog.num_ack_pending


async def until_left(queue, expected):
    """Wait for what the server does by itself, such as expiring; without asking for a delivery."""
    async with asyncio.timeout(60):
        while await left(queue) != expected:  # noqa: ASYNC110 - a server has no event for us
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("below_seq", [2, 3, 4])
async def test_a_purge_of_what_was_delivered_leaves_what_was_not(bus, queue, below_seq):
    await bus._api.call("STREAM.PURGE.SEGMENTS", {"seq": below_seq})
    assert (await left(queue))[0] == 2


async def test_what_was_purged_before_its_delivery_is_not_waited_for(bus, queue):
    await bus._api.call("STREAM.PURGE.SEGMENTS", {"seq": 5})
    await until_left(queue, (1, 0))
    assert (await queue.claim(wait_s=60)).payload == b"5"
    assert await left(queue) == (0, 1)


async def test_a_purge_of_everything_leaves_nothing_and_what_comes_then_counts(bus, queue):
    await bus._api.call("STREAM.PURGE.SEGMENTS")
    await until_left(queue, (0, 0))
    await publish(bus, 6, 7)
    assert (await left(queue))[0] == 2
    for expected in (b"6", b"7"):
        claim = await queue.claim(wait_s=60)
        assert claim.payload == expected
        await claim.ack()
    assert await left(queue) == (0, 0)


async def test_what_expires_before_its_delivery_is_not_waited_for(bus, queue):
    config = (await bus._api.stream_info("SEGMENTS"))["config"]
    brief = {**config, "max_age": 100_000_000, "duplicate_window": 100_000_000}
    await bus._api.call("STREAM.UPDATE.SEGMENTS", brief)
    await until_left(queue, (0, 0))
    await bus._api.call("STREAM.UPDATE.SEGMENTS", {**config, "max_age": 3600 * 10**9})
    await publish(bus, 6, 6)
    assert (await left(queue))[0] == 1


async def test_what_a_full_stream_let_go_is_not_waited_for(bus, queue):
    config = (await bus._api.stream_info("SEGMENTS"))["config"]
    await bus._api.call("STREAM.UPDATE.SEGMENTS", {**config, "max_msgs": 3})
    await publish(bus, 6, 9)
    assert (await left(queue))[0] == 3
    assert (await queue.claim(wait_s=60)).payload == b"7"
    assert (await left(queue))[0] == 2


async def test_a_consumer_made_anew_has_everything_that_stands_there_before_it(options, bus, queue):
    await bus._api.call("STREAM.PURGE.SEGMENTS", {"seq": 2})
    await bus._api.call("CONSUMER.DELETE.SEGMENTS.etl")
    await provision(options)
    assert await left(queue) == (4, 0)
    assert (await queue.claim(wait_s=60)).payload == b"2"
    assert await left(queue) == (3, 1)


async def test_a_stream_made_anew_begins_with_nothing(options, bus, queue):
    await bus._api.call("STREAM.DELETE.SEGMENTS")
    await provision(options)
    assert await left(queue) == (0, 0)
    await publish(bus, 6, 6)
    assert await left(queue) == (1, 0)
