"""Streams, publishers and readers of lanes: one suite for every bus."""

import asyncio

import pytest

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import BusUnavailableError, FencedError, LaneBrokenError, SequenceGoneError
from fluxforge.domain.lane import Lane
from tests.contract.bus_world import LANE, LANE_MAX_BYTES, block, eventually, publish_all, read_up_to


@pytest.fixture
async def bus(world):
    bus = await world.bus()
    await bus.streams.create(LANE, 1)
    return bus


async def test_a_stream_that_is_not_there_is_told_from_an_empty_one(bus):
    assert await bus.streams.info(LANE, 2) is None
    assert await bus.streams.last(LANE, 2) is None
    empty = await bus.streams.info(LANE, 1)
    assert (empty.last_seq, empty.size_bytes, empty.size_bytes_max, empty.sealed) == (0, 0, LANE_MAX_BYTES, False)
    assert await bus.streams.last(LANE, 1) is None


async def test_creating_a_stream_twice_leaves_what_it_holds(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(1)])
    await bus.streams.create(LANE, 1)
    assert (await bus.streams.info(LANE, 1)).last_seq == 1


async def test_published_blocks_are_read_back_whole_and_in_order(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    sent = [block(n, payload=b"x" * n) for n in range(1, 101)]
    await publish_all(publisher, sent)
    assert publisher.acked == BlockId("b00t", 100)
    assert not publisher.unacked
    reader = bus.reader(LANE, 1, from_seq=1)
    got = await read_up_to(reader, 100)
    assert [each.stream_seq for each in got] == list(range(1, 101))
    assert [each.block for each in got] == sent
    await reader.close()


async def test_a_reader_starts_where_it_is_told_and_waits_for_more(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(n) for n in range(1, 4)])
    reader = bus.reader(LANE, 1, from_seq=3)
    assert [each.stream_seq for each in await read_up_to(reader, 3)] == [3]
    assert not await reader.fetch(blocks_max=8, wait_s=0.05)
    waiting = asyncio.ensure_future(reader.fetch(blocks_max=8, wait_s=60))
    await publish_all(publisher, [block(4)])
    assert [each.stream_seq for each in await waiting] == [4]
    await reader.close()


async def test_fetch_returns_no_more_than_asked(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=8)
    await publish_all(publisher, [block(n) for n in range(1, 8)])
    reader = bus.reader(LANE, 1, from_seq=1)
    sizes = []
    async with asyncio.timeout(60):
        while sum(sizes) < 7:
            sizes.append(len(await reader.fetch(blocks_max=3, wait_s=1)))
    assert max(sizes) <= 3
    await reader.close()


async def test_a_publisher_goes_on_behind_the_last_block_of_another(bus):
    first = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(first, [block(1), block(2)])
    await first.close()
    second = await bus.publisher(LANE, 1, after=BlockId("b00t", 2), window_blocks=4)
    assert second.acked == BlockId("b00t", 2)
    await publish_all(second, [block(3)])
    assert (await bus.streams.last(LANE, 1)).block == block(3)


async def test_a_publisher_that_expects_another_last_block_is_refused(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(1), block(2)])
    with pytest.raises(FencedError, match="b00t:2"):
        await bus.publisher(LANE, 1, after=BlockId("other", 1), window_blocks=4)
    with pytest.raises(LaneBrokenError, match="lost acknowledged blocks"):
        await bus.publisher(LANE, 1, after=BlockId("b00t", 3), window_blocks=4)


async def test_there_is_no_publisher_for_a_stream_that_does_not_exist(bus):
    with pytest.raises(LaneBrokenError, match="MD_ccxt_binance_0of1_2 does not exist"):
        await bus.publisher(LANE, 2, after=None, window_blocks=4)


async def test_a_second_publisher_fences_the_first_and_no_block_follows_a_stranger(world, bus):
    first = await bus.publisher(LANE, 1, after=None, window_blocks=64)
    await publish_all(first, [block(1)])
    second = await (await world.bus()).publisher(LANE, 1, after=BlockId("b00t", 1), window_blocks=64)
    taking_over = block(1, boot="2nd", after=None)
    taking_over = type(taking_over)(taking_over.id, BlockId("b00t", 1), 2, 3, taking_over.feeds, taking_over.payload)
    await publish_all(second, [taking_over])
    with pytest.raises(FencedError, match="2nd:1"):
        await publish_all(first, [block(n) for n in range(2, 60)])
    assert next(iter(first.unacked)).id.n == 2
    # The first one's later blocks named sequences that came to exist; they must not have slipped in behind.
    await publish_all(second, [block(n, boot="2nd") for n in range(2, 30)])
    reader = bus.reader(LANE, 1, from_seq=1)
    got = [each.block.id for each in await read_up_to(reader, 30)]
    assert got == [BlockId("b00t", 1), *(BlockId("2nd", n) for n in range(1, 30))]
    await reader.close()


async def test_the_window_waits_while_the_bus_is_away_and_nothing_is_lost_or_twice(world, bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(1)])
    await world.go_away()
    for n in range(2, 6):
        await publisher.publish(block(n))
    assert [each.id.n for each in publisher.unacked] == [2, 3, 4, 5]
    fifth = asyncio.ensure_future(publisher.publish(block(6)))
    assert not await publisher.settle(timeout_s=0.1)
    assert not fifth.done()
    await world.come_back()
    await asyncio.wait_for(fifth, 60)
    assert await publisher.settle(timeout_s=60)
    reader = bus.reader(LANE, 1, from_seq=1)
    assert [each.block.id.n for each in await read_up_to(reader, 6)] == [1, 2, 3, 4, 5, 6]
    await reader.close()


async def test_a_reader_outlives_the_bus_going_away(world, bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=64)
    await publish_all(publisher, [block(n) for n in range(1, 21)])
    reader = bus.reader(LANE, 1, from_seq=1)
    got = list(await reader.fetch(blocks_max=5, wait_s=60))
    await world.go_away()
    got += await reader.fetch(blocks_max=64, wait_s=0.1)
    await world.come_back()
    if len(got) < 20:
        got += await read_up_to(reader, 20)
    await publish_all(publisher, [block(21)])
    got += await read_up_to(reader, 21)
    assert [each.stream_seq for each in got] == list(range(1, 22))
    await reader.close()


async def test_a_full_stream_holds_the_window_until_there_is_room(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    big = b"x" * (LANE_MAX_BYTES // 5)
    await publish_all(publisher, [block(n, payload=big) for n in range(1, 5)])
    for n in range(5, 8):
        await publisher.publish(block(n, payload=big))
    assert not await publisher.settle(timeout_s=0.3)
    assert [each.id.n for each in publisher.unacked] == [5, 6, 7]
    await bus.streams.purge(LANE, 1, below_seq=5)
    assert await publisher.settle(timeout_s=60)
    assert not publisher.unacked
    assert (await bus.streams.last(LANE, 1)).block.id.n == 7


async def test_a_purge_never_takes_the_last_block(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(n) for n in range(1, 6)])
    await bus.streams.purge(LANE, 1, below_seq=3)
    assert (await bus.streams.info(LANE, 1)).first_seq == 3
    await bus.streams.purge(LANE, 1, below_seq=99)
    info = await bus.streams.info(LANE, 1)
    assert (info.first_seq, info.last_seq) == (5, 5)
    assert await bus.streams.get(LANE, 1, 4) is None
    assert (await bus.streams.get(LANE, 1, 5)).block == block(5)
    await publish_all(publisher, [block(6)])


async def test_a_reader_of_purged_blocks_names_what_is_gone(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(n) for n in range(1, 6)])
    await bus.streams.purge(LANE, 1, below_seq=4)
    reader = bus.reader(LANE, 1, from_seq=2)
    with pytest.raises(SequenceGoneError, match="no sequence 2") as gone:
        await reader.fetch(blocks_max=8, wait_s=60)
    assert (gone.value.first, gone.value.last) == (2, 3)
    await reader.close()
    behind = bus.reader(LANE, 1, from_seq=gone.value.last + 1)
    assert [each.stream_seq for each in await read_up_to(behind, 5)] == [4, 5]
    await behind.close()


async def test_a_reader_beyond_the_end_of_its_stream_says_so(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(1)])
    reader = bus.reader(LANE, 1, from_seq=9)
    with pytest.raises(LaneBrokenError, match="ends at sequence 1, 8 was read"):
        await reader.fetch(blocks_max=8, wait_s=60)
    missing = bus.reader(LANE, 2, from_seq=1)
    with pytest.raises(LaneBrokenError, match="is gone"):
        await missing.fetch(blocks_max=8, wait_s=60)
    await reader.close()
    await missing.close()


async def test_looking_at_streams_says_when_the_bus_is_away(world, bus):
    await world.go_away()
    with pytest.raises(BusUnavailableError):
        await bus.streams.info(LANE, 1)
    assert not bus.connected
    await world.come_back()
    await eventually(lambda: bus.connected)
    assert await bus.streams.info(LANE, 1) is not None


SEED = Block(BlockId("b00t", 7), None, 7999, 7999, (), b"")


async def test_an_epoch_is_opened_with_its_seed_as_often_as_it_takes(bus):
    for _ in range(2):
        await bus.streams.create(LANE, 2, seed=SEED)
        assert (await bus.streams.last(LANE, 2)).block == SEED
        assert (await bus.streams.info(LANE, 2)).last_seq == 1
    publisher = await bus.publisher(LANE, 2, after=SEED.id, window_blocks=4)
    await publish_all(publisher, [block(8)])
    await bus.streams.create(LANE, 2, seed=SEED)
    assert (await bus.streams.info(LANE, 2)).last_seq == 2


async def test_a_seed_never_enters_a_stream_that_began_without_it(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(1)])
    with pytest.raises(LaneBrokenError, match="begins with b00t:1, not with the seed b00t:7"):
        await bus.streams.create(LANE, 1, seed=SEED)
    await bus.streams.create(LANE, 2)
    await bus.streams.end(LANE, 2)
    with pytest.raises(LaneBrokenError, match="not with the seed"):
        await bus.streams.create(LANE, 2, seed=SEED)


async def test_a_stream_that_ended_refuses_blocks_and_can_be_read(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(n) for n in range(1, 4)])
    for _ in range(2):
        await bus.streams.end(LANE, 1)
        assert (await bus.streams.info(LANE, 1)).sealed
    with pytest.raises(LaneBrokenError, match="sealed"):
        await publish_all(publisher, [block(4)], settle_s=10)
    with pytest.raises(LaneBrokenError, match="sealed"):
        await bus.publisher(LANE, 1, after=None, window_blocks=4)
    reader = bus.reader(LANE, 1, from_seq=1)
    assert [each.block for each in await read_up_to(reader, 3)] == [block(1), block(2), block(3)]
    assert not await reader.fetch(blocks_max=8, wait_s=0.05)
    assert (await bus.streams.get(LANE, 1, 2)).block == block(2)
    await reader.close()


async def test_ending_or_deleting_a_stream_that_is_not_there_is_no_error(bus):
    await bus.streams.end(LANE, 9)
    await bus.streams.delete(LANE, 9)
    assert await bus.streams.epochs(LANE) == [1]


async def test_a_deleted_stream_is_gone_whether_it_had_ended_or_not(bus):
    await bus.streams.create(LANE, 2)
    await bus.streams.end(LANE, 2)
    for epoch in (1, 2):
        await bus.streams.delete(LANE, epoch)
        assert await bus.streams.info(LANE, epoch) is None
    assert await bus.streams.lanes() == []


async def test_a_lanes_streams_are_found_by_their_epochs_and_lanes_by_their_streams(bus):
    rescue = Lane("ccxt", "binance", "0of1r9f3c21ab")
    other = Lane("ccxt", "kraken", "0of1")
    for lane, epoch in ((LANE, 10), (LANE, 2), (rescue, 3), (other, 1)):
        await bus.streams.create(lane, epoch)
    assert await bus.streams.epochs(LANE) == [1, 2, 10]
    assert await bus.streams.epochs(rescue) == [3]
    assert await bus.streams.epochs(Lane("ccxt", "gate", "0of1")) == []
    assert await bus.streams.lanes() == [LANE, rescue, other]


async def test_a_stream_created_anew_underneath_a_reader_is_not_taken_for_the_old_one(bus):
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(publisher, [block(n) for n in range(1, 4)])
    reader = bus.reader(LANE, 1, from_seq=1)
    await read_up_to(reader, 3)
    await bus.streams.delete(LANE, 1)
    await bus.streams.create(LANE, 1)
    again = await bus.publisher(LANE, 1, after=None, window_blocks=4)
    await publish_all(again, [block(n, boot="2nd") for n in range(1, 6)])
    with pytest.raises(LaneBrokenError, match="created anew"):
        await read_up_to(reader, 4, deadline_s=30)
    await reader.close()
