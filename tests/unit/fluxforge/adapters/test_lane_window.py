"""The window decides alone what a stream's last message means; hypothesis plays the network and the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge.adapters.lane_window import Window, is_behind
from fluxforge.domain.block import BlockId
from fluxforge.domain.errors import FencedError, LaneBrokenError
from tests.contract.bus_world import LANE, block


def window(*, acked=0, unacked=0):
    made = Window(LANE, BlockId("b00t", acked) if acked else None, acked)
    for n in range(acked + 1, acked + unacked + 1):
        made.push(block(n), {})
    return made


def test_blocks_stand_at_the_sequences_behind_the_last_acknowledged():
    filled = window(acked=5, unacked=3)
    assert [entry.seq for entry in filled] == [6, 7, 8]
    assert (filled.newest, filled.newest_seq, len(filled)) == (BlockId("b00t", 8), 8, 3)
    assert [entry.seq for entry in filled.from_seq(8)] == [8]
    assert [filled.before(entry) for entry in filled] == [BlockId("b00t", n) for n in (5, 6, 7)]


def test_storing_drops_up_to_a_sequence_and_an_old_one_changes_nothing():
    filled = window(acked=5, unacked=3)
    filled.store(7)
    assert (filled.acked, filled.acked_seq, [entry.seq for entry in filled]) == (BlockId("b00t", 7), 7, [8])
    filled.store(6)
    assert (filled.acked_seq, len(filled)) == (7, 1)


def test_a_block_that_does_not_follow_the_newest_is_a_defect():
    with pytest.raises(AssertionError, match="b00t:9 follows b00t:8, the lane ends with b00t:6"):
        window(acked=5, unacked=1).push(block(9), {})


@pytest.mark.parametrize(("last_n", "left"), [(5, [6, 7, 8]), (6, [7, 8]), (8, [])])
def test_a_last_message_of_ours_says_what_is_stored(last_n, left):
    filled = window(acked=5, unacked=3)
    filled.reconcile(last_n, BlockId("b00t", last_n))
    assert [entry.seq for entry in filled] == left


def test_an_empty_stream_says_that_nothing_is_stored():
    filled = window(unacked=2)
    filled.reconcile(0, None)
    assert len(filled) == 2


@pytest.mark.parametrize(
    ("last_seq", "last", "error"),
    [
        (6, BlockId("other", 1), FencedError),  # somebody went on in our place
        (9, BlockId("other", 4), FencedError),
        (7, BlockId("b00t", 6), FencedError),  # ours, but not where it belongs: a stranger stands before it
        (4, BlockId("b00t", 4), LaneBrokenError),  # acknowledged blocks are gone
        (6, BlockId("b00t", 4), LaneBrokenError),
        (3, BlockId("other", 1), LaneBrokenError),
        (5, None, LaneBrokenError),
        (0, None, LaneBrokenError),
    ],
)
def test_any_other_last_message_stops_the_lane_and_keeps_the_window(last_seq, last, error):
    filled = window(acked=5, unacked=3)
    with pytest.raises(error):
        filled.reconcile(last_seq, last)
    assert len(filled) == 3


def test_a_stream_is_behind_only_within_one_boot():
    assert is_behind(BlockId("a", 1), BlockId("a", 2))
    assert not is_behind(BlockId("a", 2), BlockId("a", 2))
    assert not is_behind(BlockId("b", 1), BlockId("a", 2))
    assert not is_behind(None, BlockId("a", 2))
    assert not is_behind(BlockId("a", 1), None)


class Stream:
    """Stores a block only where sequence and predecessor are what its sender expects; forgets nothing."""

    def __init__(self):
        self.ids = []

    def offer(self, seq, before, id_):
        is_next = seq == len(self.ids) + 1 and (before is None or self.ids[-1:] == [before])
        if is_next:
            self.ids.append(id_)
        return is_next

    @property
    def last(self):
        return self.ids[-1] if self.ids else None


@given(st.lists(st.sampled_from(["push", "send", "lose", "ack", "lose acks", "recover"]), max_size=120))
def test_whatever_is_lost_each_block_is_stored_once_in_order(steps):
    sender, stream = Window(LANE, None, 0), Stream()
    count, sent_seq, linked, acks = 0, 0, False, []
    for step in [*steps, "recover", "send", "ack", "recover"]:
        if step == "push":
            count += 1
            sender.push(block(count), {})
        elif step in ("send", "lose"):
            for entry in list(sender.from_seq(sent_seq + 1)):
                before, linked = (sender.before(entry) if linked else None), True
                if step == "send" and stream.offer(entry.seq, before, entry.block.id):
                    acks.append(entry.seq)
                sent_seq = entry.seq
        elif step == "ack":
            for seq in acks:
                sender.store(seq)
            acks.clear()
        elif step == "lose acks":
            acks.clear()
        else:
            sender.reconcile(len(stream.ids), stream.last)
            sent_seq, linked = sender.acked_seq, False
        assert [id_.n for id_ in stream.ids] == list(range(1, len(stream.ids) + 1))
        assert sender.acked_seq <= len(stream.ids)
    assert len(stream.ids) == count
    assert not len(sender)
