"""A simulated world: one lane's collectors and segmenters, the real code, on simulated hosts, network and server.

Everything that happens follows from one seed. A run lets faults happen for a while, then heals the world, lets the
services end in order, and hands over to the judge.
"""

import asyncio
import contextlib
import random
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import structlog
from prometheus_client import CollectorRegistry
from typing_extensions import override

from fluxforge.adapters.jetstream import provision
from fluxforge.adapters.jetstream.bus import JetStreamBus
from fluxforge.adapters.jetstream.options import BusOptions
from fluxforge.adapters.local_files import fsync_file
from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.errors import FluxForgeError
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed
from fluxforge.domain.segment import SealPolicy
from fluxforge.ports.clock import Clock
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.settings import load
from fluxforge_collector.collector import Collector
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.settings import CollectorSettings, Limits, SpoolSettings
from fluxforge_collector.source import Sink
from fluxforge_etl_worker.consume import EtlService
from fluxforge_etl_worker.events import EtlEvents
from fluxforge_etl_worker.work import Worker
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.service import Ports, Segmenter
from fluxforge_segmenter.settings import SegmenterSettings
from tests.sim.connection import SimConnection, Weather
from tests.sim.disk import Disk, hooked
from tests.sim.forge import tiny_parts
from tests.sim.jetstream import EPOCH_NS, Server
from tests.sim.loop import PROCESS, HungError, Process, SimLoop, outside, simulated
from tests.unit.fluxforge_etl_worker.samples import OPTIONS

LANE = Lane("ccxt", "binance", "0of1")
BOOK = Feed("ccxt", "binance", "orderbook", "BTC/USDT")
TRADES = Feed("ccxt", "binance", "trades", "BTC/USDT")
CAPTURE, STORAGE = "capture", "storage"
_DATA = {
    "orderbook": b'{"bids":[[1.5,1.0]],"asks":[[2.5,1.0]],"nonce":%d,"x":"%b"}',
    "trades": b'[{"id":"%d","side":"buy","price":2.0,"amount":1.0,"x":"%b"}]',
}
_NS = 1_000_000_000
_HEAL_S = 900.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What may go wrong in a run, and how large things are. Rates are per virtual second."""

    duration_s: float = 20.0
    records_per_s: float = 12.0
    kills: float = 0.0
    power_cuts: float = 0.0
    outages: float = 0.0
    breaks: float = 0.0
    stops: float = 0.0
    clock_steps: float = 0.0
    consumer_losses: float = 0.0
    tail_losses: float = 0.0
    stream_losses: float = 0.0
    state_losses: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    reorder: bool = False
    segmenters: int = 1
    lane_max_bytes: int = 10**7
    segment_bytes: int = 3000
    segment_age_s: float = 5.0
    grace_s: float = 600.0
    window_blocks: int = 8
    waiting_records: int = 40
    spool_bytes: int = 10**6
    workers: int = 0
    is_shuffled: bool = True
    is_interleaved: bool = True

    @property
    def is_forgetful(self) -> bool:
        """Whether the bus may lose what it acknowledged."""
        return bool(self.tail_losses or self.stream_losses or self.state_losses)


class HostClock(Clock):
    """A host's clocks: virtual time, and a wall clock that may step."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.offset_ns = 0

    @override
    def wall_ns(self) -> int:
        return EPOCH_NS + int(self._loop.now_s * _NS) + self.offset_ns

    @override
    def monotonic_ns(self) -> int:
        return int(self._loop.now_s * _NS)


class Market:
    """A source whose every record is counted before the collector sees it."""

    def __init__(self, loop: SimLoop, records_per_s: float) -> None:
        self._loop = loop
        self._pause_s = 1 / records_per_s
        self.feeds = (BOOK, TRADES)
        self.connections = 1
        self.given = {"orderbook": 0, "trades": 0}

    async def run(self, sink: Sink) -> None:
        chance = self._loop.chance
        while True:
            await asyncio.sleep(chance.random() * 2 * self._pause_s)
            for _ in range(chance.choice((1, 1, 1, 2, 6, 25))):
                feed = chance.choice(self.feeds)
                self.given[feed.channel] += 1
                sink.record(
                    sink.feed(feed),
                    _DATA[feed.channel] % (self.given[feed.channel], b"y" * chance.randrange(60)),
                    exchange_ms=None,
                    at_ns=sink.now(),
                    conn=1,
                )

    async def close(self) -> None:
        """There is nothing to close."""


@dataclass(slots=True)
class Boot:
    """One life of a collector, and what it owed when it ended."""

    id: str
    market: Market
    collector: Collector
    owed: int | None = None
    """Records that must be accounted for at least; None: every one that it captured."""
    safe: int = 0
    """Records that were on the bus or in the spool at some time: there they stay."""

    def look(self) -> None:
        """Note what the process claims to have brought to safety."""
        writer, outbox = self.collector._writer, self.collector._outbox
        if writer is not None and outbox is not None:
            self.safe = max(self.safe, writer.captured - writer.dropped - (outbox.unstored - outbox.spooled))

    def count(self) -> None:
        """Note what the process owes, killed now."""
        self.look()
        self.owed = self.safe

    @property
    def captured(self) -> dict[str, int]:
        """How many records of each channel were given a seq."""
        writer = self.collector._writer
        if writer is None:
            return {}
        return {"control": writer.control_seq, **self.market.given}


@dataclass(slots=True)
class Role:
    """A service that a supervisor keeps running."""

    name: str
    host: str
    begin: Callable[["Role", Process], Awaitable[None]]
    process: Process | None = None
    shutdown: Shutdown | None = None
    boot: Boot | None = None
    segmenter: Segmenter | None = None
    is_over: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    failures: list[str] = field(default_factory=list)
    starts: int = 0


class World:
    """Everything there is in one run."""

    def __init__(self, scenario: Scenario, loop: SimLoop, folder: Path, processes: list[Process]) -> None:
        self.scenario = scenario
        self.loop = loop
        self.chance = loop.chance
        self.processes = processes
        self.server = Server(loop)
        self.disks = {host: Disk(folder / host, loop.chance) for host in (CAPTURE, STORAGE)}
        self.clocks = {host: HostClock(loop) for host in self.disks}
        self.weather = Weather(scenario.lost, scenario.late, reorder=scenario.reorder)
        self.connections: dict[Process, SimConnection] = {}
        self.boots: list[Boot] = []
        self.faults: dict[str, int] = {}
        self.keepers: list[asyncio.Task[None]] = []
        self.neutral: Context = copy_context()
        self.neutral.run(PROCESS.set, None)
        self.roles = [
            Role("collector", CAPTURE, self._collect),
            *(Role(f"segmenter{n}", STORAGE, self._segment) for n in range(scenario.segmenters)),
            *(Role(f"worker{n}", STORAGE, self._forge) for n in range(scenario.workers)),
        ]
        loop.kill = self.kill
        self.options = BusOptions(servers=(), lane_max_bytes=scenario.lane_max_bytes)
        self._provision()

    @property
    def data(self) -> Path:
        """Where sealed segments stand."""
        return self.disks[STORAGE].root / "data"

    # Services

    def _provision(self) -> None:
        for config in provision.streams_of(self.options):
            self.server._create(config["name"], config)
        self.server._create_consumer(self.server.streams["SEGMENTS"], ["etl"], provision.consumer_of(self.options))

    def _bus(self, process: Process) -> JetStreamBus:
        connection = SimConnection(self.server, self.loop, self.chance, self.weather)
        connection.is_linked = self.server.is_up
        self.connections[process] = connection
        return JetStreamBus(connection, self.options)  # type: ignore[arg-type]

    async def _collect(self, role: Role, process: Process) -> None:
        scenario = self.scenario
        settings = CollectorSettings(
            lane=LANE,
            shard=0,
            shards=1,
            limits=Limits(
                block_records_max=5,
                window_blocks=scenario.window_blocks,
                waiting_records_max=scenario.waiting_records,
            ),
            spool=SpoolSettings(self.disks[CAPTURE].root / "scratch" / "spool" / str(LANE), scenario.spool_bytes),
        )
        market = Market(self.loop, scenario.records_per_s)
        id_ = self.chance.randbytes(4).hex()
        collector = Collector(
            settings,
            source=market,
            bus=self._bus(process),
            clock=self.clocks[CAPTURE],
            events=CollectorEvents(CollectorRegistry(), str(LANE), self.clocks[CAPTURE]),
            boot=id_,
        )
        role.shutdown = Shutdown()
        role.boot = Boot(id_, market, collector)
        self.boots.append(role.boot)
        process.on_step.append(role.boot.look)
        await collector.run(role.shutdown)

    async def _segment(self, role: Role, process: Process) -> None:
        scenario = self.scenario
        settings = replace(
            _segmenter_defaults(),
            scratch_dir=self.data,
            policy=SealPolicy(scenario.segment_bytes, int(scenario.segment_age_s * _NS)),
            bus_grace_ns=int(scenario.grace_s * _NS),
            flush_interval_ns=_NS,
        )
        store = LocalStore(self.data)
        store.probe()
        ports = Ports(self._bus(process), store, self.clocks[STORAGE], fsync_file)
        role.shutdown = Shutdown()
        role.segmenter = Segmenter(settings, ports, SegmenterEvents(CollectorRegistry()), role.shutdown)
        await role.segmenter.run()

    async def _forge(self, role: Role, process: Process) -> None:
        store = LocalStore(self.data)
        store.probe()
        worker = Worker(store, store, OPTIONS, self.clocks[STORAGE])
        role.shutdown = Shutdown()
        events = EtlEvents(CollectorRegistry())
        await EtlService(worker, self._bus(process), events, role.shutdown, instance=role.name).run()

    # What happens to processes

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does."""
        if process.is_dead:
            return
        self.loop.note(process, "KILLED")
        for role in self.roles:
            if role.process is process:
                if role.boot is not None and role.boot.owed is None:
                    role.boot.count()
                role.ended.set()
        self._bury(process)
        for act in process.on_death:
            act()
        outside(lambda: self.disks[process.host].tear(process.written))

    def _bury(self, process: Process) -> None:
        process.is_dead = True
        process.close_files()
        if connection := self.connections.pop(process, None):
            connection.die()

    def cut_power(self, host: str) -> None:
        """End all processes of a host, and let its disk keep what was synced."""
        for process in self.living():
            if process.host == host:
                self.kill(process)
        self.disks[host].lose_power()

    def living(self) -> list[Process]:
        """Return the processes there are."""
        return [process for process in self.processes if not process.is_dead]

    async def keep_up(self, role: Role) -> None:
        """Start a role again and again, until it ended in order after it was told to."""
        while True:
            process = Process(f"{role.name}.{role.starts}", role.host)
            role.starts += 1
            role.process, role.shutdown, role.boot, role.segmenter = process, None, None, None
            role.ended.clear()
            self.processes.append(process)
            self.loop.note(process, "started")
            task = self.loop.spawn(process, role.begin(role, process))  # type: ignore[arg-type]
            task.add_done_callback(lambda _, role=role: role.ended.set(), context=self.neutral)  # type: ignore[misc]
            await role.ended.wait()
            if not process.is_dead:
                failure = _failure_of(task)
                self.loop.note(process, f"ended: {failure}")
                self._bury(process)
                if failure is None:
                    role.is_over = True
                    return
                role.failures.append(failure)
            await asyncio.sleep(0.1 + self.chance.random() * 3)

    # The run

    async def run(self, nemesis: Callable[["World"], Awaitable[None]]) -> None:
        """Run services and faults, heal, and let the services end."""
        self.keepers = [self.loop.create_task(self.keep_up(role)) for role in self.roles]
        harm = self.loop.create_task(nemesis(self))  # type: ignore[arg-type]
        await asyncio.sleep(self.scenario.duration_s)
        harm.cancel()
        await asyncio.wait([harm])
        self.heal()
        begin_s = self.loop.now_s
        collectors = [role for role in self.roles if role.host == CAPTURE]
        await self._until(lambda: all(_is_capturing(role) for role in collectors), "collectors to capture again")
        await self._end(collectors)
        segmenters = [role for role in self.roles if role.name.startswith("segmenter")]
        await self._until(lambda: self._is_held(segmenters), "a segmenter to hold the lane again")
        await self._end(segmenters)
        if self.scenario.workers:
            await self._until(self._is_worked_off, "every claim to be settled")
            await self._end([role for role in self.roles if role.name.startswith("worker")])
        self.faults["recovered_ms"] = int((self.loop.now_s - begin_s) * 1000)

    def heal(self) -> None:
        """Take every fault away."""
        self.loop.note("world", "HEALED")
        self.weather.lost = self.weather.late = 0.0
        self.server.is_up = True
        for process in self.living():
            process.doomed_in = None
            if process.is_stopped:
                self.loop.resume(process)
        for connection in self.connections.values():
            connection.link()

    def _is_held(self, segmenters: list[Role]) -> bool:
        """Whether one holds the lane: a standby is ready, too, and would end at once. A forgotten one is nobody's."""
        living = [role.segmenter for role in segmenters if _is_alive(role) and role.segmenter is not None]
        is_known = bool(self.server.streams["KV_lanes"].messages)
        return any(one.status().lanes if is_known else one.is_ready for one in living)

    def _is_worked_off(self) -> bool:
        stream = self.server.streams["SEGMENTS"]
        queue = stream.consumers["etl"]
        return not queue.pending and queue.next_seq > stream.last_seq

    async def _end(self, roles: list[Role]) -> None:
        def all_over() -> bool:
            for role in roles:
                # One that starts again with a spool left must come to send it.
                is_due = role.host == STORAGE or role.is_over or _is_capturing(role)
                if is_due and role.shutdown is not None and not role.shutdown.requested:
                    role.shutdown.request()
            return all(role.is_over for role in roles)

        await self._until(all_over, f"{', '.join(role.name for role in roles)} to end in order")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = self.loop.now_s + _HEAL_S
        while not condition():
            for keeper in self.keepers:
                if keeper.done():
                    keeper.result()  # raises what no service may raise
            if self.loop.now_s > deadline_s:
                told = {role.name: role.failures[-1:] for role in self.roles}
                raise HungError(f"waited {_HEAL_S:g} s for {what}; last failures: {told}")
            await asyncio.sleep(0.2)


def _is_alive(role: Role) -> bool:
    return role.process is not None and not role.process.is_dead


def _is_capturing(role: Role) -> bool:
    return _is_alive(role) and role.boot is not None and role.boot.captured.get("orderbook", 0) >= 1


def _failure_of(task: asyncio.Task[Any]) -> str | None:
    """Return why a process ended, or None for in order; a defect is raised."""
    if task.cancelled():
        raise AssertionError("a service ended as cancelled")
    error = task.exception()
    leaves = list(_leaves(error)) if error else []
    for leaf in leaves:
        if not isinstance(leaf, FluxForgeError | asyncio.CancelledError):
            raise leaf
    return "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves) if leaves else None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@cache
def _segmenter_defaults() -> SegmenterSettings:
    return SegmenterSettings.of(load(None))


@contextlib.contextmanager
def world_of(scenario: Scenario, seed: int) -> Iterator[World]:
    """Make a world, with time, chance and disk under its control."""
    chance = random.Random(seed)
    processes: list[Process] = []
    folder = Path(tempfile.mkdtemp(prefix="sim-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(silence())
        loop = stack.enter_context(
            simulated(
                chance,
                is_shuffled=scenario.is_shuffled,
                is_interleaved=scenario.is_interleaved,
                processes=processes,
            )
        )
        stack.enter_context(tiny_parts())
        stack.enter_context(mock.patch.object(random, "random", chance.random))
        stack.enter_context(mock.patch.object(secrets, "token_hex", lambda count=8: chance.randbytes(count).hex()))
        disks: dict[str, Disk] = {}
        stack.enter_context(hooked(loop, disks))
        world = World(scenario, loop, folder / "hosts", processes)
        disks.update(world.disks)
        yield world


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Let nobody log."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def _drop(_logger: object, _method: str, _event: object) -> Any:
    raise structlog.DropEvent
