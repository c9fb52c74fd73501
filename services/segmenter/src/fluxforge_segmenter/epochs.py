"""Epochs: how a lane leaves a stream that cannot go on, and goes on in a new one; each step repeatable after a kill.

The old stream refuses blocks from the first step on, and is read to its end before the new one is named in the lane
state. The new one begins with the id of the lane's last known block, so that collectors see where they stand. What is
newer than everything sealed is told by capture time, which rises strictly in a lane whatever its sequences do.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from fluxforge.domain.block import Block
from fluxforge.domain.errors import ConfigurationError, SequenceGoneError
from fluxforge.ports.lanes import StreamInfo
from fluxforge_segmenter.bounds import is_over
from fluxforge_segmenter.contents import Tail
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.stream import BLOCKS_MAX, holds_what_was_sealed

_WAIT_S: Final = 1.0


async def leave(tools: LaneTools, tail: Tail) -> int:
    """End the stream of the lane's epoch; return the sequence up to which it is still to be sealed.

    Where its sealed sequences were used again, or cut off, `sealed_seq` goes back to before the first new block.
    """
    state = tools.hold.state
    await tools.patience.bus(lambda: tools.bus.streams.end(tools.lane, state.epoch))
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, state.epoch))
    if info is None:
        return state.sealed_seq
    if info.last_seq < state.sealed_seq or not await holds_what_was_sealed(tools, tail):
        first_seq = await _first_new(tools, state.epoch, info)
        if first_seq - 1 != state.sealed_seq:
            await tools.hold.replace(replace(state, sealed_seq=first_seq - 1))
    return info.last_seq


async def open_next(tools: LaneTools, tail: Tail) -> None:
    """Make sure of the next epoch's stream and name it in the lane state.

    The old epoch's is sealed to its end. A stream that stands above it already is the next, whoever made it.
    """
    state, lane = tools.hold.state, tools.lane
    standing = await tools.patience.bus(lambda: tools.bus.streams.epochs(lane))
    epoch = min((each for each in standing if each > state.epoch), default=state.epoch + 1)
    info = await tools.patience.bus(lambda: tools.bus.streams.info(lane, epoch))
    if info is None or (info.last_seq == 0 and not info.sealed):
        await _create(tools, epoch, _seed(tail))
        info = await tools.patience.bus(lambda: tools.bus.streams.info(lane, epoch))
    sealed_seq = await _first_new(tools, epoch, info) - 1 if info else 0
    await tools.hold.replace(replace(state, epoch=epoch, sealed_seq=sealed_seq))
    tools.events.epoch_opened(lane, epoch, sealed_seq=sealed_seq)


async def drop_left(tools: LaneTools, *, grace_ns: int) -> None:
    """Delete the streams of older epochs from which nothing was sealed for longer than the grace."""
    state = await tools.hold.confirm()
    for epoch in await tools.patience.bus(lambda: tools.bus.streams.epochs(tools.lane)):
        if epoch < state.epoch and is_over(state, epoch, now_ns=tools.clock.wall_ns(), grace_ns=grace_ns):
            await tools.patience.bus(partial(tools.bus.streams.delete, tools.lane, epoch))
            tools.events.stream_deleted(tools.lane, epoch)


async def _create(tools: LaneTools, epoch: int, seed: Block | None) -> None:
    create = partial(tools.bus.streams.create, tools.lane, epoch, seed=seed)
    try:
        await tools.patience.bus(create)
    except ConfigurationError:  # no room: what older epochs keep for a grace is in storage already
        await drop_left(tools, grace_ns=0)
        await tools.patience.bus(lambda: tools.bus.streams.delete(tools.lane, tools.hold.state.epoch))
        await tools.patience.bus(create)


def _seed(tail: Tail) -> Block | None:
    """Return the first block of a new epoch, or None where no last block of the lane is known."""
    if tail.last_block is None:
        return None
    return Block(tail.last_block, None, tail.last_capture_ns, tail.last_capture_ns, (), b"")


async def _first_new(tools: LaneTools, epoch: int, info: StreamInfo) -> int:
    """Return the sequence of the first block captured after everything that is sealed; behind the end if there is none.

    A seed is as old as what is sealed.
    """
    if not tools.hold.state.last_capture_ns and tools.hold.state.recent:
        return info.last_seq + 1  # nobody knows any more what is new: nothing is sealed twice
    next_seq = max(info.first_seq, 1)
    while next_seq <= info.last_seq:
        reader = tools.bus.reader(tools.lane, epoch, from_seq=next_seq)
        try:
            while next_seq <= info.last_seq:
                for stored in await tools.patience.bus(partial(reader.fetch, blocks_max=BLOCKS_MAX, wait_s=_WAIT_S)):
                    if stored.block.first_capture_ns > tools.hold.state.last_capture_ns:
                        return stored.stream_seq
                    next_seq = stored.stream_seq + 1
        except SequenceGoneError as gone:
            next_seq = gone.last + 1
        finally:
            await reader.close()
    return info.last_seq + 1
