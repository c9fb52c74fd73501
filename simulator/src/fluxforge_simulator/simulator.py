"""The simulator: a server with its stages and ledger, from start to stop."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Self

from fluxforge.adapters.system_clock import SystemClock
from fluxforge.ports.clock import Clock
from fluxforge_simulator.connection_fault import ConnectionFault
from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.ledger import Ledger
from fluxforge_simulator.load import run_load
from fluxforge_simulator.market.market import Market
from fluxforge_simulator.market_stage import MarketStage
from fluxforge_simulator.options import LoadPlan, SimulateOptions, check
from fluxforge_simulator.recording.catalog import DIALECTS, read_all, read_markets
from fluxforge_simulator.recording.stage import RecordingStage
from fluxforge_simulator.server import Server
from fluxforge_simulator.stage import Stage
from fluxforge_simulator.switch import FaultSwitch
from fluxforge_simulator.venues.catalog import VENUES
from fluxforge_simulator.venues.hostile import with_hostile


class Simulator:
    """One run, as an async context manager: it listens inside, and its ledger is complete after.

    `started` is set when the first frame of a recording or load is about to leave.
    `finished` is set when everything has been played and each connection has answered a ping sent behind its last
    frame: at the end of a recording or of a load. Made-up markets never finish.
    """

    def __init__(self, options: SimulateOptions, clock: Clock | None = None) -> None:
        """Read and check everything that the options name.

        Raises:
            OptionError: an option cannot be used. Nothing was started.
        """
        self.started = asyncio.Event()
        self.finished = asyncio.Event()
        self._options = options
        self._clock = clock or SystemClock()
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        check(options)
        self._recordings: list[RecordingStage] = []
        self._markets: list[MarketStage] = []
        self.ledger = Ledger(None)
        self._switch = FaultSwitch({}, self._spawn)
        if options.recordings:
            self._recordings = self._open_recordings()
        else:
            self._markets = self._open_markets()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.port

    def inject(self, fault: ConnectionFault) -> int:
        """Begin a fault of a made-up market's exchange; return the number of connections that it befalls now.

        Raises:
            OptionError: No such exchange here.
        """
        return self._switch.inject(fault)

    def market(self, exchange: str, symbol: str) -> Market:
        """Return a made-up market, opening it where needed."""
        return self._stage(exchange).floor.market(symbol)

    def stand_still(self, exchange: str) -> None:
        """Let an exchange's made-up markets step no more: what clients hold can be compared with them."""
        self._stage(exchange).stand_still()

    def _stage(self, exchange: str) -> MarketStage:
        return next(stage for stage in self._markets if stage.exchange == exchange)

    def _open_markets(self) -> list[MarketStage]:
        exchange = self._options.exchange
        if exchange is not None and exchange not in VENUES:
            raise OptionError("--exchange", exchange, f"one of {', '.join(VENUES)}", "not an exchange of market mode")
        venues = [venue for venue in VENUES.values() if exchange in {None, venue.exchange}]
        if self._options.hostile_symbols:
            venues = [with_hostile(venue) for venue in venues]
        self._switch = FaultSwitch({venue.exchange: venue.strange for venue in venues}, self._spawn)
        return [MarketStage(venue, self._options, self._clock, self._spawn, self._switch) for venue in venues]

    def _open_recordings(self) -> list[RecordingStage]:
        options = self._options
        recordings, markets = read_all(options.recordings, options.exchange), read_markets(options.markets)
        stages = [
            RecordingStage(
                recording, DIALECTS[recording.exchange](recording, markets), options, self._clock, self._spawn
            )
            for recording in recordings
        ]
        if len(stages) == 1:
            stages[0].stand_alone()
        return stages

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OptionError: the port cannot be taken, or the ledger cannot be written. Nothing listens.
        """
        self.ledger = Ledger(self._options.ledger)
        stages: list[Stage] = [*self._recordings, *self._markets]
        self._server = Server(stages, self.ledger, self._clock, self._switch)
        try:
            await self._server.start(self._options.host, self._options.port)
        except OptionError:
            self.ledger.close()
            raise
        await self._tasks.__aenter__()
        self._spawn(self._play())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection, stop listening and complete the ledger.

        An error of the body leaves as it is; one of the simulator's own tasks leaves as an exception group.
        """
        for task in tuple(self._running):
            task.cancel()
        try:
            is_cancelled = isinstance(error, asyncio.CancelledError)
            await self._tasks.__aexit__(*((kind, error, trace) if is_cancelled else (None, None, None)))
        finally:
            await self._server.stop()
            self.ledger.close()

    async def _play(self) -> None:
        """Play to the end, if there is one, and let each connection confirm that it has heard it all."""
        async with asyncio.TaskGroup() as plays:
            for stage in self._recordings:
                plays.create_task(stage.play(self.ledger, self.started))
            if self._options.load is not None:
                plays.create_task(self._load(self._options.load))
        if not self._recordings and self._options.load is None:
            return
        connections = [part.connection for stage in self._recordings for part in stage.parts]
        connections += [part.connection for stage in self._markets for part in stage.parts]
        await asyncio.gather(*(connection.ping() for connection in connections))
        self.ledger.flush()
        self.finished.set()

    async def _load(self, plan: LoadPlan) -> None:
        stage = next((stage for stage in self._markets if stage.exchange in {"binance", "binanceus"}), None)
        if stage is None:
            raise OptionError("load", str(plan), "binance or binanceus among the markets", "neither of them")
        await run_load(plan, stage, self._clock, self.started)
