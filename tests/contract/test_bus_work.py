"""The work queue, events and statuses: one suite for every bus."""

import asyncio

import pytest

from tests.contract.bus_world import eventually

SUBJECT = "segments.sealed.ccxt-binance-0of1.segment_20261122T17_00001"


@pytest.fixture
async def bus(world):
    return await world.bus()


@pytest.fixture
async def queue(bus):
    queue = await bus.work()
    yield queue
    await queue.close()


async def test_there_is_no_work_before_an_event(queue):
    assert await queue.claim(wait_s=0.1) is None
    backlog = await queue.backlog()
    assert (backlog.num_pending, backlog.num_ack_pending) == (0, 0)


async def test_an_event_is_claimed_once_and_gone_when_acknowledged(bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    assert (await queue.backlog()).num_pending == 1
    claim = await queue.claim(wait_s=5)
    assert (claim.subject, claim.payload, claim.num_delivered) == (SUBJECT, b"one", 1)
    assert (await queue.backlog()).num_ack_pending == 1
    assert await queue.claim(wait_s=0.2) is None
    await claim.in_progress()
    await claim.ack()
    backlog = await queue.backlog()
    assert (backlog.num_pending, backlog.num_ack_pending) == (0, 0)


async def test_an_event_with_an_id_that_was_seen_is_stored_once(bus, queue):
    for _ in range(3):
        await bus.events.publish(SUBJECT, b"one", message_id="1")
    assert (await queue.backlog()).num_pending == 1


async def test_work_given_back_is_delivered_again_and_counted(bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    for delivery in (1, 2, 3):
        claim = await queue.claim(wait_s=5)
        assert claim.num_delivered == delivery
        await claim.nak(0)


async def test_work_given_back_with_a_delay_comes_no_earlier(bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    await (await queue.claim(wait_s=5)).nak(0.5)
    assert await queue.claim(wait_s=0.2) is None
    assert (await queue.claim(wait_s=5)).num_delivered == 2


async def test_terminated_work_never_comes_again(bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    await (await queue.claim(wait_s=5)).term()
    assert await queue.claim(wait_s=0.2) is None
    assert (await queue.backlog()).num_ack_pending == 0


async def test_two_workers_share_the_work_without_overlap(world, bus):
    first, second = await bus.work(), await (await world.bus()).work()
    for n in range(10):
        await bus.events.publish(f"{SUBJECT}{n}", b"%d" % n, message_id=str(n))
    claims = [await queue.claim(wait_s=5) for _ in range(5) for queue in (first, second)]
    assert sorted(claim.payload for claim in claims) == [b"%d" % n for n in range(10)]
    await first.close()
    await second.close()


async def test_a_claim_waits_for_work_to_come(bus, queue):
    waiting = asyncio.ensure_future(queue.claim(wait_s=10))
    await bus.events.publish(SUBJECT, b"late", message_id="1")
    assert (await asyncio.wait_for(waiting, 5)).payload == b"late"


async def test_work_survives_the_bus_going_away(world, bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    await world.go_away()
    assert await queue.claim(wait_s=0.1) is None
    await world.come_back()
    await eventually(lambda: bus.connected)
    claim = await queue.claim(wait_s=10)
    assert claim.payload == b"one"
    await claim.ack()


async def test_statuses_hold_the_newest_word_of_each_subject_heard(bus):
    listening = asyncio.ensure_future(bus.statuses(wait_s=0.5))
    said = 0
    while not listening.done():
        said += 1
        await bus.events.announce("status.collector.ccxt-binance-0of1", b"%d" % said)
        await bus.events.announce("status.segmenter.0", b"up")
        await bus.events.announce("live.ccxt.binance.ticker.BTC-USDT", b"{}")
        await asyncio.sleep(0.02)
    heard = await listening
    assert set(heard) == {"status.collector.ccxt-binance-0of1", "status.segmenter.0"}
    assert heard["status.segmenter.0"] == b"up"
    assert said - 3 <= int(heard["status.collector.ccxt-binance-0of1"]) <= said


async def test_an_announcement_nobody_hears_is_no_error(world, bus):
    await bus.events.announce("status.segmenter.0", b"up")
    await world.go_away()
    await bus.events.announce("status.segmenter.0", b"up")
    await world.come_back()


async def test_a_healthy_bus_does_not_fail(bus):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bus.failed(), 0.1)
    await bus.close()
