"""The seal on its way: what a predecessor began to seal is carried out, whatever is left of it.

It stands in storage already, or as a finished file in some owner's workspace, or is written anew from the stream. What
the stream has lost of it becomes a hole, and the state names what the segment became before storage shows it.
"""

import asyncio
from functools import partial

from fluxforge.domain.lane_state import Sealing
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.contents import Contents, Tail
from fluxforge_segmenter.open_segment import Finished, remove
from fluxforge_segmenter.seal import LaneTools, announce, carry_out, record, with_sealing
from fluxforge_segmenter.stream import is_read_in_vain, read_range
from fluxforge_segmenter.workspace import Workspace


async def resume(tools: LaneTools, workspace: Workspace, sealing: Sealing, tail: Tail) -> None:
    """Carry out the seal that the lane state names.

    Raises:
        FencedError: The lane is somebody else's.
    """
    tools.events.seal_resumed(tools.lane, sealing.name)
    placed = await tools.patience.disk(lambda: tools.shelf.placed(sealing.name, sealing.identity))
    if placed is not None:
        await announce(tools, placed)
        await record(tools, placed.last_capture_ns)
        return
    finished = await tools.patience.disk(lambda: workspace.find(sealing))
    while finished is None or await is_read_in_vain(tools, finished.manifest):
        finished = await _salvage(tools, workspace, sealing, tail)
    await carry_out(tools, finished.renamed(sealing.name))
    await asyncio.to_thread(remove, finished)


async def rebuild(
    tools: LaneTools, workspace: Workspace, seal: Sealing, tail: Tail, form: Compression | None = None
) -> Finished:
    """Write the file of a seal anew from what stands of its range in the stream; a disk that refuses is waited for."""

    async def once() -> Finished:
        return await read_range(tools, workspace.open(Contents(tail, epoch=seal.epoch, first=seal.first), form), seal)

    return await tools.patience.bus(once)


async def _salvage(tools: LaneTools, workspace: Workspace, sealing: Sealing, tail: Tail) -> Finished:
    """Return what is left of a seal; where that is less than was to be sealed, the state says so first."""
    finished = await rebuild(tools, workspace, sealing, tail)
    manifest = finished.manifest
    if manifest.identity == sealing.identity:
        return finished
    tools.events.seal_changed(tools.lane, sealing.name, last=manifest.last, records=manifest.records)
    await tools.hold.confirm()
    await tools.patience.disk(partial(tools.shelf.take_back, sealing.name, sealing.identity))
    await tools.hold.replace(with_sealing(tools.hold.state, manifest))
    return finished
