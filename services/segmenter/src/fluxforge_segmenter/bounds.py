"""What may leave the stream and the list of recent seals: the pure rules of step seven.

A stream gives up only what stands in storage, keeps it for a grace besides, and keeps its last message for ever: that
one is the fence of its writer and the source of `after`.
"""

from collections.abc import Mapping, Sequence

from fluxforge.domain.lane_state import LaneState, Sealing
from fluxforge.ports.lanes import StreamInfo


def purge_below(state: LaneState, info: StreamInfo, *, now_ns: int, grace_ns: int) -> int | None:
    """Return the sequence below which the stream of the state's epoch may be purged; None: nothing to purge.

    Everything up to `sealed_seq` must have been seen in storage. `now_ns` is wall time, as `created_ns` of the seals.
    """
    if info.size_bytes * 2 > info.size_bytes_max:
        through = state.sealed_seq
    else:
        old = [seal.last for seal in of_epoch(state, state.epoch) if now_ns - seal.created_ns > grace_ns]
        through = min(max(old, default=0), state.sealed_seq)
    below = min(through + 1, info.last_seq)
    return below if below > info.first_seq else None


def is_over(state: LaneState, epoch: int, *, now_ns: int, grace_ns: int) -> bool:
    """Return whether nothing was sealed from this epoch's stream for longer than the grace."""
    return all(now_ns - seal.created_ns > grace_ns for seal in of_epoch(state, epoch))


def of_epoch(state: LaneState, epoch: int) -> Sequence[Sealing]:
    """Return the recent seals of an epoch, oldest first."""
    return [seal for seal in state.recent if seal.epoch == epoch]


def still_recent(state: LaneState, streams: Mapping[int, StreamInfo]) -> tuple[Sealing, ...]:
    """Return the recent seals that their epoch's stream still holds whole: those that could be put again."""
    return tuple(seal for seal in state.recent if seal.epoch in streams and seal.first >= streams[seal.epoch].first_seq)
