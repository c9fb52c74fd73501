"""Every block once and in order in the stream, whatever happens to acknowledgements, connections and the server."""

import asyncio
import dataclasses
import os
import random
import signal

import nats
import pytest

from fluxforge.adapters.jetstream import connect
from fluxforge.domain.block import MSG_ID, BlockId
from fluxforge.domain.errors import BlocksLostError, BlockTooLargeError, FencedError, LaneMovedError
from tests.contract.bus_world import LANE, block, eventually, publish_all, read_up_to
from tests.fault_proxy import fault_proxy
from tests.servers import MAX_PAYLOAD

pytestmark = pytest.mark.timeout(300)


async def stored_ns(bus):
    """The block numbers in the stream, read by a reader of its own, in the order they stand there."""
    reader = bus.reader(LANE, 1, from_seq=1)
    got = await read_up_to(reader, (await bus.streams.info(LANE, 1)).last_seq)
    await reader.close()
    return [each.block.id.n for each in got]


async def stored_up_to(bus, seq):
    async with asyncio.timeout(60):
        while (await bus.streams.info(LANE, 1)).last_seq < seq:  # noqa: ASYNC110 - a server has no event for us
            await asyncio.sleep(0.01)


def sized(n):
    return block(n, payload=random.Random(n).randbytes(random.Random(n).choice((10, 1000, 60_000))))


async def test_a_server_killed_again_and_again_under_load_keeps_each_block_once_in_order(nats_server, options, bus):
    watcher = await connect(options, name="reader")
    reader = watcher.reader(LANE, 1, from_seq=1)
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=32)
    count, got = 400, []

    async def publish():
        for n in range(1, count + 1):
            await publisher.publish(sized(n))
            await asyncio.sleep(0.002)
        assert await publisher.settle(timeout_s=60)

    async def disturb():
        for after in (30, 100, 180, 260):
            await eventually(lambda after=after: publisher.acked is not None and publisher.acked.n > after)
            os.kill(nats_server.pid, signal.SIGKILL)
            await nats_server.start()

    async def read():
        got.extend(await read_up_to(reader, count, deadline_s=90))

    await asyncio.gather(publish(), disturb(), read())
    assert [each.block.id.n for each in got] == list(range(1, count + 1))
    assert [each.block for each in got] == [sized(n) for n in range(1, count + 1)]
    assert (await bus.streams.info(LANE, 1)).last_seq == count
    await reader.close()
    await watcher.close()


async def test_lost_acknowledgements_store_nothing_twice(nats_server, options, bus):
    async with fault_proxy(nats_server.url) as proxy:
        faulty = await connect(dataclasses.replace(options, servers=(proxy.url,)), name="faulty")
        publisher = await faulty.publisher(LANE, 1, after=None, window_blocks=16)
        await publish_all(publisher, [block(1)])
        for round_ in range(3):
            proxy.hold_answers()
            first = publisher.acked.n + 1
            for n in range(first, first + 10):
                await publisher.publish(block(n))
            await stored_up_to(bus, first + 9 - 5 * round_)
            assert publisher.acked.n == first - 1
            proxy.cut()
            proxy.release_answers()
            assert await publisher.settle(timeout_s=60)
        assert await stored_ns(bus) == list(range(1, 32))
        await publisher.close()
        await faulty.close()


async def test_acknowledgements_that_come_after_their_deadline_do_no_harm(nats_server, options, bus):
    async with fault_proxy(nats_server.url) as proxy:
        faulty = await connect(dataclasses.replace(options, servers=(proxy.url,)), name="faulty")
        publisher = await faulty.publisher(LANE, 1, after=None, window_blocks=16)
        publisher._ack_s = 0.2
        await publish_all(publisher, [block(1)])
        proxy.hold_answers()
        for n in range(2, 12):
            await publisher.publish(block(n))
        await eventually(lambda: publisher._trouble is not None)
        for n in range(12, 15):
            await publisher.publish(block(n))
        proxy.release_answers()
        assert await publisher.settle(timeout_s=60)
        await publish_all(publisher, [block(15)])
        assert await stored_ns(bus) == list(range(1, 16))
        await publisher.close()
        await faulty.close()


async def test_a_purge_while_publishing_and_a_restart_that_forgets_ids_store_nothing_twice(nats_server, options, bus):
    async with fault_proxy(nats_server.url) as proxy:
        faulty = await connect(dataclasses.replace(options, servers=(proxy.url,)), name="faulty")
        publisher = await faulty.publisher(LANE, 1, after=None, window_blocks=16)
        await publish_all(publisher, [block(n) for n in range(1, 11)])
        proxy.hold_answers()
        for n in range(11, 16):
            await publisher.publish(block(n))
        await stored_up_to(bus, 15)
        await bus.streams.purge(LANE, 1, below_seq=15)  # the ids of what is unacknowledged go with it
        os.kill(nats_server.pid, signal.SIGKILL)
        await nats_server.start()
        proxy.release_answers()
        assert await publisher.settle(timeout_s=60)
        await publish_all(publisher, [block(n) for n in range(16, 20)])
        await eventually(lambda: bus.connected)
        info = await bus.streams.info(LANE, 1)
        assert (info.first_seq, info.last_seq) == (15, 19)
        reader = bus.reader(LANE, 1, from_seq=15)
        assert [each.block.id.n for each in await read_up_to(reader, 19)] == list(range(15, 20))
        await reader.close()
        await publisher.close()
        await faulty.close()


async def test_a_full_stream_is_asked_with_one_block_whether_it_still_is(nats_server, options):
    small = await connect(dataclasses.replace(options, lane_max_bytes=1_000_000), name="small")
    await small.streams.create(LANE, 1)
    listener = await nats.connect(nats_server.url)
    sent = []

    async def note(message):
        sent.append(BlockId.parse(message.headers[MSG_ID]).n)

    await listener.subscribe(LANE.subject(1), cb=note)
    await listener.flush()
    publisher = await small.publisher(LANE, 1, after=None, window_blocks=8)
    big = b"x" * 200_000
    await publish_all(publisher, [block(n, payload=big) for n in range(1, 5)])
    for n in range(5, 8):
        await publisher.publish(block(n, payload=big))
    await eventually(lambda: sent.count(5) >= 4)
    assert max(sent.count(6), sent.count(7)) <= 1
    await small.streams.purge(LANE, 1, below_seq=5)
    assert await publisher.settle(timeout_s=60)
    await eventually(lambda: sent[-3:] == [5, 6, 7])
    await listener.close()
    await small.close()


async def test_purging_all_the_time_disturbs_neither_publisher_nor_reader(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    reader = bus.reader(LANE, 1, from_seq=1)
    got = []

    async def read_and_purge():
        while not got or got[-1].stream_seq < 300:
            got.extend(await reader.fetch(blocks_max=8, wait_s=1))
            await bus.streams.purge(LANE, 1, below_seq=got[-1].stream_seq + 1)

    await asyncio.gather(publish_all(publisher, [block(n) for n in range(1, 301)]), read_and_purge())
    assert [each.block.id.n for each in got] == list(range(1, 301))
    await reader.close()


async def test_a_bus_that_lost_acknowledged_blocks_stops_the_lane(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(publisher, [block(n) for n in range(1, 6)])
    await bus._api.call(f"STREAM.DELETE.{LANE.stream(1)}")
    await bus.streams.create(LANE, 1)
    await bus._api.store(LANE.subject(1), b"", block(1).headers())
    await publisher.publish(block(6))
    with pytest.raises(BlocksLostError, match="lost acknowledged blocks: b00t:5 at 5, now b00t:1 at sequence 1"):
        await publisher.settle(timeout_s=60)
    assert [each.id.n for each in publisher.unacked] == [6]


async def test_the_first_block_of_a_publisher_does_not_follow_a_stranger_that_came_since(bus):
    first = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(first, [block(1)])
    late = await bus.publisher(LANE, 1, after=block(1).id, window_blocks=16)
    await publish_all(first, [block(2)])
    await late.publish(dataclasses.replace(block(1, boot="2nd"), after=block(1).id))
    with pytest.raises(FencedError, match="b00t:2"):
        await late.settle(timeout_s=60)
    assert (await bus.streams.info(LANE, 1)).last_seq == 2


@pytest.mark.parametrize("end", ["deleted", "sealed"])
async def test_a_stream_that_ends_stops_the_lane_and_keeps_the_window(bus, end):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(publisher, [block(1)])
    if end == "deleted":
        await bus._api.call(f"STREAM.DELETE.{LANE.stream(1)}")
    else:
        config = (await bus._api.stream_info(LANE.stream(1)))["config"]
        await bus._api.call(f"STREAM.UPDATE.{LANE.stream(1)}", {**config, "sealed": True})
    await publisher.publish(block(2))
    with pytest.raises(LaneMovedError, match="does not exist" if end == "deleted" else "is sealed"):
        await publisher.failed()
    assert [each.id.n for each in publisher.unacked] == [2]


async def test_acknowledgements_that_overtake_the_answer_about_the_stream_are_believed(nats_server, bus, monkeypatch):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(publisher, [block(1), block(2)])
    asked, go_on = asyncio.Event(), asyncio.Event()
    ask = publisher._api.message

    async def answer_late(stream, query):
        answer = await ask(stream, query)
        asked.set()
        await go_on.wait()
        return answer

    monkeypatch.setattr(publisher._api, "message", answer_late)
    publisher._stumble(0)
    await asked.wait()  # the answer says that the stream ends with 2
    for n in range(3, 6):
        await publisher.publish(block(n))  # not sent: the attempt has ended
    client = await nats.connect(nats_server.url)
    for entry in publisher._window:  # what an attempt before had on its way arrives, and is acknowledged, only now
        headers = {**entry.headers, "Nats-Expected-Last-Sequence": str(entry.seq - 1)}
        await client.publish(LANE.subject(1), entry.block.payload, f"{publisher._inbox}.0.{entry.seq}", headers)
    await eventually(lambda: publisher.acked.n == 5)
    go_on.set()
    await publish_all(publisher, [block(6)])
    assert await stored_ns(bus) == list(range(1, 7))
    await client.close()


@pytest.mark.parametrize("count", [1, 3])
async def test_a_block_of_exactly_the_largest_size_is_stored_and_one_more_byte_is_never_sent(options, count):
    bus = await connect(options, name="large")
    await bus.streams.create(LANE, 1)
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(publisher, [block(n) for n in range(1, count + 1)])

    def of_size(size):
        return block(count + 1, payload=b"x" * size)

    size = MAX_PAYLOAD
    while True:
        try:
            publisher._check_size(of_size(size), of_size(size).headers())
            break
        except BlockTooLargeError as error:
            size -= error.size_bytes - error.size_bytes_max
    with pytest.raises(BlockTooLargeError):
        await publisher.publish(of_size(size + 1))
    assert not publisher.unacked
    await publish_all(publisher, [of_size(size)])
    last = await bus.streams.last(LANE, 1)
    assert (last.stream_seq, len(last.block.payload)) == (count + 1, size)
    assert bus._connection.client.stats["reconnects"] == 0
    assert MAX_PAYLOAD - size < 1000  # the guard takes no more than the headers need
    await bus.close()


@pytest.mark.parametrize("end", ["newer epoch", "short of what is sealed"])
async def test_a_lane_that_went_on_without_us_is_found_out_before_anything_is_published(nats_server, bus, end):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(publisher, [block(n) for n in range(1, 4)])
    await bus.states.create(LANE)
    found = await bus.states.get(LANE)
    changes = {"epoch": 2} if end == "newer epoch" else {"epoch": 1, "sealed_seq": 4}
    await bus.states.update(LANE, dataclasses.replace(found.state, **changes), found.revision)
    os.kill(nats_server.pid, signal.SIGKILL)
    await eventually(lambda: not bus.connected)
    await publisher.publish(block(4))
    await nats_server.start()
    with pytest.raises(LaneMovedError):
        await publisher.failed()
    await eventually(lambda: bus.connected)
    assert (await bus.streams.info(LANE, 1)).last_seq == 3
    assert [each.id.n for each in publisher.unacked] == [4]
