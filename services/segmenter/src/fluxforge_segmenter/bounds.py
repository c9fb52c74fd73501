"""What may leave the stream and the list of recent seals: the pure rules of step seven.

A stream gives up only what stands in storage, keeps it for a grace besides, and keeps its last message for ever: that
one is the fence of its writer and the source of `after`.
"""

from collections.abc import Sequence

from fluxforge.domain.lane_state import LaneState, Sealing
from fluxforge.ports.lanes import StreamInfo


def purge_below(state: LaneState, info: StreamInfo, *, now_ns: int, grace_ns: int) -> int | None:
    """Return the sequence below which the stream of the state's epoch may be purged; None: nothing to purge.

    Everything up to `sealed_seq` must have been seen in storage. `now_ns` is wall time, as `created_ns` of the seals.
    """
    if info.size_bytes * 2 > info.size_bytes_max:
        through = state.sealed_seq
    else:
        through = max((seal.last for seal in of_epoch(state) if now_ns - seal.created_ns > grace_ns), default=0)
    below = min(through + 1, info.last_seq)
    return below if below > info.first_seq else None


def of_epoch(state: LaneState) -> Sequence[Sealing]:
    """Return the recent seals of the state's own epoch, oldest first."""
    return [seal for seal in state.recent if seal.epoch == state.epoch]


def still_recent(state: LaneState, info: StreamInfo) -> tuple[Sealing, ...]:
    """Return the recent seals that the stream still holds whole: those that could be put again."""
    return tuple(seal for seal in of_epoch(state) if seal.first >= info.first_seq)
