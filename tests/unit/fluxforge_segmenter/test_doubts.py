"""What is read again before it is believed."""

import pytest

from fluxforge.domain.errors import LaneBrokenError, SequenceGoneError
from fluxforge_segmenter.contents import ChainBrokenError
from fluxforge_segmenter.doubts import Doubts


def test_a_place_is_doubted_until_another_stream_is_read() -> None:
    doubts = Doubts()
    doubts.note(SequenceGoneError("lane", "gone", 5, 9))
    doubts.note(ChainBrokenError("lane", "broken", 12))
    doubts.settle()
    assert [seq for seq in range(20) if seq in doubts] == [5, 12]
    doubts.clear()
    assert not any(seq in doubts for seq in range(20))


def test_places_may_be_many_but_a_stream_does_not_break_for_ever() -> None:
    doubts = Doubts()
    for seq in range(100):
        doubts.note(ChainBrokenError("lane", "broken", seq))
    for _ in range(5):
        doubts.note(LaneBrokenError("lane", "created anew"))
    with pytest.raises(LaneBrokenError, match="created anew"):
        doubts.note(LaneBrokenError("lane", "created anew"))
    doubts.settle()
    doubts.note(LaneBrokenError("lane", "created anew"))
