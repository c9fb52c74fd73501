"""What a segment's manifest says, from block headers alone."""

from dataclasses import replace

import pytest

from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.control import Control, Event
from fluxforge.domain.segment import FeedLast, FeedSeqs, Manifest, PreviousSegment, SegmentName
from fluxforge.ports.lanes import StoredBlock
from fluxforge_segmenter.contents import ChainBrokenError, Contents, Digest, Tail, closes_lane
from tests.traffic import LANE, Traffic

NAME = SegmentName("20251209T14", 1)
TAIL = Tail(
    previous=PreviousSegment("segment_20251209T13_00009", 1, 41),
    last_seqs=(FeedLast("trades", "ETH-USDT", "old", 9), FeedLast("trades", "BTC-USDT", "old", 7)),
    last_block=BlockId("old", 3),
)


def block(n: int, *feeds: FeedRange, boot: str = "b", after: BlockId | None = None, payload: bytes = b"x\n") -> Block:
    return Block(BlockId(boot, n), after or BlockId(boot, n - 1), 100 * n, 100 * n + 50, feeds, payload)


def manifest_of(contents: Contents, *blocks: Block) -> Manifest:
    for stored in stored_blocks(contents.first, *blocks):
        contents.check(LANE, stored)
        contents.add(stored)
    return contents.manifest(LANE, NAME, Digest(4, "abcd"), suffix=".ndjson", created_ns=5, software="test")


def stored_blocks(first: int, *blocks: Block) -> list[StoredBlock]:
    return [StoredBlock(first + n, one) for n, one in enumerate(blocks)]


def trades(first: int, last: int, count: int | None = None, symbol: str = "BTC-USDT") -> FeedRange:
    return FeedRange("trades", symbol, first, last, count or last - first + 1)


def test_a_manifest_holds_ranges_per_feed_and_boot_and_the_last_seq_of_every_feed_so_far() -> None:
    contents = Contents(TAIL, epoch=1, first=11)
    found = manifest_of(
        contents,
        block(1, trades(1, 3), after=BlockId("old", 3)),
        block(2, trades(4, 5), FeedRange("ticker", "BTC-USDT", 1, 1, 1)),
        block(3, trades(9, 9)),
        block(1, trades(1, 1), boot="c", after=BlockId("b", 3)),
    )
    assert found.feeds == (
        FeedSeqs("trades", "BTC-USDT", "b", ((1, 5), (9, 9)), 6),
        FeedSeqs("ticker", "BTC-USDT", "b", ((1, 1),), 1),
        FeedSeqs("trades", "BTC-USDT", "c", ((1, 1),), 1),
    )
    assert found.last_seqs == (
        FeedLast("trades", "ETH-USDT", "old", 9),
        FeedLast("trades", "BTC-USDT", "c", 1),
        FeedLast("ticker", "BTC-USDT", "b", 1),
    )
    assert (found.first, found.last, found.records) == (11, 14, 8)
    assert (found.first_capture_ns, found.last_capture_ns) == (100, 150)
    assert (found.last_block, found.previous) == ("c:1", TAIL.previous)
    assert (found.file, found.size_bytes, found.sha256) == ("segment_20251209T14_00001.ndjson", 4, "abcd")


def test_the_tail_of_a_manifest_is_what_its_successor_builds_on() -> None:
    found = manifest_of(Contents(Tail(), epoch=1, first=1), replace(block(1, trades(1, 2)), after=None))
    assert Tail.of(found) == Tail(
        PreviousSegment(str(NAME), 1, 150), (FeedLast("trades", "BTC-USDT", "b", 2),), BlockId("b", 1)
    )


def test_a_seed_block_counts_as_the_last_block_and_for_nothing_else() -> None:
    seed = replace(block(1, payload=b""), after=None)
    found = manifest_of(Contents(Tail(), epoch=2, first=1), seed, block(2, trades(1, 1)))
    assert (found.first, found.last, found.records, found.first_capture_ns) == (1, 2, 1, 200)


@pytest.mark.parametrize(
    ("seq", "after", "says"),
    [
        (12, BlockId("old", 3), "expected stream sequence 11, was 12"),
        (10, BlockId("old", 3), "expected stream sequence 11, was 10"),
        (11, BlockId("old", 2), "expected it to follow old:3, was old:2"),
        (11, None, "expected it to follow old:3, was None"),
    ],
)
def test_a_block_that_does_not_follow_is_refused(seq: int, after: BlockId | None, says: str) -> None:
    contents = Contents(TAIL, epoch=1, first=11)
    with pytest.raises(ChainBrokenError, match=says):
        contents.check(LANE, StoredBlock(seq, replace(block(1, trades(1, 1)), after=after)))
    assert contents.records == 0


def test_the_first_block_is_believed_where_nobody_knows_its_predecessor() -> None:
    contents = Contents(replace(TAIL, last_block=None, is_known=False), epoch=1, first=11)
    contents.check(LANE, StoredBlock(11, block(5, trades(1, 1))))


def test_only_a_last_record_that_closes_the_lane_closes_it() -> None:
    traffic = Traffic()
    assert closes_lane(traffic.control(Event.LANE_CLOSED))
    assert not closes_lane(traffic.control(Event.STOPPED))
    assert not closes_lane(traffic.block())
    closed, data = traffic.control(Event.LANE_CLOSED), traffic.block(1)
    both = replace(closed, feeds=closed.feeds + data.feeds)
    assert closes_lane(replace(both, payload=data.payload + closed.payload))
    assert not closes_lane(replace(both, payload=closed.payload + data.payload))
    assert not closes_lane(replace(closed, payload=b"torn"))
    assert Control(Event.LANE_CLOSED).to_json() in closed.payload


def taken(contents: Contents, seq: int, one: Block) -> None:
    contents.check(LANE, StoredBlock(seq, one))
    contents.add(StoredBlock(seq, one))


def made(contents: Contents) -> Manifest:
    return contents.manifest(LANE, NAME, Digest(4, "abcd"), suffix=".ndjson", created_ns=5, software="test")


def test_behind_a_hole_any_block_is_believed_and_the_hole_is_named_with_its_times() -> None:
    contents = Contents(TAIL, epoch=1, first=11)
    contents.skip(11, 12)
    contents.skip(13, 13)
    assert contents.ends_in_hole
    taken(contents, 14, block(7, trades(1, 1)))
    taken(contents, 15, block(8, trades(2, 2)))
    contents.skip(16, 17)
    taken(contents, 18, block(9, trades(9, 9)))
    found = made(contents)
    assert (found.first, found.last, found.holes) == (11, 18, ((11, 13), (16, 17)))
    assert found.hole_ns == ((41, 700), (850, 900))


def test_a_block_that_does_not_follow_may_be_bridged() -> None:
    contents = Contents(TAIL, epoch=1, first=11)
    strange = block(7, trades(1, 1))
    contents.bridge(StoredBlock(11, strange))
    contents.add(StoredBlock(11, strange))
    found = made(contents)
    assert (found.holes, found.hole_ns, found.last) == (((11, 10),), ((41, 700),), 11)
    assert Tail.of(found).is_known


def test_a_hole_at_the_end_is_left_to_the_successor_unless_it_is_settled() -> None:
    contents = Contents(TAIL, epoch=1, first=11)
    taken(contents, 11, block(1, trades(1, 1), after=BlockId("old", 3)))
    contents.skip(12, 14)
    found = made(contents)
    assert (found.last, found.holes, contents.last) == (11, (), 14)
    contents.settle()
    found = made(contents)
    assert (found.last, found.holes, found.hole_ns) == (14, ((12, 14),), ((150, 0),))
    assert not Tail.of(found).is_known
    assert Tail.of(found).last_block == BlockId("b", 1)


def test_a_segment_that_is_nothing_but_a_hole_hands_on_what_came_before_it() -> None:
    contents = Contents(TAIL, epoch=1, first=11)
    assert not contents.has_news
    contents.skip(11, 20)
    contents.settle()
    assert contents.has_news
    found = made(contents)
    assert (found.records, found.feeds, found.first, found.last) == (0, (), 11, 20)
    assert found.first_capture_ns == found.last_capture_ns == 41
    assert (found.last_seqs, found.last_block, found.previous) == (TAIL.last_seqs, "old:3", TAIL.previous)
    assert not found.final
