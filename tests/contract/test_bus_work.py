"""The work queue, events and statuses: one suite for every bus."""

import asyncio
import time

import pytest

from fluxforge.ports.bus import Announcement
from tests.contract.bus_world import eventually

SUBJECT = "segments.sealed.ccxt-binance-0of1.segment_20261122T17_00001"
CLAIM_S = 60.0  # how long a claim that must succeed may take


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
    claim = await queue.claim(wait_s=CLAIM_S)
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
        claim = await queue.claim(wait_s=CLAIM_S)
        assert claim.num_delivered == delivery
        await claim.nak(0)


async def test_work_given_back_with_a_delay_comes_no_earlier(bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    claim = await queue.claim(wait_s=CLAIM_S)
    begun_s = time.monotonic()
    await claim.nak(0.5)
    assert (await queue.claim(wait_s=CLAIM_S)).num_delivered == 2
    assert time.monotonic() - begun_s > 0.49


async def test_terminated_work_never_comes_again(bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    await (await queue.claim(wait_s=CLAIM_S)).term()
    assert await queue.claim(wait_s=0.2) is None
    assert (await queue.backlog()).num_ack_pending == 0


async def test_the_backlog_tells_since_when_the_oldest_of_what_is_left_waits(bus, queue):
    assert (await queue.backlog()).oldest_ns is None
    announced = []
    for n in range(3):
        announced.append(time.time_ns())
        await bus.events.publish(f"{SUBJECT}{n}", b"", message_id=str(n))
    announced.append(time.time_ns())
    claims = [await queue.claim(wait_s=CLAIM_S) for _ in range(2)]
    await claims[1].ack()
    assert announced[0] - 1_000 <= (await queue.backlog()).oldest_ns <= announced[1]
    await claims[0].ack()
    assert announced[2] - 1_000 <= (await queue.backlog()).oldest_ns <= announced[3], "undelivered, and the oldest"
    await (await queue.claim(wait_s=CLAIM_S)).ack()
    assert (await queue.backlog()).oldest_ns is None


async def test_two_workers_share_the_work_without_overlap(world, bus):
    first, second = await bus.work(), await (await world.bus()).work()
    for n in range(10):
        await bus.events.publish(f"{SUBJECT}{n}", b"%d" % n, message_id=str(n))
    claims = [await queue.claim(wait_s=CLAIM_S) for _ in range(5) for queue in (first, second)]
    assert sorted(claim.payload for claim in claims) == [b"%d" % n for n in range(10)]
    await first.close()
    await second.close()


async def test_a_claim_waits_for_work_to_come(bus, queue):
    waiting = asyncio.ensure_future(queue.claim(wait_s=CLAIM_S))
    await bus.events.publish(SUBJECT, b"late", message_id="1")
    assert (await asyncio.wait_for(waiting, CLAIM_S)).payload == b"late"


async def test_work_survives_the_bus_going_away(world, bus, queue):
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    await world.go_away()
    assert await queue.claim(wait_s=0.1) is None
    await world.come_back()
    await eventually(lambda: bus.connected)
    claim = await queue.claim(wait_s=CLAIM_S)
    assert claim.payload == b"one"
    await claim.ack()


async def test_an_announcement_is_due_from_its_event_until_its_work_is_settled(bus, queue):
    assert await queue.announcement(SUBJECT) == Announcement(0, is_due=False)
    await bus.events.publish(SUBJECT, b"one", message_id="1")
    await bus.events.publish(f"{SUBJECT}1", b"two", message_id="2")
    assert await queue.announcement(SUBJECT) == Announcement(1, is_due=True)
    claim = await queue.claim(wait_s=CLAIM_S)
    await claim.nak(0)
    assert await queue.announcement(SUBJECT) == Announcement(1, is_due=True)
    claims = [await queue.claim(wait_s=CLAIM_S) for _ in range(2)]
    await next(claim for claim in claims if claim.payload == b"one").ack()
    assert await queue.announcement(SUBJECT) == Announcement(1, is_due=False)
    assert await queue.announcement(f"{SUBJECT}1") == Announcement(2, is_due=True)
    await next(claim for claim in claims if claim.payload == b"two").term()
    assert await queue.announcement(f"{SUBJECT}1") == Announcement(2, is_due=False)
    await bus.events.publish(SUBJECT, b"again", message_id="3")
    assert await queue.announcement(SUBJECT) == Announcement(3, is_due=True)


async def test_statuses_hold_the_newest_word_of_each_subject_heard(bus):
    heard, said = {}, 0
    async with asyncio.timeout(60):
        # The first word heard is one of the first said; how far behind the last one said lags is the machine's matter.
        while int(heard.get("status.collector.ccxt-binance-0of1", 0)) <= said / 2:
            listening, said = asyncio.ensure_future(bus.statuses(wait_s=0.5)), 0
            while not listening.done():
                said += 1
                await bus.events.announce("status.collector.ccxt-binance-0of1", b"%d" % said)
                await bus.events.announce("status.segmenter.0", b"up")
                await bus.events.announce("live.ccxt.binance.ticker.BTC-USDT", b"{}")
                await asyncio.sleep(0.02)
            heard = await listening
            assert set(heard) <= {"status.collector.ccxt-binance-0of1", "status.segmenter.0"}
    assert set(heard) == {"status.collector.ccxt-binance-0of1", "status.segmenter.0"}
    assert heard["status.segmenter.0"] == b"up"


async def test_commits_are_heard_by_whoever_listens_and_nothing_else(bus):
    heard, number = {}, 0
    async with asyncio.timeout(60):
        while not heard:
            listening = asyncio.ensure_future(bus.commits(wait_s=0.5))
            while not listening.done():
                number += 1
                subject = f"parts.committed.ccxt-binance-0of1.segment_{number}"
                await bus.events.publish(subject, b"%d" % number, message_id=subject)
                await bus.events.announce("status.segmenter.0", b"up")
                await asyncio.sleep(0.02)
            heard = await listening
    assert all(subject.endswith(f"_{int(payload)}") for subject, payload in heard.items())
    assert {subject.rpartition(".")[0] for subject in heard} == {"parts.committed.ccxt-binance-0of1"}


async def test_an_announcement_nobody_hears_is_no_error(world, bus):
    await bus.events.announce("status.segmenter.0", b"up")
    await world.go_away()
    await bus.events.announce("status.segmenter.0", b"up")
    await world.come_back()


async def test_a_healthy_bus_does_not_fail(bus):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bus.failed(), 0.1)
    await bus.close()


async def left(queue):
    backlog = await queue.backlog()
    return backlog.num_pending, backlog.num_ack_pending


async def test_an_event_is_in_the_backlog_as_soon_as_it_is_stored(bus, queue):
    for n in range(1, 201):  # a count that lags does so now and then
        await bus.events.publish(f"{SUBJECT}{n}", b"", message_id=str(n))
        assert await left(queue) == (n, 0)


async def test_the_backlog_falls_with_every_claim_and_every_end_of_one(bus, queue):
    for n in range(10):
        await bus.events.publish(f"{SUBJECT}{n}", b"", message_id=str(n))
    claims = []
    for n in range(1, 11):
        claims.append(await queue.claim(wait_s=CLAIM_S))
        assert await left(queue) == (10 - n, n)
    for n, claim in enumerate(claims, 1):
        await (claim.term() if n % 3 == 0 else claim.ack())
        assert await left(queue) == (0, 10 - n)
    await bus.events.publish(f"{SUBJECT}10", b"", message_id="10")
    assert await left(queue) == (1, 0)


async def test_work_given_back_stays_in_the_backlog_until_it_is_done(bus, queue):
    for n in range(3):
        await bus.events.publish(f"{SUBJECT}{n}", b"", message_id=str(n))
    await (await queue.claim(wait_s=CLAIM_S)).nak(0)
    assert await left(queue) == (2, 1)
    for _ in range(3):
        await (await queue.claim(wait_s=CLAIM_S)).ack()
    assert await left(queue) == (0, 0)


async def test_the_backlog_is_of_all_workers_together(world, bus, queue):
    other = await (await world.bus()).work()
    for n in range(4):
        await bus.events.publish(f"{SUBJECT}{n}", b"", message_id=str(n))
    mine, theirs = await queue.claim(wait_s=CLAIM_S), await other.claim(wait_s=CLAIM_S)
    assert await left(queue) == await left(other) == (2, 2)
    await mine.ack()
    await theirs.term()
    assert await left(queue) == await left(other) == (2, 0)
    await other.close()


async def test_a_backlog_nobody_has_begun_survives_the_bus_going_away(world, bus, queue):
    for n in range(3):
        await bus.events.publish(f"{SUBJECT}{n}", b"", message_id=str(n))
    await world.go_away()
    await world.come_back()
    await eventually(lambda: bus.connected)
    assert await left(queue) == (3, 0)
