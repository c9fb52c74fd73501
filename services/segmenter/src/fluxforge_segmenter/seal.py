"""Sealing: how a finished file becomes a segment of its lane, step by step, each safe to repeat after a kill.

The lane state names the seal before anything appears in storage, and forgets it after everything did: whatever dies in
between, the successor knows what to carry out and under which name. No step of another owner can mix in.
"""

from dataclasses import dataclass, replace
from functools import partial

from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import RECENT_MAX, LaneState, Sealing
from fluxforge.domain.segment import Manifest, SealedEvent, SegmentName
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.bounds import still_recent
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.hold import LaneHold
from fluxforge_segmenter.open_segment import Finished
from fluxforge_segmenter.placing import Shelf


@dataclass(frozen=True, slots=True)
class LaneTools:
    """What the parts of a lane's task work with."""

    bus: Bus
    hold: LaneHold
    shelf: Shelf
    patience: Patience
    events: SegmenterEvents
    clock: Clock
    bus_grace_ns: int

    @property
    def lane(self) -> Lane:
        """The lane."""
        return self.hold.lane


def sealing_of(manifest: Manifest) -> Sealing:
    """Return what the lane state says of a seal on its way."""
    return Sealing(
        name=manifest.name,
        epoch=manifest.epoch,
        first=manifest.first,
        last=manifest.last,
        size_bytes=manifest.size_bytes,
        sha256=manifest.sha256,
        created_ns=manifest.created_ns,
    )


def with_sealing(state: LaneState, manifest: Manifest) -> LaneState:
    """Return the state that names this seal; its name is the lane's highest from now on."""
    name = SegmentName.parse(manifest.name)
    return replace(state, sealing=sealing_of(manifest), hour=name.hour, counter=name.counter)


def renamed(finished: Finished) -> Finished:
    """Return the same segment under the next counter."""
    name = SegmentName.parse(finished.manifest.name)
    return finished.renamed(str(SegmentName(name.hour, name.counter + 1)))


async def claim(tools: LaneTools, finished: Finished) -> None:
    """Write into the lane state that this file is being sealed; from now on collectors go on behind it.

    Raises:
        FencedError: The lane is somebody else's.
    """
    await tools.hold.replace(with_sealing(tools.hold.state, finished.manifest))


async def carry_out(tools: LaneTools, finished: Finished) -> Manifest:
    """Place the file whose seal the lane state names, tell, record it; return the manifest under its final name.

    Where the name is taken by other bytes, the next free one is taken.

    Raises:
        FencedError: The lane is somebody else's; what was placed is what its new owner will find or place itself.
        DurabilityError: The file is not what was written to it.
    """
    while not await tools.patience.disk(partial(tools.shelf.place, finished)):
        await tools.patience.disk(finished.check)  # else what is wrong with it would take one name after the other
        tools.events.name_taken(tools.lane, finished.manifest.name)
        finished = renamed(finished)
        await tools.hold.replace(with_sealing(tools.hold.state, finished.manifest))
    await announce(tools, finished.manifest)
    await record(tools, finished.manifest.last_capture_ns)
    return finished.manifest


async def announce(tools: LaneTools, manifest: Manifest) -> None:
    """Publish the event of a sealed segment; within the stream's dedupe window it is stored once."""
    event = SealedEvent.of(manifest)
    subject = f"segments.sealed.{tools.lane}.{manifest.name}"
    message_id = f"{tools.lane}.{manifest.name}"
    await tools.patience.bus(
        lambda: tools.bus.events.publish(subject, event.to_json(), message_id=message_id),
    )


async def record(tools: LaneTools, last_capture_ns: int) -> None:
    """Write into the lane state that the seal on its way was carried out."""
    state = tools.hold.state
    recent = await restorable(tools)
    await tools.hold.replace(replace(state, recent=recent[1 - RECENT_MAX :]).sealed(last_capture_ns))


async def restorable(tools: LaneTools) -> tuple[Sealing, ...]:
    """Return the recent seals that could be put again from the streams as they are now."""
    state, streams = tools.hold.state, {}
    for epoch in {seal.epoch for seal in state.recent}:
        info = await tools.patience.bus(partial(tools.bus.streams.info, tools.lane, epoch))
        if info is not None:
            streams[epoch] = info
    return still_recent(state, streams)
