"""A lane's stream as whoever writes it finds it: the one that the lane's state names, or what is awaited instead."""

from dataclasses import dataclass

from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.ports.bus import Bus
from fluxforge.ports.lanes import StoredBlock


@dataclass(frozen=True, slots=True)
class Standing:
    """A stream that can be written, by the lane's state, and its last block."""

    state: LaneState
    last: StoredBlock | None


async def find_stream(lane: Lane, bus: Bus) -> Standing | str:
    """Return the lane's stream, or what is awaited where there is none to write; a lane without a key gets it."""
    found = await bus.states.get(lane)
    if found is None:
        await bus.states.create(lane)
    epoch = found.state.epoch if found else 0
    info = await bus.streams.info(lane, epoch) if epoch else None
    if found is None or info is None:
        return "its segmenter, which opens the stream"
    if info.sealed or info.last_seq < found.state.claimed_seq:
        return "its segmenter, which opens the next epoch"
    return Standing(found.state, await bus.streams.last(lane, epoch) if info.last_seq else None)
