"""Joining a lane: its key, its stream, where it ends, and what of the spool stands there already.

A lane is joined behind a message we know: what an earlier process of ours left in the spool, or, where the spool is
empty, whatever the last message is. A spool that goes on behind blocks which the bus lost follows what is left of them;
one behind which somebody else went on is saved into a lane of its own.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import BusUnavailableError, LaneBrokenError
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.ports.lanes import StoredBlock
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.lane_link import Relink
from fluxforge_collector.lane_log import is_seed
from fluxforge_collector.lane_stream import Standing, find_stream
from fluxforge_collector.rescue import save
from fluxforge_collector.spool import Spool
from fluxforge_collector.stamp import BEHIND_NS_MAX

_POLL_S: Final = 0.2
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Joined:
    """Where a lane stands. `stream_last`: last block on the bus; `last`: last block there or in the spool.

    `stream_last_ns` is the capture time at the end of the former, `last_capture_ns` of the latter. `lost`: the bus lost
    what was between its last block and the spool.
    """

    epoch: int
    stream_last: BlockId | None
    last: BlockId | None
    last_capture_ns: int
    stream_last_ns: int = 0
    lost: "Lost | None" = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A stretch that an earlier boot's blocks leave: how the next one is linked, and when it was (ns UTC)."""

    relink: Relink
    from_ns: int | None
    to_ns: int


async def join(
    lane: Lane,
    bus: Bus,
    spool: Spool,
    clock: Clock,
    shutdown: Shutdown,
    events: CollectorEvents,
    beside: Sequence[Spool] = (),
) -> Joined | None:
    """Create the lane's key, wait until its stream stands, and settle the spool with it; None when asked to end first.

    What stands in the spools `beside` it, of other processes that ended, is saved first.

    Raises:
        LaneBrokenError: The clock is far behind the lane.
    """
    told = None
    while not shutdown.requested:
        try:
            awaited = await find_stream(lane, bus)
            if isinstance(awaited, Standing):
                left = [other for other in beside if not other.is_empty]
                if not left and _is_ours(awaited.last, spool):
                    return _settle(lane, awaited, spool, clock)
                await shutdown.unless_requested(save(lane, bus, left[0] if left else spool, events))
                continue
        except BusUnavailableError as error:
            awaited = str(error)
        if awaited != told:
            events.lane_awaited(awaited)
            told = awaited
        await asyncio.sleep(_POLL_S)
    return None


def _settle(lane: Lane, standing: Standing, spool: Spool, clock: Clock) -> Joined:
    stored = standing.last
    stream_last = stored.block.id if stored else None
    lost = _settle_spool(standing, spool)
    newest = spool.last() or (stored.block if stored else None)
    last_capture_ns = max(standing.state.last_capture_ns, newest.last_capture_ns if newest else 0)
    behind_ns = last_capture_ns - clock.wall_ns()
    if behind_ns > BEHIND_NS_MAX:
        raise LaneBrokenError(
            str(lane),
            f"the clock of this machine is {behind_ns / _NS:.0f} s behind the lane's last message; "
            f"expected at most {BEHIND_NS_MAX // _NS} s: set the clock",
        )
    return Joined(
        epoch=standing.state.epoch,
        stream_last=stream_last,
        last=newest.id if newest else None,
        last_capture_ns=last_capture_ns,
        stream_last_ns=stored.block.last_capture_ns if stored else 0,
        lost=lost,
    )


def _is_ours(stored: StoredBlock | None, spool: Spool) -> bool:
    """Return whether the spool goes on in this lane; one that holds nothing always does."""
    first: Block | None = spool.first()
    if first is None or stored is None:
        return True
    last = stored.block
    if last.id in spool.ids() or last.id == first.after:
        return True
    is_shorter = first.after is not None and last.id.boot == first.after.boot and last.id < first.after
    return is_shorter or (is_seed(last) and last.last_capture_ns < first.first_capture_ns)


def _settle_spool(standing: Standing, spool: Spool) -> Lost | None:
    """Leave of the spool what the lane has not; return what is lost between the two."""
    first: Block | None = spool.first()
    stored = standing.last
    stream_last = stored.block.id if stored else None
    if first is None or stream_last == first.after:
        return None
    if stream_last in spool.ids():
        spool.skip_through(stream_last)
        spool.retire(())
        return None
    from_ns = stored.block.last_capture_ns if stored else standing.state.last_capture_ns or None
    return Lost(Relink(first.after, stream_last), from_ns, first.first_capture_ns)
