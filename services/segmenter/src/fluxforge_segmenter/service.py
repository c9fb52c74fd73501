"""The segmenter: one task per lane that the bus knows, as long as the service runs."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from fluxforge.domain.errors import TransientError
from fluxforge.domain.lane import Lane
from fluxforge.domain.status import LaneStatus, SegmenterStatus, status_subject, status_to_json
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.ports.store import Store
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.hold import LaneHold
from fluxforge_segmenter.lane_task import LaneTask, Rhythm
from fluxforge_segmenter.open_segment import Sync
from fluxforge_segmenter.placing import Shelf
from fluxforge_segmenter.seal import LaneTools
from fluxforge_segmenter.settings import SegmenterSettings
from fluxforge_segmenter.workspace import Workspace, newest_owner

_POLL_S: Final = 1.0
_INSTANCE: Final = "0"


@dataclass(frozen=True, slots=True)
class Ports:
    """What the segmenter works on."""

    bus: Bus
    store: Store
    clock: Clock
    sync: Sync


class Segmenter:
    """Every lane of the bus, sealed. Any failure of one lane ends the service: a supervisor starts it again."""

    def __init__(self, settings: SegmenterSettings, ports: Ports, events: SegmenterEvents, shutdown: Shutdown) -> None:
        self._settings = settings
        self._ports = ports
        self._events = events
        self._shutdown = shutdown
        self._patience = Patience(events)
        self._holder = secrets.token_hex(4)
        self._lanes: set[Lane] = set()
        self._tasks: dict[Lane, LaneTask] = {}
        self._has_looked = False
        events.levels_from(self.lanes, ports.clock)

    @property
    def is_ready(self) -> bool:
        """Whether every lane that is known is being read."""
        return (
            self._has_looked
            and self._lanes == set(self._tasks)
            and all(task.is_ready for task in self._tasks.values())
            and self._ports.bus.connected
        )

    def lanes(self) -> Mapping[Lane, LaneStatus | None]:
        """Return every lane that is known and where it stands; None where it is not ours."""
        tasks = self._tasks
        return {lane: tasks[lane].status() if lane in tasks else None for lane in self._lanes}

    def status(self) -> SegmenterStatus:
        """Return what the service says of itself."""
        lanes = tuple(self._tasks[lane].status() for lane in sorted(self._tasks))
        return SegmenterStatus(self._ports.clock.wall_ns(), self.is_ready, lanes)

    async def run(self) -> None:
        """Seal until a drain is asked for and done, or out of time: what is not sealed stays in the stream.

        Raises:
            BaseExceptionGroup: Of the errors that ended the service.
        """
        async with asyncio.TaskGroup() as background:
            failed = self._shutdown.watched(self._ports.bus.failed)
            watches = [background.create_task(failed), background.create_task(self._announce())]
            if not await self._shutdown.unless_hurried(self._serve_lanes()):
                self._events.drain_cut_short()
            for watch in watches:
                watch.cancel()

    async def _serve_lanes(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            await self._find_lanes(lanes)

    async def _find_lanes(self, group: asyncio.TaskGroup) -> None:
        while not self._shutdown.requested:
            for lane in await self._known_lanes():
                if lane not in self._lanes:
                    self._lanes.add(lane)
                    group.create_task(self._shutdown.watched(partial(self._serve, lane)), name=str(lane))
            self._has_looked = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._shutdown.wait(), _POLL_S)

    async def _known_lanes(self) -> list[Lane]:
        """Return the lanes that have a key, or a stream whose key the bus lost."""
        keys = await self._patience.bus(self._ports.bus.states.lanes)
        streams = await self._patience.bus(self._ports.bus.streams.lanes)
        return sorted({*keys, *streams})

    async def _serve(self, lane: Lane) -> None:
        settings, ports = self._settings, self._ports
        root = settings.scratch_dir / settings.layout.active_prefix(lane)
        hold = await LaneHold.take(
            ports.bus,
            lane,
            holder=self._holder,
            above=newest_owner(root),
            patience=self._patience,
            events=self._events,
            is_wanted=lambda: not self._shutdown.requested,
        )
        if hold is None:
            self._lanes.discard(lane)
            return
        self._events.lane_taken(lane, owner=hold.owner, epoch=hold.state.epoch, sealed_seq=hold.state.sealed_seq)
        shelf = Shelf(ports.store, settings.layout, lane)
        tools = LaneTools(ports.bus, hold, shelf, self._patience, self._events, ports.clock, settings.bus_grace_ns)
        workspace = Workspace(root, hold.owner, settings.compression, ports.sync)
        rhythm = Rhythm(settings.policy, settings.flush_interval_ns)
        task = LaneTask(tools, workspace, rhythm, lambda: self._shutdown.requested)
        self._tasks[lane] = task
        try:
            async with asyncio.TaskGroup() as group:
                renewal = group.create_task(hold.keep(settings.lease_ttl_s))
                await task.run()
                renewal.cancel()
        finally:
            with contextlib.suppress(TransientError):  # a lease that cannot be given back ends by itself
                await hold.release()
        if task.is_closed:
            self._lanes.discard(lane)
            del self._tasks[lane]

    async def _announce(self) -> None:
        while True:
            if self._tasks or not self._lanes:  # a standby keeps quiet: the subject is its leader's
                await self._say()
            await asyncio.sleep(_POLL_S)

    async def _say(self) -> None:
        with contextlib.suppress(TransientError):  # a status is for whoever looks, when the bus is there
            subject = status_subject("segmenter", _INSTANCE)
            await self._ports.bus.events.announce(subject, status_to_json(self.status()))
