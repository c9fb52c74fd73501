"""The recording stage: one exchange's recording, played to whoever has subscribed.

Playing begins when the subscriptions have settled or as many as wished are there, and every order book that they need
has been asked for 200 ms ago. A frame goes to each connection that subscribed its topic, in recorded order; frames
that nobody subscribed, or that the client's book already contains, are skipped and entered in the ledger as such.
"""

import asyncio

from fluxforge.ports.clock import Clock
from fluxforge_simulator.connection import Connection
from fluxforge_simulator.faults import Spawn, Spoiler
from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Reply, Request
from fluxforge_simulator.ledger import Ledger
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.recording.dialect import Dialect, Key, Parcel, RestIndex, Topic
from fluxforge_simulator.recording.reader import RecordedFrame, Recording

_FOLLOWS_BOOK_NS = 200_000_000
_POLL_S = 0.01
_AHEAD_S = 0.001
_FRAMES_PER_TURN = 100


class RecordingPart:
    """One connection: its topics, and how many frames it was told."""

    def __init__(self, stage: "RecordingStage", connection: Connection) -> None:
        self.connection = connection
        self.topics: dict[str, Topic] = {}
        self._stage = stage
        self._told = 0
        self._answer(stage.dialect.greet(), Kind.ACK)

    def hear(self, text: str) -> None:
        """Answer, and keep what is subscribed."""
        heard = self._stage.dialect.hear(text)
        self._answer(heard.answers, Kind.PING if heard.is_ping else Kind.ACK)
        for text_of_topic in heard.unsubscribed:
            self.topics.pop(text_of_topic, None)
        self.topics.update({topic.text: topic for topic in heard.subscribed})
        if heard.subscribed:
            self._stage.subscribed(self.connection, heard.subscribed)

    def _answer(self, payloads: tuple[bytes, ...], kind: Kind) -> None:
        for payload in payloads:
            fitted, key = self._fit(payload, (), None)
            self.connection.offer((Frame(fitted, kind, key=key),))

    def _fit(self, payload: bytes, key: Key, topic: Topic | None) -> tuple[bytes, Key]:
        fitted = self._stage.dialect.fit(payload, key, topic, self._told)
        self._told += 1
        return fitted

    async def play(self, frame: RecordedFrame, parcel: Parcel) -> None:
        """Send a recorded frame."""
        payload, key = self._fit(frame.payload, parcel.key, self.topics[parcel.topic])
        await self.connection.send(
            Frame(payload, parcel.kind, parcel.channel, parcel.symbol, key, is_binary=frame.is_binary)
        )

    def beat(self) -> None:
        """Say nothing: only what was recorded is said."""

    def leave(self) -> None:
        """Leave the stage."""
        self._stage.parts.remove(self)


class RecordingStage:
    """One exchange's recording."""

    def __init__(
        self, recording: Recording, dialect: Dialect, options: SimulateOptions, clock: Clock, spawn: Spawn
    ) -> None:
        self.exchange = recording.exchange
        self.dialect = dialect
        self.parts: list[RecordingPart] = []
        self._recording = recording
        self._options = options
        self._clock = clock
        self._index = RestIndex(recording.replies)
        self._spoiler = Spoiler(options.faults, recording.exchange, spawn)
        self._subscribed_ns = 0
        self._answered_ns: dict[str, int] = {}
        self._is_alone = False

    def stand_alone(self) -> None:
        """Serve every host: no other exchange is played."""
        self._is_alone = True

    def serves(self, host: str) -> bool:
        """Tell whether a host is this exchange's."""
        return self._is_alone or any(host == name or host.endswith("." + name) for name in self.dialect.domains)

    def answer(self, request: Request, port: int) -> Reply | None:
        """Answer with the recorded book, the recorded reply, or what the dialect makes up."""
        symbol = self.dialect.book_symbol(request)
        if symbol is None:
            return self.dialect.rest(request, port)
        self._answered_ns[symbol] = self._clock.monotonic_ns()
        book = self.dialect.books.get(symbol)
        if book is None:
            return self.dialect.rest(request, port)
        return Reply(book.body, 200, Channel.ORDERBOOK, symbol, (book.update_id,))

    def enter(self, connection: Connection) -> RecordingPart:
        """Begin a conversation."""
        part = RecordingPart(self, connection)
        self.parts.append(part)
        return part

    def subscribed(self, connection: Connection, topics: tuple[Topic, ...]) -> None:
        """Take note of a connection's new topics."""
        self._subscribed_ns = self._clock.monotonic_ns()
        self._spoiler.subscribed(connection, {Feed(topic.channel, topic.symbol) for topic in topics})

    def _is_ready(self) -> bool:
        topics = {topic for part in self.parts for topic in part.topics}
        count = sum(len(part.topics) for part in self.parts)
        now_ns = self._clock.monotonic_ns()
        settled = count > 0 and now_ns - self._subscribed_ns >= self._options.settle_s * 1e9
        complete = self._options.wait_for is not None and count >= self._options.wait_for
        books = [symbol for topic in topics if (symbol := self.dialect.awaits_book(topic)) is not None]
        answered = all(now_ns - self._answered_ns.get(symbol, now_ns) >= _FOLLOWS_BOOK_NS for symbol in books)
        return (settled or complete) and answered

    async def play(self, ledger: Ledger, started: asyncio.Event) -> None:
        """Wait until it is time, set `started`, then play every frame."""
        while not self._is_ready():  # noqa: ASYNC110 - it becomes ready by time passing, too
            await asyncio.sleep(_POLL_S)
        started.set()
        began_ns = self._clock.monotonic_ns()
        first_ns = self._recording.frames[0].recv_ns
        for index, frame in enumerate(self._recording.frames):
            parcel = self.dialect.classify(frame.payload)
            if parcel is not None:
                await self._keep_pace(index, frame.recv_ns - first_ns, began_ns)
                await self._tell(frame, parcel, ledger)

    async def _keep_pace(self, index: int, elapsed_ns: int, began_ns: int) -> None:
        speed = self._options.speed
        if speed is not None:
            ahead_s = elapsed_ns / 1e9 / speed - (self._clock.monotonic_ns() - began_ns) / 1e9
            if ahead_s > _AHEAD_S:
                await asyncio.sleep(ahead_s)
                return
        if index % _FRAMES_PER_TURN == 0:
            await asyncio.sleep(0)

    async def _tell(self, frame: RecordedFrame, parcel: Parcel, ledger: Ledger) -> None:
        takers = [] if self._is_in_book(parcel) else [part for part in self.parts if parcel.topic in part.topics]
        for part in takers:
            await part.play(frame, parcel)
        if not takers:
            skipped = Frame(frame.payload, Kind.SKIPPED, parcel.channel, parcel.symbol, parcel.key)
            ledger.enter(skipped, conn=0, exchange=self.exchange, sent_ns=self._clock.wall_ns())

    def _is_in_book(self, parcel: Parcel) -> bool:
        symbol = self.dialect.awaits_book(parcel.topic)
        book = None if symbol is None or symbol not in self._answered_ns else self.dialect.books.get(symbol)
        return book is not None and self.dialect.precedes_book(parcel, book.update_id)
