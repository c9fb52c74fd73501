"""Unify: unified records derived again from the wire, by ccxt and the tap as at capture, in the recorded time.

The bytes are those that were captured, as long as ccxt is the same and fills in nothing from a clock or by chance.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

import ccxt
from prometheus_client import CollectorRegistry
from typing_extensions import override

from fluxforge.domain.control import Control, Event
from fluxforge.domain.lane import Lane
from fluxforge.ports.clock import Clock
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.lanes import CCXT
from fluxforge_collector.ccxt_source.connection import Connection
from fluxforge_collector.ccxt_source.exchange import open_exchange
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.ccxt_source.source import CcxtSource
from fluxforge_collector.ccxt_source.tap import Tap
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.markets_wanted import MarketsWanted
from fluxforge_collector.replay.client import TapeEnds, hand_over
from fluxforge_collector.replay.errors import ReplayDivergedError
from fluxforge_collector.replay.loop import ReplayLoop
from fluxforge_collector.replay.sink import ReplaySink
from fluxforge_collector.replay.tape import Ahead, Step, boots, groups
from fluxforge_collector.settings import settings_of
from fluxforge_collector.silence.limits import Remedy, SilenceLimits
from fluxforge_collector.wire_records import Answer, Frame, Resolved, Setup

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_NEVER_NS: Final = 1 << 62
_SOON: Final = 0.01
"""Of its delay, what a client that backs off waits: its time comes with the tape's. Without any it would never rest."""
_CLOSED: Final = "closed with code "


def unify(tape: Iterable[Step], write: Callable[[bytes], object]) -> int:
    """Write the unified records of every boot on the tape, a line each; return their number.

    Raises:
        InputFileError: The tape has a hole.
        ReplayDivergedError: The client of now does not do what was recorded.
    """
    written = 0
    for boot in boots(tape):
        with asyncio.Runner(loop_factory=ReplayLoop) as runner:
            written += runner.run(_unify(boot, write))
    return written


async def _unify(boot: Iterator[Step], write: Callable[[bytes], object]) -> int:
    first = next(boot)
    if not isinstance(first.item, Setup):
        raise TypeError("a tape begins with a setup")
    session = _Session(first.item, first, Ahead(groups(boot)), write)
    try:
        await session.run()
    finally:
        await session.close()
    return session.sink.written


class _RecordedClock(Clock):
    """The clock of a replay: what was recorded last."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now

    @override
    def wall_ns(self) -> int:
        return self._now()

    @override
    def monotonic_ns(self) -> int:
        return self._now()


class _Session:
    """One boot's client, driven along the tape."""

    def __init__(self, setup: Setup, first: Step, groups: Ahead, write: Callable[[bytes], object]) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, ReplayLoop):
            raise TypeError("a replay runs on a loop of its own")
        self._loop = loop
        self._origin_ns = first.at_ns
        self._setup = setup
        self._groups = groups
        self._controls: deque[Step] = deque()
        self._astray: str | None = None
        self.sink = ReplaySink(first.boot, write)
        self.sink.begin(first.at_ns, ())
        channels = {method: MarketsWanted(names=markets) for method, markets in setup.channels.items()}
        self._venue = VenueSettings(
            setup.exchange, setup.depth, channels, via=setup.via, options=setup.options, timeframe=setup.timeframe
        )
        exchange = self._exchange = open_exchange(self._venue)
        exchange.enableRateLimit = False
        exchange.milliseconds = lambda: self.sink.now() // _NS_PER_MS
        self._ends = exchange.wire = TapeEnds(exchange, loop, self._resolved_ns)
        self._main = loop.create_task(self._capture())

    async def run(self) -> None:
        """Go along the tape to its end."""
        while group := self._groups.take():
            if group.step is not None:
                self._loop.advance_to((group.step.at_ns - self._origin_ns) / _NS)
                await self._loop.settle()
                self.sink.begin(group.step.at_ns, group.controls)
                await self._take(group.step)
                await self._loop.settle()
            self._controls += group.controls
            while self._controls:
                await self._follow(self._controls.popleft())
            self._check()

    async def close(self) -> None:
        """Let go of the client."""
        self._main.cancel()
        await asyncio.wait([self._main])
        await self._exchange.close()

    async def _capture(self) -> None:
        await self._exchange.load_markets()
        settings = replace(
            settings_of(Settings(), Lane(CCXT, self._setup.exchange, "0of1")),
            silence=SilenceLimits(fixed_ns=_NEVER_NS),  # the tape says when silence was found
            backfills=False,
            refresh_s=0.0,
        )
        source = CcxtSource(
            self._exchange,
            self._venue,
            settings,
            events=CollectorEvents(CollectorRegistry(), self._setup.exchange, _RecordedClock(self.sink.now)),
            chance=lambda: _SOON,
            wire=self._ends,
        )
        await source.run(self.sink)

    async def _take(self, step: Step) -> None:
        """Do what an item of the wire does to the client."""
        match step.item:
            case Frame(payload, sent=False):
                hand_over(self._ends.connection(step.conn), payload)
            case Answer():
                await self._ends.answer(step.item)
            case Resolved(message_hash):
                self._astray = f"the recording has an update {message_hash} outside of any frame, the replay has none"
            case _:
                return  # what was sent: the client sends it by itself

    async def _follow(self, step: Step) -> None:
        """Do to the client what a control record says was done to it."""
        control = step.item
        if not isinstance(control, Control) or control.repeat:
            return
        match control.event:
            case Event.CONNECTED:
                await self._ends.connect(control.reason or "")
            case Event.DISCONNECTED:
                _lose(self._ends.connection(step.conn), self._exchange.tap, control.reason or "")
            case Event.STALLED if (control.detail or {}).get("remedy") == Remedy.RESUBSCRIBE:
                concerned = set(control.concerned())
                feeds = {feed for feed in self.sink.feeds if feed.key in concerned}
                self._ends.connection(step.conn).resubscribe(feeds, control.reason or "")
            case _:
                return
        await self._loop.settle()

    def _resolved_ns(self, message_hash: str) -> int:
        """Return the time of an update that is being resolved outside of any frame: the tape goes on to it."""
        group = self._groups.peek()
        if group is None or group.step is None or group.step.item != Resolved(message_hash):
            self._astray = f"an update {message_hash} outside of any frame, where the recording has none"
            return self.sink.now()
        self._groups.take()
        self.sink.begin(group.step.at_ns, group.controls)
        self._controls += group.controls
        return group.step.at_ns

    def _check(self) -> None:
        if self._astray is not None:
            raise ReplayDivergedError(self._astray)
        if self._main.done():
            self._main.result()
            raise ReplayDivergedError("the client ended before the recording did")


def _lose(connection: Connection, tap: Tap, reason: str) -> None:
    """Have a connection end as it did, unless it has by itself."""
    if connection not in tap.standing:
        return
    if reason.startswith(_CLOSED):
        connection.client.on_close(reason.removeprefix(_CLOSED))
    else:
        connection.client.on_error(ccxt.NetworkError(reason))
