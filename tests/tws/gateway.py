"""A loopback stand-in for TWS or the Gateway that speaks its protocol and does as a test says.

It keeps TWS' rules: a client id belongs to one session, a contract takes one tick-by-tick request per interval, three
books at most, fifty messages a second.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.tws import wire
from tests.tws.wire import Listing

MESSAGES_PER_S_MAX = 50
BOOKS_MAX = 3

AAPL = Listing(265598, "AAPL", "STK", "SMART", local_symbol="AAPL", primary="NASDAQ")
MSFT = Listing(272093, "MSFT", "STK", "SMART", local_symbol="MSFT", primary="NASDAQ")
ESU4 = Listing(568550526, "ES", "FUT", "CME", local_symbol="ESU4", expiry="20240920", multiplier="50")
ESZ4 = Listing(495512552, "ES", "FUT", "CME", local_symbol="ESZ4", expiry="20241220", multiplier="50")
EURUSD = Listing(12087792, "EUR", "CASH", "IDEALPRO", local_symbol="EUR.USD")
LISTINGS = (AAPL, MSFT, ESU4, ESZ4, EURUSD)

_CONTRACT_AT = {1: 3, 10: 3, 50: 3, 97: 2}
_NUMBER_AT = {1: 2, 10: 2, 50: 2, 97: 1, 2: 2, 11: 2, 51: 2, 98: 1}
_KINDS = {1: "ticker", 10: "orderbook", 50: "ohlcv_5s", 2: "ticker", 11: "orderbook", 51: "ohlcv_5s"}
_CANCELS = frozenset({2, 11, 51, 98})


@dataclass(frozen=True)
class Standing:
    """A subscription of a session."""

    session: "Session"
    number: int
    kind: str
    listing: Listing


class Session:
    """One client's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.client_id: int | None = None
        self.standing: dict[int, Standing] = {}
        self.times: deque[float] = deque()

    def send(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)


@dataclass
class Gateway:
    """The stand-in. `refusals`: what is not granted, by kind and contract, each with code and text."""

    listings: tuple[Listing, ...] = LISTINGS
    tick_by_tick_s: float = 15.0
    port: int = 0
    sessions: list[Session] = field(default_factory=list)
    refusals: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Every subscription asked for so far, by kind and contract."""
    complaints: list[str] = field(default_factory=list)
    """Rules of TWS that a client broke."""
    is_frozen: bool = False
    """Whether nothing is answered any more, on sockets that stand."""
    image: Callable[[Standing], Iterable[bytes]] = lambda _: ()
    """What is sent as soon as a subscription stands."""

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._ticks_asked_s: dict[int, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End as TWS does at its daily restart: the door first, then every session."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in list(self.sessions):
            session.writer.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def say(self, code: int, text: str) -> None:
        """Say something to every session."""
        for session in self.sessions:
            session.send(wire.error(-1, code, text))

    def lose_subscriptions(self) -> None:
        """Forget what every session asked for."""
        for session in self.sessions:
            session.standing.clear()

    def standing(self, kind: str, listing: Listing) -> Standing | None:
        """Return the newest subscription of this kind."""
        found = [
            each
            for session in self.sessions
            for each in session.standing.values()
            if (each.kind, each.listing) == (kind, listing)
        ]
        return found[-1] if found else None

    def count_asked(self, kind: str, listing: Listing) -> int:
        return self.asked.count((kind, listing.con_id))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        session = Session(writer)
        try:
            assert await reader.readexactly(4) == b"API\0"
            versions = await reader.readexactly(wire.length_of(await reader.readexactly(4)))
            low, high = versions.removeprefix(b"v").split(b"..")
            assert int(low) <= wire.SERVER_VERSION <= int(high)
            if self.is_frozen:
                await reader.read()
                return
            session.send(wire.frame(wire.SERVER_VERSION, "20240701 15:58:01 EST"))
            async for fields in _messages(reader):
                if not self.is_frozen:
                    self._handle(session, fields)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went
        finally:
            if session in self.sessions:
                self.sessions.remove(session)
            writer.close()
            self._tasks.discard(task)

    def _handle(self, session: Session, fields: list[str]) -> None:
        self._count(session)
        kind = int(fields[0])
        if kind == 71:
            self._begin(session, int(fields[2]))
        elif kind == 9:
            self._find(session, int(fields[2]), fields[3:15])
        elif kind in _CANCELS:
            number = int(fields[_NUMBER_AT[kind]])
            if session.standing.pop(number, None) is None:
                session.send(wire.error(number, 300, f"Can't find EId with tickerId:{number}"))
        elif kind in _CONTRACT_AT:
            self._subscribe(session, kind, fields)
        elif kind == 49:
            session.send(wire.frame(49, 1, 1_719_878_281))

    def _begin(self, session: Session, client_id: int) -> None:
        if any(other.client_id == client_id for other in self.sessions):
            session.send(wire.error(-1, 326, "Unable to connect as the client id is already in use."))
            session.writer.close()
            return
        session.client_id = client_id
        self.sessions.append(session)
        session.send(wire.frame(15, 1, "DU1234567"))
        session.send(wire.frame(9, 1, 1))
        for farm in ("usfarm", "usfuture", "cashfarm"):
            session.send(wire.error(-1, 2104, f"Market data farm connection is OK:{farm}"))
        session.send(wire.error(-1, 2106, "HMDS data farm connection is OK:ushmds"))

    def _find(self, session: Session, number: int, asked: list[str]) -> None:
        found = [listing for listing in self.listings if listing.is_meant(asked)]
        if not found:
            session.send(wire.error(number, 200, "No security definition has been found for the request"))
            return
        for listing in found:
            session.send(wire.contract_details(number, listing))
        session.send(wire.contract_details_end(number))

    def _subscribe(self, session: Session, kind: int, fields: list[str]) -> None:
        number = int(fields[_NUMBER_AT[kind]])
        at = _CONTRACT_AT[kind]
        con_id = int(fields[at])
        name = _KINDS.get(kind) or {"AllLast": "trades", "BidAsk": "bidsasks"}[fields[at + 12]]
        self.asked.append((name, con_id))
        listing = next((each for each in self.listings if each.con_id == con_id), None)
        refusal = self.refusals.get((name, con_id)) or self._broken_rule(session, name, con_id)
        if listing is None:
            refusal = (200, "No security definition has been found for the request")
        if refusal or listing is None:
            session.send(wire.error(number, *(refusal or (200, ""))))
            return
        standing = session.standing[number] = Standing(session, number, name, listing)
        for data in self.image(standing):
            session.send(data)

    def _broken_rule(self, session: Session, name: str, con_id: int) -> tuple[int, str] | None:
        if name in {"trades", "bidsasks"}:
            now_s = asyncio.get_running_loop().time()
            last_s = self._ticks_asked_s.get(con_id)
            self._ticks_asked_s[con_id] = now_s
            if last_s is not None and now_s - last_s < self.tick_by_tick_s:
                self.complaints.append(f"ticks of {con_id} asked for {now_s - last_s:.3f} s after the last time")
                return 10190, "Max number of tick-by-tick requests has been reached."
        if name == "orderbook" and sum(each.kind == name for each in session.standing.values()) >= BOOKS_MAX:
            return 309, "Max number (3) of market depth requests has been reached."
        return None

    def _count(self, session: Session) -> None:
        now_s = asyncio.get_running_loop().time()
        session.times.append(now_s)
        while session.times[0] <= now_s - 1:
            session.times.popleft()
        if len(session.times) > MESSAGES_PER_S_MAX:
            self.complaints.append(f"{len(session.times)} messages within a second")


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[list[str]]:
    while True:
        yield wire.fields_of(await reader.readexactly(wire.length_of(await reader.readexactly(4))))


@asynccontextmanager
async def running_gateway(**options: object) -> AsyncIterator[Gateway]:
    gateway = Gateway(**options)  # type: ignore[arg-type]
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


def by_kind(gateway: Gateway) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for kind, _ in gateway.asked:
        counts[kind] += 1
    return counts
