"""The lane's stream as the segmenter reads it: whether it can be trusted, and exactly one range of it once more."""

from functools import partial
from importlib.metadata import version
from typing import Final

from fluxforge.domain.errors import LaneBrokenError
from fluxforge.domain.lane_state import Sealing
from fluxforge.domain.segment import SegmentName
from fluxforge.ports.lanes import StreamInfo
from fluxforge_segmenter.compression import compression_of
from fluxforge_segmenter.open_segment import Finished, OpenSegment
from fluxforge_segmenter.seal import LaneTools

BLOCKS_MAX: Final = 64
WRITE_BYTES: Final = 4 << 20
SOFTWARE: Final = f"fluxforge-segmenter {version('fluxforge-segmenter')}"
_WAIT_S: Final = 1.0


async def check_stream(tools: LaneTools, *, at_least: int) -> StreamInfo:
    """Return what the stream of the lane's epoch holds.

    Raises:
        LaneBrokenError: It is gone, sealed, or ends before `at_least`.
    """
    epoch = tools.hold.state.epoch
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, epoch))
    stream = tools.lane.stream(epoch)
    if info is None:
        raise LaneBrokenError(str(tools.lane), f"its stream {stream} is gone; a new epoch is not available yet")
    if info.sealed:
        raise LaneBrokenError(str(tools.lane), f"its stream {stream} is sealed; a new epoch is not available yet")
    if info.last_seq < at_least:
        raise LaneBrokenError(
            str(tools.lane), f"its stream {stream} ends at {info.last_seq}: expected {at_least} or beyond"
        )
    return info


async def read_range(tools: LaneTools, segment: OpenSegment, seal: Sealing) -> Finished:
    """Fill a new segment with exactly the seal's range and finish it under the seal's name and time.

    Raises:
        LaneBrokenError: Not all of it stands in the stream, or its blocks do not chain.
    """
    reader = tools.bus.reader(tools.lane, seal.epoch, from_seq=seal.first)
    try:
        while segment.contents.last < seal.last:
            want = min(BLOCKS_MAX, seal.last - segment.contents.last)
            blocks = await tools.patience.bus(partial(reader.fetch, blocks_max=want, wait_s=_WAIT_S))
            if not blocks:
                await check_stream(tools, at_least=seal.last)
            for stored in blocks:
                segment.contents.check(tools.lane, stored)
                segment.add(stored)
            if segment.buffered_bytes >= WRITE_BYTES:
                await tools.patience.disk(segment.write)
        digest = await tools.patience.disk(segment.finish)
    finally:
        segment.close()
        await reader.close()
    suffix = compression_of(segment.path.name).suffix
    name = SegmentName.parse(seal.name)
    manifest = segment.contents.manifest(
        tools.lane, name, digest, suffix=suffix, created_ns=seal.created_ns, software=SOFTWARE
    )
    return Finished(segment.path, manifest)
