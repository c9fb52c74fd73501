"""Binance: the stream protocol of binance, binanceus and the USD-M futures, which differ in their messages.

A depth stream begins with its subscription but is held until the client has asked for the REST book, and for 200 ms
longer: the first update then continues the book exactly, and no client has to drop or merge one.
"""

from dataclasses import dataclass, field
from typing import Protocol

import orjson

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Reply, Request
from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Change, Market, Step, Trade
from fluxforge_simulator.venues import binance_messages, usdm_messages
from fluxforge_simulator.venues.binance_messages import market_id, trade_reply
from fluxforge_simulator.venues.venue import Floor, Refusal

FOLLOWS_SNAPSHOT_NS = 200_000_000
_SNAPSHOT_AWAITED_NS = 5_000_000_000
_TICKER_EVERY_NS = 1_000_000_000
_UNKNOWN = Reply(orjson.dumps({"code": -1121, "msg": "Invalid symbol."}), status=400)
_TRADES_MAX = 1000
_DEPTH_MAX = 1000
_CHANNELS = {
    "depth": Channel.ORDERBOOK,
    "trade": Channel.TRADES,
    "miniTicker": Channel.TICKER,
    "ticker": Channel.TICKER,
    "bookTicker": Channel.BIDSASKS,
}


class _Messages(Protocol):
    """The bytes in which one of Binance's APIs says something: a module of functions."""

    def depth_tail(self, market: Market, changes: list[Change], first: int, last: int) -> bytes: ...
    def depth_update(self, tail: bytes, now_ns: int) -> bytes: ...
    def depth_key(self, first: int, last: int) -> tuple[int, ...]: ...
    def depth_snapshot(self, market: Market, limit: int, now_ns: int) -> bytes: ...
    def snapshot_key(self, market: Market) -> tuple[int, ...]: ...
    def trade_event(self, instrument: Instrument, trade: Trade, now_ns: int) -> bytes: ...
    def book_ticker(self, market: Market, update_id: int, now_ns: int) -> bytes: ...
    def day_ticker(self, market: Market, now_ns: int, *, is_mini: bool) -> bytes: ...
    def exchange_info(self, entry: Instrument) -> dict[str, object]: ...


_REFUSALS = {
    Refusal.UNKNOWN: {"code": 2, "msg": "Invalid request: invalid stream"},
    Refusal.BUSY: {"code": -1003, "msg": "Too many requests"},
}


@dataclass(slots=True)
class _HeldDepth:
    """A depth stream whose client has no book yet: what happened since is kept as one update."""

    release_ns: int
    first: int | None = None
    last: int = 0
    changes: dict[tuple[Side, int], int] = field(default_factory=dict)

    def keep(self, step: Step) -> None:
        self.first = step.first_update_id if self.first is None else self.first
        self.last = step.last_update_id
        self.changes.update({(side, price): quantity for side, price, quantity in step.changes})

    def restart(self, release_ns: int) -> None:
        self.release_ns, self.first = release_ns, None
        self.changes.clear()


class BinanceDialogue:
    """One connection's streams."""

    def __init__(self, floor: Floor, refused: frozenset[str], messages: _Messages = binance_messages) -> None:
        self.feeds: set[Feed] = set()
        self._messages = messages
        self._floor = floor
        self._refused = refused
        self._symbols = {market_id(entry).lower(): symbol for symbol, entry in floor.instruments.items()}
        self._streams: dict[str, set[str]] = {}
        self._held: dict[str, _HeldDepth] = {}
        self._ticker_due_ns: dict[str, int] = {}

    def greet(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - this venue waits to be spoken to
        """Return nothing."""
        return []

    def hear(self, text: str, now_ns: int) -> list[Frame]:
        """Answer SUBSCRIBE and UNSUBSCRIBE; unknown streams are acknowledged and stay silent, as the venue does."""
        message = orjson.loads(text)
        streams = [stream.split("@") for stream in message.get("params", [])]
        if any(self._symbols.get(parts[0]) in self._refused for parts in streams):
            return self.refuse(text, Refusal.UNKNOWN)
        for market, name, *_ in streams:
            symbol = self._symbols.get(market)
            if symbol is not None and name in _CHANNELS:
                self._set_stream(symbol, name, now_ns, is_wanted=message["method"] == "SUBSCRIBE")
        return [Frame(orjson.dumps({"result": None, "id": message["id"]}), Kind.ACK)]

    def refuse(self, text: str, why: Refusal) -> list[Frame]:
        """Answer SUBSCRIBE with an error."""
        message = orjson.loads(text)
        if message["method"] != "SUBSCRIBE":
            return []
        return [Frame(orjson.dumps({"error": _REFUSALS[why], "id": message["id"]}), Kind.ACK)]

    def _set_stream(self, symbol: str, name: str, now_ns: int, *, is_wanted: bool) -> None:
        feed = Feed(_CHANNELS[name], symbol)
        names = self._streams.setdefault(symbol, set())
        if not is_wanted:
            names.discard(name)
            self.feeds.discard(feed)
            self._held.pop(symbol, None)
            return
        names.add(name)
        self.feeds.add(feed)
        self._floor.market(symbol)
        if name == "depth":
            self._held[symbol] = _HeldDepth(now_ns + _SNAPSHOT_AWAITED_NS)

    def snapshot_answered(self, symbol: str, now_ns: int) -> None:
        """Let the held depth stream continue from the book just answered."""
        held = self._held.get(symbol)
        if held is not None:
            held.restart(now_ns + FOLLOWS_SNAPSHOT_NS)

    def tell(self, step: Step, now_ns: int) -> list[Frame]:
        """Encode trades, the depth update, and the touch and ticker where they are due."""
        market = step.market
        symbol = market.instrument.symbol
        names = {name for name in self._streams.get(symbol, ()) if Feed(_CHANNELS[name], symbol) in self.feeds}
        if not names:
            return []
        frames: list[Frame] = []
        if "trade" in names:
            frames += [
                Frame(
                    self._messages.trade_event(market.instrument, trade, now_ns),
                    *(Kind.DATA, Channel.TRADES, symbol, (trade.trade_id,)),
                )
                for trade in step.trades
            ]
        if "depth" in names:
            frames += self._depth(step, now_ns)
        if "bookTicker" in names and step.is_touch_moved:
            payload = self._messages.book_ticker(market, step.last_update_id, now_ns)
            key = self._messages.snapshot_key(market)
            frames.append(Frame(payload, Kind.DATA, Channel.BIDSASKS, symbol, key))
        return frames + self._tickers(market, names, now_ns)

    def _depth(self, step: Step, now_ns: int) -> list[Frame]:
        symbol = step.market.instrument.symbol
        first, last, changes = step.first_update_id, step.last_update_id, list(step.changes)
        held = self._held.get(symbol)
        if held is not None:
            held.keep(step)
            if now_ns < held.release_ns:
                return []
            del self._held[symbol]
            first = first if held.first is None else held.first
            changes = [Change(side, price, quantity) for (side, price), quantity in held.changes.items()]
        payload = self._messages.depth_update(self._messages.depth_tail(step.market, changes, first, last), now_ns)
        key = self._messages.depth_key(first, last)
        return [Frame(payload, Kind.DATA, Channel.ORDERBOOK, symbol, key)]

    def _tickers(self, market: Market, names: set[str], now_ns: int) -> list[Frame]:
        symbol = market.instrument.symbol
        wanted = names & {"miniTicker", "ticker"}
        if not wanted or now_ns < self._ticker_due_ns.get(symbol, 0):
            return []
        self._ticker_due_ns[symbol] = now_ns + _TICKER_EVERY_NS
        return [
            Frame(
                self._messages.day_ticker(market, now_ns, is_mini=name == "miniTicker"),
                *(Kind.DATA, Channel.TICKER, symbol),
            )
            for name in sorted(wanted)
        ]

    def beat(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - its keepalive is the protocol's own ping
        """Return nothing."""
        return []


@dataclass(frozen=True, slots=True)
class BinanceVenue:
    """Binance, Binance US or Binance USD-M: one protocol, of which `api` is the first part of its REST paths."""

    exchange: str
    domains: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    api: str = "api"
    messages: _Messages = binance_messages

    @property
    def strange(self) -> bytes:
        """A frame that nobody expects."""
        return b'{"e":"kline","E":17,"s":"NOSUCH","news":true}'

    def rest(self, request: Request, floor: Floor, now_ns: int) -> Reply | None:
        """Answer exchangeInfo, depth, trades, time and ping; the exchangeInfo of another API lists nothing."""
        resource = request.path.rsplit("/", 1)[-1]
        if resource == "exchangeInfo":
            is_own = request.path.startswith(f"/{self.api}/")
            entries = [self.messages.exchange_info(entry) for entry in self.instruments] if is_own else []
            info = {"timezone": "UTC", "serverTime": now_ns // 1_000_000, "rateLimits": [], "exchangeFilters": []}
            return Reply(orjson.dumps(info | {"symbols": entries}))
        if resource == "depth":
            return self._depth(request, floor, now_ns)
        if resource == "trades":
            return self._trades(request, floor)
        if resource == "time":
            return Reply(orjson.dumps({"serverTime": now_ns // 1_000_000}))
        return Reply(b"{}") if resource == "ping" else None

    def _asked(self, request: Request, floor: Floor) -> Market | None:
        wanted = request.query.get("symbol")
        instrument = next((entry for entry in self.instruments if market_id(entry) == wanted), None)
        return None if instrument is None else floor.market(instrument.symbol)

    def _trades(self, request: Request, floor: Floor) -> Reply:
        market = self._asked(request, floor)
        if market is None:
            return _UNKNOWN
        limit = min(int(request.query.get("limit", "500")), _TRADES_MAX)
        return Reply(orjson.dumps([trade_reply(market.instrument, trade) for trade in list(market.recent)[-limit:]]))

    def _depth(self, request: Request, floor: Floor, now_ns: int) -> Reply:
        market = self._asked(request, floor)
        if market is None:
            return _UNKNOWN
        limit = min(int(request.query.get("limit", "100")), _DEPTH_MAX)
        body, key = self.messages.depth_snapshot(market, limit, now_ns), self.messages.snapshot_key(market)
        return Reply(body, 200, Channel.ORDERBOOK, market.instrument.symbol, key)

    def dialogue(self, floor: Floor, refused: frozenset[str]) -> BinanceDialogue:
        """Begin a conversation."""
        return BinanceDialogue(floor, refused, self.messages)


def _listed(quote: str) -> tuple[Instrument, ...]:
    return (
        Instrument("BTC", quote, 65_000.0, 2, 5),
        Instrument("ETH", quote, 3_200.0, 2, 4),
        Instrument("SOL", quote, 150.0, 2, 3),
        Instrument("XRP", quote, 0.62, 4, 1),
        Instrument("BNB", quote, 580.0, 2, 3),
        Instrument("DOGE", quote, 0.145, 5, 0),
        Instrument("ADA", quote, 0.46, 4, 1),
        Instrument("LTC", quote, 82.0, 2, 3),
        Instrument("LINK", quote, 14.5, 2, 2),
        Instrument("AVAX", quote, 28.5, 2, 2),
        Instrument("DOT", quote, 4.3, 3, 2),
        Instrument("UNI", quote, 7.9, 3, 2),
        Instrument("ATOM", quote, 4.6, 3, 2),
        Instrument("NEAR", quote, 4.1, 3, 1),
        Instrument("TRX", quote, 0.21, 4, 1),
        Instrument("ETC", quote, 19.0, 2, 2),
        Instrument("FIL", quote, 3.8, 3, 2),
        Instrument("APT", quote, 6.2, 3, 2),
        Instrument("ARB", quote, 0.55, 4, 1),
        Instrument("OP", quote, 1.4, 3, 2),
    )


BINANCE = BinanceVenue("binance", ("binance.com",), _listed("USDT"))
BINANCEUS = BinanceVenue("binanceus", ("binance.us",), (*_listed("USDT"), *_listed("USD")[:3]))
BINANCEUSDM = BinanceVenue(
    "binanceusdm",
    ("fapi.binance.com", "fstream.binance.com"),
    (
        Instrument("BTC", "USDT", 65_000.0, 1, 3, settle="USDT"),
        Instrument("ETH", "USDT", 3_200.0, 2, 3, settle="USDT"),
        Instrument("SOL", "USDT", 150.0, 2, 2, settle="USDT"),
        Instrument("XRP", "USDT", 0.62, 4, 1, settle="USDT"),
        Instrument("DOGE", "USDT", 0.145, 5, 0, settle="USDT"),
    ),
    "fapi",
    usdm_messages,
)
