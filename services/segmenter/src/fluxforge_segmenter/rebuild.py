"""A lane without a state: where it stands is told by its sealed segments, its commit records and its streams.

The state that is written says where the lane certainly was; whether its stream can go on from there, or a newer one
stands, the normal course finds out. A seal that was on its way is found by the file that was finished for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from fluxforge.domain.lane_state import LaneState, Sealing
from fluxforge.domain.segment import Manifest, SegmentIdentity, SegmentName
from fluxforge_segmenter.placing import Shelf
from fluxforge_segmenter.seal import LaneTools, sealing_of
from fluxforge_segmenter.workspace import Workspace


@dataclass(frozen=True, slots=True)
class _Newest:
    """The lane's newest sealed segment; 0 where its last capture time is not known any more."""

    seal: Sealing
    last_capture_ns: int


async def rebuild_state(tools: LaneTools, workspace: Workspace) -> None:
    """Give a lane that has no state the one that follows from what is known of it; a new lane gets its first stream."""
    lane = tools.lane
    epochs = await tools.patience.bus(lambda: tools.bus.streams.epochs(lane))
    newest = await tools.patience.disk(partial(_newest, tools.shelf))
    state = tools.hold.state
    if newest is None:
        epoch = min(epochs, default=1)
        await tools.patience.bus(lambda: tools.bus.streams.create(lane, epoch))
        state = replace(state, epoch=epoch, sealed_seq=0)
    else:
        state = await _behind(tools, state, newest)
    for epoch in epochs[:-1]:  # only the last can go on; those before it are read to their end
        await tools.patience.bus(partial(tools.bus.streams.end, lane, epoch))
    sealing = _on_its_way(state, await tools.patience.disk(workspace.finished))
    names = await tools.patience.disk(tools.shelf.names_in_use)
    name = max([*names, *([SegmentName.parse(sealing.name)] if sealing else ())], default=SegmentName("", 0))
    await tools.hold.replace(replace(state, sealing=sealing, hour=name.hour, counter=name.counter))
    if newest is not None or epochs:
        tools.events.state_rebuilt(lane, epoch=state.epoch, sealed_seq=state.sealed_seq)


async def _behind(tools: LaneTools, state: LaneState, newest: _Newest) -> LaneState:
    """Return the state of a lane that goes on behind its newest segment."""
    seal = newest.seal
    last_capture_ns = newest.last_capture_ns
    if not last_capture_ns:
        stored = await tools.patience.bus(lambda: tools.bus.streams.get(tools.lane, seal.epoch, seal.last))
        last_capture_ns = stored.block.last_capture_ns if stored else 0
    return replace(state, epoch=seal.epoch, sealed_seq=seal.last, last_capture_ns=last_capture_ns, recent=(seal,))


def _newest(shelf: Shelf) -> _Newest | None:
    """Return the lane's last sealed segment that came from a stream; adopted files have epoch 0."""
    for name in reversed(shelf.sealed()):
        manifest = shelf.manifest(name)
        if manifest is not None:
            if manifest.epoch > 0:
                return _Newest(sealing_of(manifest), manifest.last_capture_ns)
            continue
        commit = shelf.commit(name)
        if commit is not None and commit.identity.epoch > 0:
            return _Newest(_seal_of(name, commit.identity, commit.created_ns), 0)
    return None


def _seal_of(name: str, identity: SegmentIdentity, created_ns: int) -> Sealing:
    return Sealing(name, identity.epoch, identity.first, identity.last, 0, identity.sha256, created_ns)


def _on_its_way(state: LaneState, files: Sequence[Manifest]) -> Sealing | None:
    """Return the seal whose file was finished and that follows what is sealed; of several the longest."""
    following = [each for each in files if (each.epoch, each.first) == (state.epoch, state.sealed_seq + 1)]
    longest = max(following, key=lambda manifest: manifest.last, default=None)
    return sealing_of(longest) if longest else None
