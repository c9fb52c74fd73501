"""Tending: what a lane needs from time to time beside being read and sealed.

What is sealed is seen in storage and leaves the bus after a grace; so does a lane that was closed. Nothing leaves the
bus unless the lane is ours at that moment and its stream holds what was sealed from it.
"""

from functools import partial

from fluxforge_segmenter.bounds import is_over, purge_below
from fluxforge_segmenter.contents import Tail
from fluxforge_segmenter.epochs import drop_left
from fluxforge_segmenter.recover import restore_recent
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.stream import holds_what_was_sealed
from fluxforge_segmenter.workspace import Workspace


async def tend(tools: LaneTools, workspace: Workspace, tail: Tail) -> bool:
    """Look after storage and stream; return whether everything sealed lately stands in storage.

    Raises:
        FencedError: The lane is somebody else's.
    """
    is_whole = await restore_recent(tools, workspace)
    if is_whole:
        await purge(tools, tail)
        await drop_left(tools, grace_ns=tools.bus_grace_ns)
    await tools.hold.confirm()
    await tools.patience.disk(workspace.sweep)  # an older owner may have woken up after the last one
    return is_whole


async def purge(tools: LaneTools, tail: Tail) -> None:
    """Purge from the stream what stands in storage for long enough, or for less where the stream fills up.

    Raises:
        FencedError: The lane is somebody else's.
    """
    state = tools.hold.state
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, state.epoch))
    if info is None or info.sealed:
        return  # whoever reads on finds out and says what that means
    below = purge_below(state, info, now_ns=tools.clock.wall_ns(), grace_ns=tools.bus_grace_ns)
    if below is None or not await holds_what_was_sealed(tools, tail):
        return
    await tools.hold.confirm()
    await tools.patience.bus(lambda: tools.bus.streams.purge(tools.lane, state.epoch, below_seq=below))
    tools.events.stream_purged(tools.lane, below_seq=below)


async def close_lane(tools: LaneTools, tail: Tail) -> bool:
    """Remove a lane from the bus that was closed, is sealed to its end for longer than the grace, and has no collector.

    Return whether it was removed. Everything that was sealed must have been seen in storage. The stream refuses blocks
    before the key goes, and the key goes before the stream: whoever comes later opens a new epoch.

    Raises:
        FencedError: The lane is somebody else's.
    """
    state, lane = tools.hold.state, tools.lane
    if not tail.final or not is_over(state, state.epoch, now_ns=tools.clock.wall_ns(), grace_ns=tools.bus_grace_ns):
        return False
    key = f"collector-{lane}"
    lease = await tools.patience.bus(lambda: tools.bus.leases.acquire(key, tools.hold.owner))
    if lease is None:
        return False
    try:
        info = await tools.patience.bus(lambda: tools.bus.streams.info(lane, state.epoch))
        if info is None or info.last_seq != state.sealed_seq:
            return False  # without a stream the key is younger than the end: its collector came back
        await tools.patience.bus(lambda: tools.bus.streams.end(lane, state.epoch))
        info = await tools.patience.bus(lambda: tools.bus.streams.info(lane, state.epoch))
        if info is not None and info.last_seq != state.sealed_seq:
            return False  # a last block came in between: it is sealed, and a new epoch opened
        await tools.hold.give_up()
        for epoch in await tools.patience.bus(lambda: tools.bus.streams.epochs(lane)):
            if epoch <= state.epoch:
                await tools.patience.bus(partial(tools.bus.streams.delete, lane, epoch))
    finally:
        await tools.patience.bus(lambda: tools.bus.leases.release(key, lease))
    tools.events.lane_closed(lane, epoch=state.epoch)
    return True
