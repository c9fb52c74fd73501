"""What may leave the stream."""

import pytest

from fluxforge.domain.lane_state import LaneState, Sealing
from fluxforge.ports.lanes import StreamInfo
from fluxforge_segmenter.bounds import purge_below, still_recent


def seal(first: int, last: int, created_ns: int, epoch: int = 1) -> Sealing:
    return Sealing(f"segment_{last}", epoch, first, last, 1, "", created_ns)


def info(first: int, last: int, size_bytes: int = 10) -> StreamInfo:
    return StreamInfo(first, last, size_bytes, 100, sealed=False)


STATE = LaneState(
    epoch=1, sealed_seq=30, recent=(seal(1, 10, 100), seal(11, 20, 200), seal(21, 30, 300), seal(31, 99, 1, epoch=9))
)


@pytest.mark.parametrize(
    ("now_ns", "stream", "below"),
    [
        (150, info(1, 50), None),  # nothing is old enough: the grace is 100
        (200, info(1, 50), None),  # exactly the grace is not longer than it
        (201, info(1, 50), 11),
        (301, info(1, 50), 21),
        (301, info(21, 50), None),  # purged already
        (999, info(1, 50), 31),
        (999, info(1, 30), 30),  # everything is sealed: the last message stays
        (999, info(30, 30), None),
        (150, info(1, 50, size_bytes=50), None),  # half full is not above half
        (150, info(1, 50, size_bytes=51), 31),
        (150, info(1, 30, size_bytes=51), 30),
    ],
)
def test_the_stream_gives_up_what_is_sealed_for_longer_than_the_grace_or_fills_it(
    now_ns: int, stream: StreamInfo, below: int | None
) -> None:
    assert purge_below(STATE, stream, now_ns=now_ns, grace_ns=100) == below


def test_recent_is_what_could_be_put_again() -> None:
    assert [recent.last for recent in still_recent(STATE, {1: info(1, 50)})] == [10, 20, 30]
    assert [recent.last for recent in still_recent(STATE, {1: info(11, 50)})] == [20, 30]
    assert [recent.last for recent in still_recent(STATE, {1: info(12, 50)})] == [30]
