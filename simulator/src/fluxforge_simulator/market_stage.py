"""The market stage: one venue's made-up markets, stepped by the clock and told to every connection."""

import asyncio

from fluxforge.ports.clock import Clock
from fluxforge_simulator.connection import Connection
from fluxforge_simulator.connection_fault import Fault
from fluxforge_simulator.faults import Spawn, Spoiler
from fluxforge_simulator.frame import Channel, Feed, Frame, Reply, Request
from fluxforge_simulator.market.market import Market, Step
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.switch import FaultSwitch
from fluxforge_simulator.venues.venue import Dialogue, Floor, Refusal, Venue


class MarketPart:
    """One connection on a market stage."""

    def __init__(self, stage: "MarketStage", connection: Connection, dialogue: Dialogue) -> None:
        self.connection = connection
        self.dialogue = dialogue
        self._stage = stage
        connection.subscribed = dialogue.feeds
        connection.offer(dialogue.greet(stage.clock.wall_ns()))

    def hear(self, text: str) -> None:
        """Answer, and let the stage know what has been subscribed."""
        refusal = self._stage.refusal(self.dialogue, text)
        if refusal:
            self.connection.offer(refusal)
            return
        before = set(self.dialogue.feeds)
        self.connection.offer(self.dialogue.hear(text, self._stage.clock.wall_ns()))
        self._stage.subscribed(self.connection, self.dialogue.feeds - before)

    def beat(self) -> None:
        """Offer heartbeats."""
        self.connection.offer(self.dialogue.beat(self._stage.clock.wall_ns()))

    def leave(self) -> None:
        """Leave the stage."""
        self._stage.parts.remove(self)


class MarketStage:
    """One venue. Its markets run from their first subscription on, whoever comes and goes."""

    def __init__(self, venue: Venue, options: SimulateOptions, clock: Clock, spawn: Spawn, switch: FaultSwitch) -> None:
        self.exchange = venue.exchange
        self.clock = clock
        self.parts: list[MarketPart] = []
        self.books_answered: dict[str, int] = {}
        self.changed = asyncio.Event()
        self._venue = venue
        self._options = options
        self._spawn = spawn
        self._switch = switch
        self._moving = asyncio.Event()
        self._moving.set()
        self._spoiler = Spoiler(options.faults, venue.exchange, spawn)
        self.floor = Floor(
            venue.exchange,
            venue.instruments,
            seed=options.seed,
            trade_share=options.pace.trade_share,
            opened=self._opened,
        )

    def serves(self, host: str) -> bool:
        """Tell whether a host is this venue's."""
        return any(host == domain or host.endswith("." + domain) for domain in self._venue.domains)

    def answer(self, request: Request, port: int) -> Reply | None:  # noqa: ARG002 - no venue here names its sockets
        """Answer a REST request; an order book lets the depth streams that wait for it begin."""
        reply = self._venue.rest(request, self.floor, self.clock.wall_ns())
        if reply is not None and reply.channel == Channel.ORDERBOOK and reply.symbol is not None:
            encoded_ns = self.clock.wall_ns()
            for part in self.parts:
                part.dialogue.snapshot_answered(reply.symbol, encoded_ns)
            self.books_answered[reply.symbol] = self.clock.monotonic_ns()
            self.changed.set()
        return reply

    def enter(self, connection: Connection) -> MarketPart:
        """Begin a conversation."""
        part = MarketPart(self, connection, self._venue.dialogue(self.floor, self._options.faults.refused))
        self.parts.append(part)
        return part

    def subscribed(self, connection: Connection, feeds: set[Feed]) -> None:
        """Take note of new feeds of a connection: faults may be waiting for them."""
        self.changed.set()
        self._spoiler.subscribed(connection, feeds)

    def refusal(self, dialogue: Dialogue, text: str) -> list[Frame]:
        """Return the error that a message meets, if it subscribes something and a fault is waiting for that."""
        fault = self._switch.awaited(self.exchange, Fault.REFUSE, Fault.LIMIT)
        if fault is None:
            return []
        frames = dialogue.refuse(text, Refusal.BUSY if fault.fault is Fault.LIMIT else Refusal.UNKNOWN)
        if frames:
            self._switch.met(fault)
        return frames

    def stand_still(self) -> None:
        """Let the markets step no more; what is queued still leaves."""
        self._moving.clear()

    def connections(self, feed: Feed) -> list[Connection]:
        """Return the connections that are subscribed to a feed."""
        return [part.connection for part in self.parts if feed in part.dialogue.feeds]

    def _opened(self, market: Market) -> None:
        if self._options.load is None:
            self._spawn(self._run(market))

    async def _run(self, market: Market) -> None:
        interval_ns = round(1e9 / (self._options.pace.steps_per_s * (self._options.speed or 1.0)))
        due_ns = self.clock.monotonic_ns()
        while True:
            due_ns = max(due_ns + interval_ns, self.clock.monotonic_ns() - interval_ns)
            await asyncio.sleep(max(0.0, (due_ns - self.clock.monotonic_ns()) / 1e9))
            await self._moving.wait()
            now_ns = self.clock.wall_ns()
            self._tell(market.step(now_ns), now_ns)

    def _tell(self, step: Step, now_ns: int) -> None:
        for part in self.parts:
            frames = part.dialogue.tell(step, now_ns)
            if frames:
                part.connection.offer(frames)
