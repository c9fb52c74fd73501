"""Joining a lane: its key, its stream, where it ends, and what of the spool stands there already.

A lane is joined only behind a message we know: what an earlier process of ours left in the spool, or, where the spool
is empty, whatever the last message is. Anything else means that somebody else writes here.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import BusUnavailableError, FencedError, LaneBrokenError
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.ports.lanes import StoredBlock, StreamInfo, VersionedState
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.spool import Spool
from fluxforge_collector.stamp import BEHIND_NS_MAX

_POLL_S: Final = 0.2
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Joined:
    """Where a lane stands. `stream_last`: last block on the bus; `last`: last block there or in the spool."""

    epoch: int
    stream_last: BlockId | None
    last: BlockId | None
    last_capture_ns: int


async def join(
    lane: Lane, bus: Bus, spool: Spool, clock: Clock, shutdown: Shutdown, events: CollectorEvents
) -> Joined | None:
    """Create the lane's key, wait until its stream stands, and settle the spool with it; None when asked to end first.

    Raises:
        FencedError: The lane goes on with blocks of somebody else behind those of our spool. The spool is untouched.
        LaneBrokenError: The stream ends before what is sealed, or the clock is far behind the lane.
    """
    told = None
    while not shutdown.requested:
        try:
            await bus.states.create(lane)
            state = await bus.states.get(lane)
            info = await bus.streams.info(lane, state.state.epoch) if state and state.state.epoch else None
            if state and info:
                stored = await bus.streams.last(lane, state.state.epoch) if info.last_seq else None
                return _settle(lane, state, info, stored, spool, clock)
            awaited = "its segmenter, which opens the stream"
        except BusUnavailableError as error:
            awaited = str(error)
        if awaited != told:
            events.lane_awaited(awaited)
            told = awaited
        await asyncio.sleep(_POLL_S)
    return None


def _settle(
    lane: Lane, state: VersionedState, info: StreamInfo, stored: StoredBlock | None, spool: Spool, clock: Clock
) -> Joined:
    if info.last_seq < state.state.sealed_seq:
        raise LaneBrokenError(
            str(lane), f"its stream ends at {info.last_seq}, before {state.state.sealed_seq}, up to where it is sealed"
        )
    stream_last = stored.block.id if stored else None
    _settle_spool(lane, stream_last, spool)
    newest = spool.last() or (stored.block if stored else None)
    last_capture_ns = max(state.state.last_capture_ns, newest.last_capture_ns if newest else 0)
    behind_ns = last_capture_ns - clock.wall_ns()
    if behind_ns > BEHIND_NS_MAX:
        raise LaneBrokenError(
            str(lane),
            f"the clock of this machine is {behind_ns / _NS:.0f} s behind the lane's last message; "
            f"expected at most {BEHIND_NS_MAX // _NS} s: set the clock",
        )
    return Joined(state.state.epoch, stream_last, newest.id if newest else None, last_capture_ns)


def _settle_spool(lane: Lane, stream_last: BlockId | None, spool: Spool) -> None:
    first: Block | None = spool.first()
    if first is None:
        return
    if stream_last in spool.ids():
        spool.skip_through(stream_last)
        spool.retire(())
        return
    if stream_last != first.after:
        raise FencedError(
            str(lane),
            f"the spool goes on behind {first.after or 'nothing'}, the lane ends with {stream_last or 'nothing'}; "
            f"{spool.records} records stay in the spool",
        )
