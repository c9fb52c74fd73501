"""Kraken v2: books of a chosen depth that the client cuts itself, each update with the checksum of its result.

An update names the levels that are new or different within the depth, and those that are gone from the market. A level
pushed out of the depth is not named: the client drops it. The checksum is the CRC32 of the ten best levels afterwards.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Reply, Request
from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Market, Step, Trade
from fluxforge_simulator.venues.clock_text import iso
from fluxforge_simulator.venues.depth_view import DepthView, Levels
from fluxforge_simulator.venues.venue import Floor, Refusal

_CHECKSUM_LEVELS = 10
_DEPTHS = (10, 25, 100, 500, 1000)
_CHANNELS = {"book": Channel.ORDERBOOK, "trade": Channel.TRADES, "ticker": Channel.TICKER}
_TRADES_IN_SNAPSHOT = 50
_LETTERED = {"BTC": "XXBT", "ETH": "XETH", "XRP": "XXRP", "LTC": "XLTC", "USD": "ZUSD", "EUR": "ZEUR", "DOGE": "XXDG"}
_OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}


def checksum(asks: Levels, bids: Levels) -> int:
    """Return the CRC32 of the ten best asks, then the ten best bids.

    Each level counts as price and quantity at full precision, without the point and without leading zeros: as whole
    ticks and lots.

    Source: Kraken, "Book checksum (v2)".
    """
    text = "".join(f"{price}{quantity}" for side in (asks, bids) for price, quantity in side[:_CHECKSUM_LEVELS])
    return zlib.crc32(text.encode())


def _level(instrument: Instrument, price: int, quantity: int) -> str:
    return f'{{"price":{instrument.price(price)},"qty":{instrument.quantity(quantity)}}}'


def book_message(market: Market, bids: Levels, asks: Levels, crc: int, *, is_snapshot: bool, now_ns: int) -> bytes:
    """Encode a snapshot, or an update whose levels of quantity 0 are gone."""
    instrument = market.instrument
    bid_text = ",".join(_level(instrument, price, quantity) for price, quantity in bids)
    ask_text = ",".join(_level(instrument, price, quantity) for price, quantity in asks)
    kind = "snapshot" if is_snapshot else "update"
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{instrument.symbol}",'
        f'"bids":[{bid_text}],"asks":[{ask_text}],"checksum":{crc},"timestamp":"{iso(now_ns, 6)}"}}]}}'
    ).encode()


def trade_message(instrument: Instrument, trades: tuple[Trade, ...], now_ns: int, *, is_snapshot: bool) -> bytes:
    """Encode trades, oldest first; `side` is the taker's."""
    entries = ",".join(
        f'{{"symbol":"{instrument.symbol}","side":"{"buy" if trade.taker is Side.BID else "sell"}",'
        f'"price":{instrument.price(trade.price)},"qty":{instrument.quantity(trade.quantity)},"ord_type":"market",'
        f'"trade_id":{trade.trade_id},"timestamp":"{iso(now_ns, 6)}"}}'
        for trade in trades
    )
    return f'{{"channel":"trade","type":"{"snapshot" if is_snapshot else "update"}","data":[{entries}]}}'.encode()


def ticker_message(market: Market, now_ns: int, *, is_snapshot: bool) -> bytes:
    """Encode the touch and the day."""
    instrument, day = market.instrument, market.statistics
    bid, bid_lots, ask, ask_lots = market.touch
    change = (market.last_price - day.open) / 10**instrument.price_decimals
    return (
        f'{{"channel":"ticker","type":"{"snapshot" if is_snapshot else "update"}","data":[{{'
        f'"symbol":"{instrument.symbol}","bid":{instrument.price(bid)},"bid_qty":{instrument.quantity(bid_lots)},'
        f'"ask":{instrument.price(ask)},"ask_qty":{instrument.quantity(ask_lots)},'
        f'"last":{instrument.price(market.last_price)},"volume":{instrument.quantity(day.volume)},'
        f'"vwap":{day.vwap / 10**instrument.price_decimals:.{instrument.price_decimals}f},'
        f'"low":{instrument.price(day.low)},"high":{instrument.price(day.high)},'
        f'"change":{change:.{instrument.price_decimals}f},"change_pct":{(market.last_price / day.open - 1) * 100:.2f},'
        f'"timestamp":"{iso(now_ns, 6)}"}}]}}'
    ).encode()


class _BookView:
    """The book that one client holds, in messages."""

    def __init__(self, market: Market, depth: int) -> None:
        self._view = DepthView(market, depth, is_cut_by_client=True)

    def snapshot(self, now_ns: int) -> bytes:
        return self._message(self._view.show(), now_ns, is_snapshot=True)

    def update(self, now_ns: int) -> bytes | None:
        """Return what the client must change, None where its book has not changed."""
        changes = self._view.changes()
        return None if changes is None else self._message(changes, now_ns, is_snapshot=False)

    def _message(self, levels: dict[Side, Levels], now_ns: int, *, is_snapshot: bool) -> bytes:
        market, top = self._view.market, self._view.top
        crc = checksum(top[Side.ASK], top[Side.BID])
        return book_message(market, levels[Side.BID], levels[Side.ASK], crc, is_snapshot=is_snapshot, now_ns=now_ns)


def _refusal(message: dict[str, Any], symbol: str, why: Refusal) -> Frame:
    answer: dict[str, object] = {
        "error": "Exceeded msg rate" if why is Refusal.BUSY else f"Currency pair not supported {symbol}",
        "method": message["method"],
        "success": False,
        "symbol": symbol,
    }
    if "req_id" in message:
        answer["req_id"] = message["req_id"]
    return Frame(orjson.dumps(answer), Kind.ACK, _CHANNELS.get(message["params"]["channel"]), symbol)


class KrakenDialogue:
    """One connection's subscriptions. A book frame's key counts the connection's book frames."""

    def __init__(self, floor: Floor, refused: frozenset[str]) -> None:
        self.feeds: set[Feed] = set()
        self._floor = floor
        self._refused = refused
        self._views: dict[str, _BookView] = {}
        self._triggers: dict[str, str] = {}
        self._book_frames = 0

    def greet(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - the status bears no time
        """Say that the system is online."""
        data = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 1}
        return [Frame(orjson.dumps({"channel": "status", "type": "update", "data": [data]}), Kind.ACK)]

    def hear(self, text: str, now_ns: int) -> list[Frame]:
        """Answer ping, subscribe and unsubscribe."""
        message = orjson.loads(text)
        method, echo = message["method"], {"req_id": message["req_id"]} if "req_id" in message else {}
        times = {"time_in": iso(now_ns, 6), "time_out": iso(now_ns, 6)}
        if method == "ping":
            return [Frame(orjson.dumps({"method": "pong", **echo, **times}), Kind.PING)]
        frames: list[Frame] = []
        parameters = message["params"]
        for symbol in parameters.get("symbol", []):
            if symbol not in self._floor.instruments or symbol in self._refused:
                frames.append(_refusal(message, symbol, Refusal.UNKNOWN))
                continue
            result = {name: value for name, value in parameters.items() if name != "symbol"} | {"symbol": symbol}
            answer = {"method": method, "result": result, "success": True, **times, **echo}
            frames.append(Frame(orjson.dumps(answer), Kind.ACK, _CHANNELS.get(parameters["channel"]), symbol))
            if method == "subscribe":
                frames += self._begin(parameters, symbol, now_ns)
            else:
                self.feeds.discard(Feed(_CHANNELS[parameters["channel"]], symbol))
        return frames

    def refuse(self, text: str, why: Refusal) -> list[Frame]:
        """Answer subscribe with an error for each symbol."""
        message = orjson.loads(text)
        if message["method"] != "subscribe":
            return []
        return [_refusal(message, symbol, why) for symbol in message["params"].get("symbol", [])]

    def _begin(self, parameters: dict[str, object], symbol: str, now_ns: int) -> list[Frame]:
        name = str(parameters["channel"])
        if name not in _CHANNELS:
            return []
        market = self._floor.market(symbol)
        channel = _CHANNELS[name]
        self.feeds.add(Feed(channel, symbol))
        if name == "book":
            depth = parameters.get("depth", _DEPTHS[0])
            view = self._views[symbol] = _BookView(market, depth if isinstance(depth, int) else _DEPTHS[0])
            return [Frame(view.snapshot(now_ns), Kind.SNAPSHOT, channel, symbol, self._next_key())]
        if name == "ticker":
            self._triggers[symbol] = str(parameters.get("event_trigger", "trades"))
            payload = ticker_message(market, now_ns, is_snapshot=True)
            return [Frame(payload, Kind.SNAPSHOT, channel, symbol)]
        trades = tuple(market.recent)[-_TRADES_IN_SNAPSHOT:] if parameters.get("snapshot") is True else ()
        if not trades:
            return []
        payload = trade_message(market.instrument, trades, now_ns, is_snapshot=True)
        return [Frame(payload, Kind.SNAPSHOT, channel, symbol, tuple(trade.trade_id for trade in trades))]

    def _next_key(self) -> tuple[int]:
        self._book_frames += 1
        return (self._book_frames,)

    def snapshot_answered(self, symbol: str, now_ns: int) -> None:
        """Books are in-band here: nothing to do."""

    def tell(self, step: Step, now_ns: int) -> list[Frame]:
        """Encode trades, ticker and book update."""
        market, symbol = step.market, step.market.instrument.symbol
        frames: list[Frame] = []
        if step.trades and Feed(Channel.TRADES, symbol) in self.feeds:
            payload = trade_message(market.instrument, step.trades, now_ns, is_snapshot=False)
            ids = tuple(trade.trade_id for trade in step.trades)
            frames.append(Frame(payload, Kind.DATA, Channel.TRADES, symbol, ids))
        if Feed(Channel.TICKER, symbol) in self.feeds:
            is_due = step.is_touch_moved if self._triggers[symbol] == "bbo" else bool(step.trades)
            if is_due:
                payload = ticker_message(market, now_ns, is_snapshot=False)
                frames.append(Frame(payload, Kind.DATA, Channel.TICKER, symbol))
        if Feed(Channel.ORDERBOOK, symbol) in self.feeds:
            update = self._views[symbol].update(now_ns)
            if update is not None:
                frames.append(Frame(update, Kind.DATA, Channel.ORDERBOOK, symbol, self._next_key()))
        return frames

    def beat(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - a heartbeat bears no time
        """Send the heartbeat that any subscription brings."""
        return [Frame(b'{"channel":"heartbeat"}', Kind.PING)] if self.feeds else []


@dataclass(frozen=True, slots=True)
class KrakenVenue:
    """Kraken spot."""

    exchange: str
    domains: tuple[str, ...]
    instruments: tuple[Instrument, ...]

    @property
    def strange(self) -> bytes:
        """A frame that nobody expects."""
        return b'{"channel":"book","type":"update","data":[{"symbol":"NO/SUCH","news":true}]}'

    def rest(self, request: Request, floor: Floor, now_ns: int) -> Reply | None:  # noqa: ARG002 - its lists do not move
        """Answer Assets, AssetPairs, Time and SystemStatus."""
        resource = request.path.rsplit("/", 1)[-1]
        results: dict[str, object] = {
            "Time": {"unixtime": now_ns // 1_000_000_000},
            "SystemStatus": {"status": "online", "timestamp": iso(now_ns, 6)},
            "Assets": self._assets(),
            "AssetPairs": dict(_pair(entry) for entry in self.instruments),
        }
        result = results.get(resource)
        return None if result is None else Reply(orjson.dumps({"error": [], "result": result}))

    def _assets(self) -> dict[str, object]:
        codes = sorted({code for entry in self.instruments for code in (entry.base, entry.quote)})
        return {
            _LETTERED.get(code, code): {
                "aclass": "currency",
                "altname": _OLD_NAMES.get(code, code),
                "decimals": 10,
                "display_decimals": 5,
                "status": "enabled",
            }
            for code in codes
        }

    def dialogue(self, floor: Floor, refused: frozenset[str]) -> KrakenDialogue:
        """Begin a conversation."""
        return KrakenDialogue(floor, refused)


def _pair(entry: Instrument) -> tuple[str, dict[str, object]]:
    base, quote = _LETTERED.get(entry.base, entry.base), _LETTERED.get(entry.quote, entry.quote)
    old_base = _OLD_NAMES.get(entry.base, entry.base)
    is_lettered = base.startswith("X") and quote.startswith("Z")
    return base + quote if is_lettered else old_base + entry.quote, {
        "altname": old_base + entry.quote,
        "wsname": f"{old_base}/{entry.quote}",
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": entry.price_decimals,
        "lot_decimals": entry.quantity_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "ordermin": "0.0001",
        "costmin": "0.5",
        "tick_size": f"{10.0**-entry.price_decimals:.{entry.price_decimals}f}",
        "status": "online",
    }


KRAKEN = KrakenVenue(
    "kraken",
    ("kraken.com",),
    (
        Instrument("BTC", "USD", 65_000.0, 1, 8),
        Instrument("ETH", "USD", 3_200.0, 2, 8),
        Instrument("SOL", "USD", 150.0, 2, 8),
        Instrument("XRP", "USD", 0.62, 5, 8),
        Instrument("ADA", "USD", 0.46, 6, 8),
        Instrument("DOT", "USD", 6.1, 4, 8),
    ),
)
