"""Rescue: where the spool of a fenced collector goes: what the lane lacks of it into a lane of its own.

Can be cut short and repeated at any point; the spool is removed, durably, only when all of it is stored or named. A
spool of which nobody can tell what stands in the lane is put aside and left to a person.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from fluxforge.domain.block import BlockId
from fluxforge.domain.errors import FencedError, SequenceGoneError
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Bus
from fluxforge.ports.lanes import LanePublisher, StoredBlock
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.lane_stream import find_stream
from fluxforge_collector.salvage import Salvage, count_controls
from fluxforge_collector.spool import Spool

_POLL_S: Final = 0.2
_WINDOW_BLOCKS: Final = 16
_FETCH_BLOCKS: Final = 64
_FETCH_S: Final = 1.0
_SETTLE_S: Final = 3600.0


@dataclass(slots=True)
class _Place:
    """Where the lane went on without us: `after` is our last block in it, `until_ns` the successor's first capture."""

    after: BlockId | None = None
    until_ns: int = 0
    control_seqs: dict[str, int] = field(default_factory=dict)
    is_found: bool = False


async def save(lane: Lane, bus: Bus, spool: Spool, events: CollectorEvents) -> None:
    """Bring a spool that the lane went on without to where it belongs; nothing stands in it afterwards.

    Raises:
        BusUnavailableError: The bus went away; nothing is lost, and saving it again goes on.
        FatalError: The rescue lane cannot be written. The spool is untouched.
    """
    first = await asyncio.to_thread(spool.first)
    assert first is not None, "an empty spool needs no rescue"
    ids = spool.ids()
    place = await _find_place(lane, bus, {*ids, first.after} if first.after else set(ids))
    if not place.is_found:
        records = spool.records
        folder = await asyncio.to_thread(spool.set_aside, f"undecided-{first.id.boot}")
        events.spool_undecided(str(folder), records=records)
        return
    if place.after != ids[-1]:
        behind = place.after if place.after in ids else None
        rest = ids[ids.index(behind) + 1 :] if behind else ids
        rescue_lane = Lane(lane.source, lane.exchange, f"{lane.shard}r{rest[0].boot}")
        salvage = Salvage(lane, behind=behind, until_ns=place.until_ns, control_seqs=place.control_seqs)
        await _publish(rescue_lane, bus, spool, salvage)
        events.spool_saved(str(rescue_lane), records=salvage.records, dropped=salvage.dropped)
    spool.skip_through(ids[-1])
    await asyncio.to_thread(spool.retire, ())


async def _find_place(lane: Lane, bus: Bus, ours: set[BlockId]) -> _Place:
    """Look in the lane's standing streams for the block that followed one of ours and is not ours."""
    place = _Place()
    for epoch in await bus.streams.epochs(lane):
        info = await bus.streams.info(lane, epoch)
        if info is None or not info.last_seq:
            continue
        next_seq = max(1, info.first_seq)
        while next_seq <= info.last_seq and not place.is_found:
            next_seq = await _look(lane, bus, epoch, next_seq, info.last_seq, ours, place)
    return place


async def _look(
    lane: Lane, bus: Bus, epoch: int, from_seq: int, last_seq: int, ours: set[BlockId], place: _Place
) -> int:
    """Look through a stream up to a sequence that is gone, at most; return where to go on."""
    reader = bus.reader(lane, epoch, from_seq=from_seq)
    next_seq = from_seq
    try:
        while next_seq <= last_seq:
            for stored in await reader.fetch(blocks_max=_FETCH_BLOCKS, wait_s=_FETCH_S):
                if _is_place(stored, ours, place):
                    return next_seq
                next_seq = stored.stream_seq + 1
    except SequenceGoneError as gone:
        return gone.last + 1
    finally:
        await reader.close()
    return next_seq


def _is_place(stored: StoredBlock, ours: set[BlockId], place: _Place) -> bool:
    block = stored.block
    if block.id not in ours and block.after in ours:
        place.after, place.until_ns, place.is_found = block.after, block.first_capture_ns, True
        return True
    count_controls(block, place.control_seqs)
    return False


async def _publish(rescue_lane: Lane, bus: Bus, spool: Spool, salvage: Salvage) -> None:
    standing = await find_stream(rescue_lane, bus)
    while isinstance(standing, str):
        await asyncio.sleep(_POLL_S)
        standing = await find_stream(rescue_lane, bus)
    last = standing.last.block.id if standing.last else None
    publisher = await bus.publisher(rescue_lane, standing.state.epoch, after=last, window_blocks=_WINDOW_BLOCKS)
    try:
        await _publish_behind(rescue_lane, last, publisher, spool, salvage)
    finally:
        await publisher.close()


async def _publish_behind(
    rescue_lane: Lane, last: BlockId | None, publisher: LanePublisher, spool: Spool, salvage: Salvage
) -> None:
    blocks = salvage.blocks(spool.blocks())
    stands_already = last is not None
    while block := await asyncio.to_thread(next, blocks, None):
        if not stands_already:
            await publisher.publish(block)
        elif block.id == last:
            stands_already = False
    if stands_already:
        raise FencedError(str(rescue_lane), f"its last block {last} is none of the spool")
    while not await publisher.settle(timeout_s=_SETTLE_S):
        continue
