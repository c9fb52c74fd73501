"""The reader against consumers and streams that change underneath it."""

import os
import shutil
import signal

import pytest

from fluxforge.domain.errors import LaneBrokenError
from tests.contract.bus_world import LANE, block, eventually, publish_all, read_up_to

pytestmark = pytest.mark.usefixtures("publisher")


@pytest.fixture
async def publisher(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(publisher, [block(n) for n in range(1, 11)])
    return publisher


@pytest.fixture
async def reader(bus):
    reader = bus.reader(LANE, 1, from_seq=1)
    yield reader
    await reader.close()


async def consumers(bus):
    return (await bus._api.call(f"CONSUMER.NAMES.{LANE.stream(1)}"))["consumers"]


async def test_a_deleted_consumer_is_replaced_at_the_right_sequence(bus, publisher, reader):
    got = await read_up_to(reader, 10)
    for name in await consumers(bus):
        await bus._api.call(f"CONSUMER.DELETE.{LANE.stream(1)}.{name}")
    await publish_all(publisher, [block(n) for n in range(11, 21)])
    got += await read_up_to(reader, 20)
    assert [each.stream_seq for each in got] == list(range(1, 21))


async def test_a_consumer_that_fell_silent_is_replaced(publisher, reader):
    got = await read_up_to(reader, 10)
    await reader._subscription.unsubscribe()  # its deliveries go nowhere, and nobody says so
    await publish_all(publisher, [block(11)])
    got += await read_up_to(reader, 11)
    assert [each.stream_seq for each in got] == list(range(1, 12))


async def test_a_delivery_that_was_lost_on_the_way_is_read_again(reader):
    on_message, lost = reader._on_message, []

    def lose_the_fifth(message):
        if len(lost) == 0 and message.reply and reader._next_seq + len(reader._arrived) == 5:
            lost.append(message)
        else:
            on_message(message)

    reader._on_message = lose_the_fifth
    got = await read_up_to(reader, 10)
    assert lost
    assert [(each.stream_seq, each.block.id.n) for each in got] == [(n, n) for n in range(1, 11)]


async def test_a_restart_in_the_middle_of_a_wait_does_not_cost_the_wait(nats_server, bus, publisher, reader):
    await read_up_to(reader, 10)
    os.kill(nats_server.pid, signal.SIGKILL)
    await eventually(lambda: not bus.connected)
    await nats_server.start()
    await publisher.publish(block(11))
    got = await reader.fetch(blocks_max=5, wait_s=60)
    assert [each.stream_seq for each in got] == [11]


async def test_a_stream_made_anew_under_the_same_name_is_not_mistaken_for_the_old(bus, reader):
    await read_up_to(reader, 10)
    await bus._api.call(f"STREAM.DELETE.{LANE.stream(1)}")
    await bus.streams.create(LANE, 1)
    again = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(again, [block(n, boot="2nd") for n in range(1, 15)])
    with pytest.raises(LaneBrokenError, match="created anew"):
        await read_up_to(reader, 11)


async def test_a_stream_that_lost_its_end_and_holds_another_block_there_is_told_from_what_was_read(
    nats_server, bus, publisher, reader, tmp_path
):
    kept = tmp_path / "before"
    await nats_server.stop()
    shutil.copytree(nats_server._dir / "jetstream", kept)
    await nats_server.start()
    await publish_all(publisher, [block(11)])
    await publisher.close()
    assert len(await read_up_to(reader, 11)) == 11
    await nats_server.stop()
    shutil.rmtree(nats_server._dir / "jetstream")
    shutil.copytree(kept, nats_server._dir / "jetstream")
    await nats_server.start()
    await eventually(lambda: bus.connected)
    other = await bus.publisher(LANE, 1, after=None, window_blocks=16)
    await publish_all(other, [block(11, payload=b"something else")])
    with pytest.raises(LaneBrokenError, match="holds another block at 11 than was read there"):
        await read_up_to(reader, 12)


async def test_a_block_deleted_from_the_middle_is_named(bus, reader):
    config = (await bus._api.stream_info(LANE.stream(1)))["config"]
    assert config["deny_delete"]
    await bus._api.call(f"STREAM.PURGE.{LANE.stream(1)}", {"seq": 5})
    with pytest.raises(LaneBrokenError, match="no sequence 1 any more; it goes from 5 to 10"):
        await reader.fetch(blocks_max=5, wait_s=60)


async def test_something_else_than_a_block_is_named(bus, reader):
    await bus._api.store(LANE.subject(1), b"hello", {})
    with pytest.raises(LaneBrokenError, match="something else than a block at 11"):
        await read_up_to(reader, 11)


async def test_closing_gives_the_consumer_back(bus, reader):
    await read_up_to(reader, 10)
    assert len(await consumers(bus)) == 1
    await reader.close()
    assert not await consumers(bus)
