"""The lane's stream as the segmenter reads it: whether it can be trusted, and one range of it once more."""

import asyncio
from functools import partial
from importlib.metadata import version
from typing import Final

from fluxforge.domain.errors import LaneBrokenError, SequenceGoneError
from fluxforge.domain.lane_state import Sealing
from fluxforge.domain.segment import Manifest, SegmentName
from fluxforge.ports.lanes import StoredBlock, StreamInfo
from fluxforge_segmenter.compression import compression_of
from fluxforge_segmenter.contents import ChainBrokenError, Digest, Tail
from fluxforge_segmenter.open_segment import Finished, OpenSegment
from fluxforge_segmenter.seal import LaneTools

BLOCKS_MAX: Final = 64
WRITE_BYTES: Final = 4 << 20
SOFTWARE: Final = f"fluxforge-segmenter {version('fluxforge-segmenter')}"
_WAIT_S: Final = 1.0


async def why_unfit(tools: LaneTools, tail: Tail) -> str | None:
    """Return what keeps the stream of the lane's epoch from going on behind what is sealed; None: nothing."""
    state = tools.hold.state
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, state.epoch))
    if info is None:
        return "is gone"
    if info.sealed:
        return "has ended"
    if info.last_seq < state.sealed_seq:
        return f"ends at {info.last_seq}: expected {state.sealed_seq} or beyond"
    return None if await holds_what_was_sealed(tools, tail) else f"used sequence {state.sealed_seq} again"


async def holds_what_was_sealed(tools: LaneTools, tail: Tail) -> bool:
    """Return whether the stream's sequences still are the ones that were sealed, as far as it can tell.

    A stream that was cut short and written on has another block where the last sealed one stood.
    """
    state = tools.hold.state
    return await _holds(tools, state.epoch, state.sealed_seq, tail)


async def check_stream(tools: LaneTools, tail: Tail, *, at_least: int) -> StreamInfo:
    """Return what the stream of the lane's epoch holds.

    Raises:
        LaneBrokenError: It cannot go on, or ends before `at_least`.
    """
    epoch = tools.hold.state.epoch
    stream = tools.lane.stream(epoch)
    reason = await why_unfit(tools, tail)
    if reason is not None:
        raise LaneBrokenError(str(tools.lane), f"its stream {stream} {reason}")
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, epoch))
    if info is None or info.last_seq < at_least:
        ends = info.last_seq if info else 0
        raise LaneBrokenError(str(tools.lane), f"its stream {stream} ends at {ends}: expected {at_least} or beyond")
    return info


async def is_read_in_vain(tools: LaneTools, manifest: Manifest) -> bool:
    """Return whether the stream lost the end of what was read for a segment, and can be written on.

    Its collector then names as lost what the stream lost, whoever read it. Ask when the lane state names the seal: a
    collector that comes later goes on behind it, and one that came before has found what we find.
    """
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, manifest.epoch))
    if info is None or info.sealed or not manifest.records:
        return False
    return info.last_seq < manifest.last or not await _holds(tools, manifest.epoch, manifest.last, Tail.of(manifest))


async def read_range(tools: LaneTools, segment: OpenSegment, seal: Sealing) -> Finished:
    """Fill a new segment with all that stands of the seal's range and finish it under the seal's name and time.

    What is gone becomes a hole; a range of which nothing stands becomes a segment of no records.

    Raises:
        StoreUnavailableError: The file could not be written; it was discarded.
        LaneBrokenError: The stream changed meanwhile.
    """
    try:
        await _fill(tools, segment, seal)
        if segment.contents.sealable_last < seal.first:
            segment.contents.skip(seal.first, seal.last)
            segment.contents.settle()
        digest = await asyncio.to_thread(segment.finish)
        segment.close()
    except BaseException:
        segment.discard()
        raise
    return Finished(segment.path, manifest_of(tools, segment, SegmentName.parse(seal.name), digest, seal.created_ns))


def manifest_of(tools: LaneTools, segment: OpenSegment, name: SegmentName, digest: Digest, created_ns: int) -> Manifest:
    """Return the manifest of a segment whose file is finished."""
    suffix = compression_of(segment.path.name).suffix
    return segment.contents.manifest(tools.lane, name, digest, suffix=suffix, created_ns=created_ns, software=SOFTWARE)


def take_in(tools: LaneTools, segment: OpenSegment, stored: StoredBlock) -> None:
    """Take a block in, behind a hole of no width where it does not follow the one before it.

    Raises:
        ChainBrokenError: It skips a stream sequence.
    """
    try:
        segment.contents.check(tools.lane, stored)
    except ChainBrokenError:
        if stored.stream_seq != segment.contents.last + 1:
            raise
        segment.contents.bridge(stored)
    segment.add(stored)


async def _holds(tools: LaneTools, epoch: int, stream_seq: int, tail: Tail) -> bool:
    """Return whether no other block than the tail's last stands at a sequence of a stream."""
    stored = await tools.patience.bus(lambda: tools.bus.streams.get(tools.lane, epoch, stream_seq))
    return stored is None or tail.last_block in (None, stored.block.id)


async def _fill(tools: LaneTools, segment: OpenSegment, seal: Sealing) -> None:
    contents = segment.contents
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, seal.epoch))
    end_seq = min(seal.last, info.last_seq) if info else 0
    while contents.last < end_seq:
        reader = tools.bus.reader(tools.lane, seal.epoch, from_seq=contents.last + 1)
        try:
            while contents.last < end_seq:
                want = min(BLOCKS_MAX, end_seq - contents.last)
                blocks = await tools.patience.bus(partial(reader.fetch, blocks_max=want, wait_s=_WAIT_S))
                for stored in blocks:
                    take_in(tools, segment, stored)
                if segment.buffered_bytes >= WRITE_BYTES:
                    await asyncio.to_thread(segment.write)
        except SequenceGoneError as gone:
            contents.skip(gone.first, min(gone.last, end_seq))
        finally:
            await reader.close()
