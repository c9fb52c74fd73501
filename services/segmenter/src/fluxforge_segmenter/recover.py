"""Recovery, which is the start: what must be put right before a lane is read on.

A lane that has no state gets one; what was sealed lately stands in storage, or is put again from the stream; the seal
that somebody began is carried out. Nothing of this depends on how the last owner ended, and all of it may be repeated.
"""

import asyncio

from fluxforge.domain.errors import LaneBrokenError
from fluxforge.domain.lane_state import Sealing
from fluxforge.domain.segment import FeedLast, PreviousSegment
from fluxforge_segmenter.compression import compression_of
from fluxforge_segmenter.contents import Tail
from fluxforge_segmenter.open_segment import remove
from fluxforge_segmenter.rebuild import rebuild_state
from fluxforge_segmenter.resume import rebuild, resume
from fluxforge_segmenter.seal import LaneTools, announce, restorable
from fluxforge_segmenter.workspace import Workspace


async def recover(tools: LaneTools, workspace: Workspace) -> Tail:
    """Put the lane right and return what its next segment builds on; whether its stream can go on is another question.

    Raises:
        FencedError: The lane is somebody else's.
    """
    await tools.hold.confirm()
    if tools.hold.state.epoch == 0:
        await rebuild_state(tools, workspace)
        await _announce_newest(tools)
    await restore_recent(tools, workspace)
    sealing = tools.hold.state.sealing
    if sealing is not None:
        await resume(tools, workspace, sealing, await _tail_behind(tools, tools.hold.state.recent))
    await tools.hold.confirm()
    await tools.patience.disk(workspace.sweep)
    for key in await tools.patience.disk(tools.shelf.halves):
        tools.events.half_found(tools.lane, key)
    return await _tail_behind(tools, tools.hold.state.recent)


async def _announce_newest(tools: LaneTools) -> None:
    """Announce the newest segment: the state that was lost may have had its seal on its way, the event not sent yet."""
    names = await tools.patience.disk(tools.shelf.names)
    manifest = await tools.patience.disk(lambda: tools.shelf.manifest(names[-1])) if names else None
    if manifest is not None:
        await announce(tools, manifest)


async def restore_recent(tools: LaneTools, workspace: Workspace) -> bool:
    """See that every recent seal stands in storage or is committed, and put again what does not.

    Return whether all of them do. What cannot be put again is told, and keeps the stream from giving up anything.
    """
    recent = tools.hold.state.recent
    is_whole = True
    for seal in await restorable(tools):
        before = recent[: recent.index(seal)]
        try:
            await _restore(tools, workspace, seal, before)
        except LaneBrokenError as error:
            is_whole = False
            tools.events.segment_lost(tools.lane, seal.name, error)
    return is_whole


async def _restore(tools: LaneTools, workspace: Workspace, seal: Sealing, before: tuple[Sealing, ...]) -> None:
    if await tools.patience.disk(lambda: tools.shelf.stands(seal.name, seal.identity)):
        return
    standing = await tools.patience.disk(lambda: tools.shelf.manifest(seal.name))
    form = compression_of(standing.file) if standing and standing.identity == seal.identity else None
    finished = await rebuild(tools, workspace, seal, await _tail_behind(tools, before, seal), form)
    try:
        if finished.manifest.identity != seal.identity:
            was = (
                f"sha256 {finished.manifest.sha256} of sequences {finished.manifest.first} to {finished.manifest.last}"
            )
            raise LaneBrokenError(
                str(tools.lane), f"{seal.name}: expected sha256 {seal.sha256}, the stream gives {was}"
            )
        await tools.hold.confirm()
        if not await tools.patience.disk(lambda: tools.shelf.place(finished)):
            raise LaneBrokenError(str(tools.lane), f"{seal.name}: other bytes stand under its name")
    finally:
        await asyncio.to_thread(remove, finished)
    tools.events.segment_restored(tools.lane, seal.name)


async def _tail_behind(tools: LaneTools, seals: tuple[Sealing, ...], before: Sealing | None = None) -> Tail:
    """Return what stands behind the last of these seals; without any, what stands in storage before a seal."""
    if seals:
        return await _tail_of(tools, seals[-1])
    if before is None:
        return Tail()
    names = await tools.patience.disk(lambda: [name for name in tools.shelf.sealed() if name < before.name])
    manifest = await tools.patience.disk(lambda: tools.shelf.manifest(names[-1])) if names else None
    if manifest is not None:
        return Tail.of(manifest)
    return Tail(is_known=before.epoch == 1 and before.first == 1)


async def _tail_of(tools: LaneTools, seal: Sealing) -> Tail:
    """Return what stands behind a sealed segment: from its manifest, or else from its commit record and the stream."""
    manifest = await tools.patience.disk(lambda: tools.shelf.manifest(seal.name))
    if manifest is not None and manifest.identity == seal.identity:
        return Tail.of(manifest)
    commit = await tools.patience.disk(lambda: tools.shelf.commit(seal.name))
    if commit is None or commit.identity != seal.identity:
        tools.events.history_lost(tools.lane, seal.name)
    last = await tools.patience.bus(lambda: tools.bus.streams.get(tools.lane, seal.epoch, seal.last))
    return Tail(
        previous=PreviousSegment(seal.name, seal.epoch, tools.hold.state.last_capture_ns),
        last_seqs=tuple(FeedLast(f.channel, f.symbol, f.boot, f.ranges[-1][1]) for f in commit.feeds) if commit else (),
        last_block=last.block.id if last else None,
        is_known=last is not None,
    )
