"""Recovery, which is the start: what must be put right before a lane is read on.

A lane gets its stream; what was sealed lately stands in storage, or is put again from the stream; the seal that
somebody began is carried out. Nothing of this depends on how the last owner ended.
"""

import asyncio
from dataclasses import replace

from fluxforge.domain.block import BlockId
from fluxforge.domain.errors import LaneBrokenError, SegmentCorruptError
from fluxforge.domain.lane_state import LaneState, Sealing
from fluxforge.domain.segment import FeedLast, Manifest, PreviousSegment, SegmentName
from fluxforge_segmenter.bounds import still_recent
from fluxforge_segmenter.compression import compression_of
from fluxforge_segmenter.contents import Contents, Tail
from fluxforge_segmenter.open_segment import Finished, remove
from fluxforge_segmenter.seal import LaneTools, carry_out, sealing_of
from fluxforge_segmenter.stream import check_stream, read_range
from fluxforge_segmenter.workspace import Workspace, identity_of


async def recover(tools: LaneTools, workspace: Workspace) -> Tail:
    """Put the lane right and return what its next segment builds on.

    Raises:
        LaneBrokenError: Stream, state and storage do not fit together; nothing was dropped.
        FencedError: The lane is somebody else's.
    """
    if tools.hold.state.epoch == 0:
        await tools.hold.replace(await _first_state(tools))
    await check_stream(tools, at_least=tools.hold.state.sealed_seq)
    await restore_recent(tools, workspace)
    sealing = tools.hold.state.sealing
    if sealing is not None:
        tools.events.seal_resumed(tools.lane, sealing.name)
        finished = await tools.patience.disk(lambda: workspace.find(sealing))
        if finished is None:
            finished = await _rebuild(tools, workspace, sealing, await _tail_before(tools, sealing))
        await carry_out(tools, _named(finished, sealing.name))
    await tools.patience.disk(workspace.sweep)
    recent = tools.hold.state.recent
    return await _tail_of(tools, recent[-1]) if recent else Tail()


async def restore_recent(tools: LaneTools, workspace: Workspace) -> None:
    """See that every recent seal stands in storage or is committed, and put again what does not.

    Raises:
        LaneBrokenError: One is gone from storage and from the stream.
        SegmentCorruptError: Other bytes stand under its name.
    """
    state = tools.hold.state
    info = await tools.patience.bus(lambda: tools.bus.streams.info(tools.lane, state.epoch))
    for seal in still_recent(state, info) if info else ():
        await _restore(tools, workspace, seal)


async def _restore(tools: LaneTools, workspace: Workspace, seal: Sealing) -> None:
    identity = identity_of(seal)
    if await tools.patience.disk(lambda: tools.shelf.stands(seal.name, identity)):
        return
    finished = await _rebuild(tools, workspace, seal, await _tail_before(tools, seal))
    if not await tools.patience.disk(lambda: tools.shelf.place(finished)):
        raise SegmentCorruptError(f"{tools.lane} {seal.name}", f"sha256 {seal.sha256}", "other bytes")
    await asyncio.to_thread(remove, finished)
    tools.events.segment_restored(tools.lane, seal.name)


async def _first_state(tools: LaneTools) -> LaneState:
    """Return the state of a lane that has none: new, or, where storage knows the lane, going on where it ended."""
    state, lane = tools.hold.state, tools.lane
    manifest = await tools.patience.disk(lambda: _newest(tools))
    if manifest is None:
        await tools.patience.bus(lambda: tools.bus.streams.create(lane, 1))
        return replace(state, epoch=1, sealed_seq=0)
    info = await tools.patience.bus(lambda: tools.bus.streams.info(lane, manifest.epoch))
    if info is None or info.last_seq < manifest.last:
        raise LaneBrokenError(
            str(lane),
            f"its state is lost, storage holds it up to {manifest.name} (epoch {manifest.epoch}, sequence "
            f"{manifest.last}), and no stream continues that; opening a new epoch is not available yet. Restore the "
            "bus' data, or move this lane's folder out of the ready directory to begin anew",
        )
    name = SegmentName.parse(manifest.name)
    return replace(
        state,
        epoch=manifest.epoch,
        sealed_seq=manifest.last,
        hour=name.hour,
        counter=name.counter,
        last_capture_ns=manifest.last_capture_ns,
        recent=(sealing_of(manifest),),
    )


def _newest(tools: LaneTools) -> Manifest | None:
    """Return the manifest of the lane's last sealed segment that came from a stream; adopted files have epoch 0."""
    for name in reversed(tools.shelf.sealed()):
        manifest = tools.shelf.manifest(name)
        if manifest is not None and manifest.epoch > 0:
            return manifest
    return None


async def _tail_before(tools: LaneTools, seal: Sealing) -> Tail:
    """Return what the segment of this seal builds on."""
    before = [recent for recent in tools.hold.state.recent if recent.last < seal.first]
    if before:
        return await _tail_of(tools, before[-1])
    if seal.epoch == 1 and seal.first == 1:
        return Tail()
    names = await tools.patience.disk(lambda: [name for name in tools.shelf.sealed() if name < seal.name])
    manifest = await tools.patience.disk(lambda: tools.shelf.manifest(names[-1])) if names else None
    if manifest is None or (manifest.epoch, manifest.last + 1) != (seal.epoch, seal.first):
        raise LaneBrokenError(str(tools.lane), f"the segment before {seal.name} is not in storage; put it back")
    return Tail.of(manifest)


async def _tail_of(tools: LaneTools, seal: Sealing) -> Tail:
    """Return what stands behind a sealed segment: from its manifest, or from its commit record once that is gone."""
    manifest = await tools.patience.disk(lambda: tools.shelf.manifest(seal.name))
    if manifest is not None:
        return Tail.of(manifest)
    commit = await tools.patience.disk(lambda: tools.shelf.commit(seal.name))
    if commit is None or commit.identity != identity_of(seal):
        raise LaneBrokenError(
            str(tools.lane), f"{seal.name}, sealed last, is neither in storage nor committed; put its manifest back"
        )
    last = await tools.patience.bus(lambda: tools.bus.streams.get(tools.lane, seal.epoch, seal.last))
    last_block: BlockId | None = last.block.id if last else None
    return Tail(
        previous=PreviousSegment(seal.name, seal.epoch, tools.hold.state.last_capture_ns),
        last_seqs=tuple(FeedLast(f.channel, f.symbol, f.boot, f.ranges[-1][1]) for f in commit.feeds),
        last_block=last_block,
        is_known=last is not None,
    )


async def _rebuild(tools: LaneTools, workspace: Workspace, seal: Sealing, tail: Tail) -> Finished:
    """Write the file of exactly this seal anew from the stream."""
    standing = await tools.patience.disk(lambda: tools.shelf.manifest(seal.name))
    form = compression_of(standing.file) if standing and standing.identity == identity_of(seal) else None
    segment = workspace.open(Contents(tail, epoch=seal.epoch, first=seal.first), form)
    finished = await read_range(tools, segment, seal)
    if finished.manifest.identity != identity_of(seal):
        raise LaneBrokenError(
            str(tools.lane),
            f"{seal.name}: expected sha256 {seal.sha256} of sequences {seal.first} to {seal.last}, "
            f"the stream now gives {finished.manifest.sha256}",
        )
    return finished


def _named(finished: Finished, name: str) -> Finished:
    manifest = finished.manifest
    return replace(finished, manifest=replace(manifest, name=name, file=manifest.file.replace(manifest.name, name)))
