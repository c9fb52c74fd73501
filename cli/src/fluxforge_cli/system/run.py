"""A run: the whole system started, watched and drained in the order in which data flows.

Collectors first, so that nothing more comes in; then the segmenter, once it has read every lane to its end; then the
ETL, once nothing waits; the bus last. Each step can therefore count on the one before it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.adapters.stores import open_partitions
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import ConfigurationError, ManifestError, TransientError
from fluxforge.domain.status import (
    CollectorStatus,
    CompactorStatus,
    EtlStatus,
    SegmenterStatus,
    Status,
    status_from_json,
)
from fluxforge.ports.bus import Bus
from fluxforge.runtime.lifecycle import DRAIN_DEADLINE_S, Shutdown
from fluxforge_cli.options import Chosen
from fluxforge_cli.screen.show import DRAINING, Screen
from fluxforge_cli.screen.view import History
from fluxforge_cli.stores import probe
from fluxforge_cli.system.bus_home import BusHome
from fluxforge_cli.system.plan import Role, plan
from fluxforge_cli.system.service import Service, ServiceRefusedError

_TICK_S: Final = 1.0
_POLL_S: Final = 0.1
_START_S: Final = 60.0
_STUCK_S: Final = 60.0
_KINDS: Final[dict[Role, type[Status]]] = {
    Role.COLLECTOR: CollectorStatus,
    Role.SEGMENTER: SegmenterStatus,
    Role.ETL: EtlStatus,
    Role.COMPACTOR: CompactorStatus,
}
_CHILD_DEADLINE_S: Final = DRAIN_DEADLINE_S + 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run and how long it took."""

    name: str
    seconds: float


@dataclass(slots=True)
class Run:
    """What a run leaves behind: the collectors' last words, what went wrong, each step's time."""

    collectors: list[CollectorStatus] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    refused: ServiceRefusedError | None = None
    steps: list[Step] = field(default_factory=list)


class System:
    """Everything on this machine, for one run."""

    def __init__(self, chosen: Chosen, screen: Screen) -> None:
        self._chosen = chosen
        self._screen = screen
        self._clock = SystemClock()
        self._history = History()
        self._run = Run()
        self._services: list[Service] = []
        self._phase = "starting"
        self._born_ns = self._clock.monotonic_ns()
        self._step_ns = self._born_ns

    async def run(
        self, shutdown: Shutdown, *, seconds: float | None, before_drain: Callable[[], Awaitable[None]] | None = None
    ) -> Run:
        """Run until the end is asked for or `seconds` were captured, and drain; return what is left to say.

        They count from when every collector gets records, or has not got any for a minute. `before_drain` is awaited
        while everything still runs.

        Raises:
            ConfigurationError: Nothing to capture, or a directory cannot be written.
        """
        settings = self._chosen.settings
        plan(settings, config=None, bus_urls=(), variables={})  # refuse what cannot be planned before anything starts
        probe(settings)
        home = BusHome(settings)
        nats = await home.start()
        try:
            options = BusOptions.from_settings(nats)
            await provision(options)
            bus = await connect(options, name="fluxforge-up")
            try:
                self._enlist(nats.servers)
                await self._live(bus, home, shutdown, seconds, before_drain)
            finally:
                await bus.close()
        finally:
            await home.stop()
        self._close_step("stop")
        return self._run

    def reload(self) -> None:
        """Have every collector read the configuration again."""
        self._screen.say("SIGHUP: the collectors read the configuration again, and log what came of it")
        for service in self._of(Role.COLLECTOR):
            service.reload()

    async def until_disconnected(self, *, deadline_s: float) -> None:
        """Wait until every collector has said that it has no connection left; it has then read all that was sent."""
        since_ns = self._clock.wall_ns()
        try:
            async with asyncio.timeout(deadline_s):
                while any(one.at_ns <= since_ns or one.connections for one in self._collectors()):  # noqa: ASYNC110 - as below
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            self._run.troubles.append(f"collectors were still connected {deadline_s:.0f} s after their exchange closed")

    def _enlist(self, servers: Iterable[str]) -> None:
        settings = self._chosen.settings
        logs = settings.storage.scratch_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        plans = plan(
            settings,
            config=self._chosen.config,
            bus_urls=tuple(servers),
            variables=self._chosen.variables,
            compacts=self._can_compact(),
        )
        self._services = [Service(one, logs / f"{one.name}.log", self._screen.say) for one in plans]

    def _can_compact(self) -> bool:
        """Return whether files of the datasets can be replaced here, and say why not: everything else can go on."""
        storage = self._chosen.settings.storage
        if not self._chosen.settings.compaction.enabled:
            return False
        try:
            open_partitions(storage.etl_storage_output, storage.scratch_dir).probe()
        except ConfigurationError as error:
            self._screen.say(f"no compactor: {error}")
            return False
        return True

    async def _live(
        self,
        bus: Bus,
        home: BusHome,
        shutdown: Shutdown,
        seconds: float | None,
        before_drain: Callable[[], Awaitable[None]] | None,
    ) -> None:
        async with asyncio.TaskGroup() as group:
            tending = [group.create_task(home.tend(self._screen.say)), group.create_task(self._watch(bus))]
            keeping = [group.create_task(self._keep(service, shutdown)) for service in self._services]
            await _at_most(_START_S, shutdown.unless_requested(self._captures()))
            self._close_step("start")
            self._phase = "capturing"
            await _at_most(seconds, shutdown.wait())
            self._close_step("capture")
            self._phase = DRAINING
            if before_drain and not self._run.refused:
                await before_drain()
            await self._drain(bus)
            await asyncio.wait(keeping)
            for task in tending:
                task.cancel()

    async def _captures(self) -> None:
        """Return once every collector gets records."""
        due = len(self._of(Role.COLLECTOR))
        while sum(any(feed.sound for feed in one.feeds) for one in self._collectors()) < due:  # noqa: ASYNC110 - heard by the watch
            await asyncio.sleep(_POLL_S)

    def _collectors(self) -> list[CollectorStatus]:
        return [one for one in self._history.newest.values() if isinstance(one, CollectorStatus)]

    async def _keep(self, service: Service, shutdown: Shutdown) -> None:
        try:
            await service.keep()
        except ServiceRefusedError as error:
            self._run.refused = self._run.refused or error
            shutdown.request()

    async def _watch(self, bus: Bus) -> None:
        quiet = False
        while True:
            try:
                heard = await bus.statuses(wait_s=_TICK_S)
                quiet = False
            except TransientError as error:
                if not quiet:
                    self._screen.say(f"{error}; trying again")
                quiet = True
                await asyncio.sleep(_TICK_S)
                continue
            self._history.hear({subject: status for subject, text in heard.items() for status in _read(text)})
            elapsed_s = (self._clock.monotonic_ns() - self._born_ns) / 1e9
            self._screen.show(self._history.view(self._clock.wall_ns()), phase=self._phase, elapsed_s=elapsed_s)

    async def _drain(self, bus: Bus) -> None:
        self._phase = f"{DRAINING}: collectors"
        await self._drain_role(Role.COLLECTOR)
        for service in self._of(Role.COLLECTOR):
            self._run.collectors += [s for s in service.final_statuses() if isinstance(s, CollectorStatus)]
        self._close_step("drain collectors")
        self._phase = f"{DRAINING}: sealing"
        await self._until("the segmenter has read every lane to its end", lambda: self._lanes_read(bus))
        await self._drain_role(Role.SEGMENTER)
        self._close_step("seal the rest")
        self._phase = f"{DRAINING}: processing"
        await self._until("the ETL has nothing left to do", lambda: _work_done(bus))
        await self._drain_role(Role.ETL)
        await self._drain_role(Role.COMPACTOR)
        self._close_step("process the rest")

    async def _drain_role(self, role: Role) -> None:
        services = self._of(role)
        await asyncio.gather(*(service.drain(deadline_s=_CHILD_DEADLINE_S) for service in services))
        self._history.end(_KINDS[role], [status for service in services for status in service.final_statuses()])
        for service in services:
            if lost := service.unexplained():
                times = f", {len(lost)} times," if len(lost) > 1 else ""
                why = f": {lost[-1].reason}" if lost[-1].reason else ""
                self._run.troubles.append(
                    f"{service.plan.name} ended{times} with {lost[-1].code}, without its last count{why}"
                )

    def _of(self, role: Role) -> list[Service]:
        return [service for service in self._services if service.plan.role is role]

    async def _until(self, what: str, reached: Callable[[], Awaitable[tuple[int, ...] | None]]) -> None:
        """Wait until `reached` returns None; what it returns before is the progress, which must not stand still."""
        last: tuple[int, ...] | None = None
        moved_ns = self._clock.monotonic_ns()
        while not self._run.refused:
            try:
                progress = await reached()
            except TransientError:
                progress = last or ()
            if progress is None:
                return
            now_ns = self._clock.monotonic_ns()
            if progress != last:
                last, moved_ns = progress, now_ns
            if now_ns - moved_ns > _STUCK_S * 1e9:
                self._run.troubles.append(f"waited {_STUCK_S:.0f} s in vain until {what}")
                return
            await asyncio.sleep(_POLL_S)

    async def _lanes_read(self, bus: Bus) -> tuple[int, ...] | None:
        read = {lane.lane: lane.stream_seq for lane in self._history.view(0).lanes}
        left = []
        for lane in await bus.states.lanes():
            versioned = await bus.states.get(lane)
            if versioned is None or versioned.state.epoch == 0:
                continue
            info = await bus.streams.info(lane, versioned.state.epoch)
            behind = info.last_seq - read.get(str(lane), 0) if info else 0
            if behind > 0:
                left.append(behind)
        return tuple(left) or None

    def _close_step(self, name: str) -> None:
        now_ns = self._clock.monotonic_ns()
        self._run.steps.append(Step(name, (now_ns - self._step_ns) / 1e9))
        self._step_ns = now_ns


async def _at_most(seconds: float | None, work: Awaitable[object]) -> None:
    """Wait for work to be done or for the time to be over."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return


async def _work_done(bus: Bus) -> tuple[int, ...] | None:
    queue = await bus.work()
    try:
        backlog = await queue.backlog()
    finally:
        await queue.close()
    left = (backlog.num_pending, backlog.num_ack_pending)
    return left if any(left) else None


def _read(text: bytes) -> list[Status]:
    try:
        return [status_from_json(text)]
    except ManifestError:
        return []  # of another version of a service, on a shared bus: nothing is decided by it
