from hypothesis import given
from hypothesis import strategies as st

from fluxforge.domain.block import BlockId, FeedRange
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.settings import Limits

BOOK = ("orderbook", "BTC-USDT")
CONTROL = ("control", None)


def test_a_block_says_what_it_holds_of_each_feed() -> None:
    buffer = BlockBuffer("9f3c21ab", Limits(), after=BlockId("0ld", 7))
    buffer.append(CONTROL, 1, b"a\n", 10)
    buffer.append(BOOK, 5, b"b\n", 11)
    buffer.append(BOOK, 6, b"c\n", 12)
    block = buffer.take()
    assert block is not None
    assert (block.id, block.after) == (BlockId("9f3c21ab", 1), BlockId("0ld", 7))
    assert (block.first_capture_ns, block.last_capture_ns, block.payload) == (10, 12, b"a\nb\nc\n")
    assert block.feeds == (FeedRange("control", None, 1, 1, 1), FeedRange("orderbook", "BTC-USDT", 5, 6, 2))


def test_seqs_that_were_dropped_in_between_are_not_counted() -> None:
    buffer = BlockBuffer("9f3c21ab", Limits(), after=None)
    buffer.append(BOOK, 5, b"b\n", 11)
    buffer.append(BOOK, 9, b"c\n", 12)
    block = buffer.take()
    assert block is not None
    assert block.feeds == (FeedRange("orderbook", "BTC-USDT", 5, 9, 2),)


def test_a_block_closes_when_it_is_full_of_records() -> None:
    buffer = BlockBuffer("b", Limits(block_records_max=2), after=None)
    for seq in range(1, 6):
        buffer.append(BOOK, seq, b"x\n", seq)
    assert [block.records for block in buffer.take_all()] == [2, 2, 1]


def test_a_block_closes_before_it_would_be_too_large_and_a_large_record_is_alone() -> None:
    buffer = BlockBuffer("b", Limits(block_bytes_max=10), after=None)
    for seq, line in enumerate([b"1234\n", b"1234\n", b"5\n", b"x" * 50, b"6\n"], start=1):
        buffer.append(BOOK, seq, line, seq)
    assert [len(block.payload) for block in buffer.take_all()] == [10, 2, 50, 2]


def test_it_is_pressed_beyond_its_limits_and_refuses_at_twice_them_until_relieved() -> None:
    buffer = BlockBuffer("b", Limits(block_records_max=1, waiting_records_max=3), after=None)
    states = []
    for seq in range(1, 8):
        buffer.append(BOOK, seq, b"x\n", seq)
        states.append((buffer.pressed.is_set(), buffer.refusing))
    assert states == [(False, False)] * 3 + [(True, False)] * 2 + [(True, True)] * 2
    while buffer.records > 4:
        buffer.take()
    assert (buffer.pressed.is_set(), buffer.refusing) == (True, True)
    buffer.take()
    assert (buffer.pressed.is_set(), buffer.refusing) == (False, False)


def test_bytes_press_as_well_as_records() -> None:
    buffer = BlockBuffer("b", Limits(waiting_bytes_max=5), after=None)
    buffer.append(BOOK, 1, b"123456\n", 1)
    assert buffer.pressed.is_set()


def test_an_empty_buffer_has_nothing_to_take_and_says_so() -> None:
    buffer = BlockBuffer("b", Limits(), after=None)
    assert buffer.take() is None
    buffer.append(BOOK, 1, b"x\n", 1)
    assert buffer.filled.is_set()
    buffer.take()
    assert not buffer.filled.is_set()


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 7), st.integers(1, 60))
def test_nothing_is_lost_or_reordered_and_ids_are_chained(sizes: list[int], records: int, size: int) -> None:
    buffer = BlockBuffer("b", Limits(block_records_max=records, block_bytes_max=size), after=None)
    lines = [b"%d:%b\n" % (seq, b"x" * length) for seq, length in enumerate(sizes)]
    for seq, line in enumerate(lines):
        buffer.append(BOOK, seq, line, seq)
    blocks = buffer.take_all()
    assert b"".join(block.payload for block in blocks) == b"".join(lines)
    assert [block.id.n for block in blocks] == list(range(1, len(blocks) + 1))
    assert [block.after for block in blocks] == [None, *(block.id for block in blocks)][: len(blocks)]
    assert (buffer.records, buffer.size_bytes) == (0, 0)
