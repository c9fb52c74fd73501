"""Bybit v5 spot: books of a chosen depth, each update of a topic numbered one above the one before.

A level that leaves the depth is told as gone, so a client that only applies what it is told has the book.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Reply, Request
from fluxforge_simulator.market.instrument import Instrument, plain
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Market, Step, Trade
from fluxforge_simulator.venues.binance_messages import market_id
from fluxforge_simulator.venues.depth_view import DepthView, Levels
from fluxforge_simulator.venues.venue import Floor, Refusal

_DEPTHS = (50, 200, 1000)
_CONNECTION_ID = "d266o6hqo29sqmnq4vk0-1yus1"
_CHANNELS = {"orderbook": Channel.ORDERBOOK, "publicTrade": Channel.TRADES, "tickers": Channel.TICKER}
Body = dict[str, object]


def _levels(instrument: Instrument, levels: Levels) -> list[tuple[str, str]]:
    return [(plain(instrument.price(price)), plain(instrument.quantity(lots))) for price, lots in levels]


def trade_entry(instrument: Instrument, trade: Trade, now_ns: int) -> Body:
    """Describe one trade; `S` is the taker's side."""
    return {
        "i": str(trade.trade_id),
        "T": now_ns // 1_000_000,
        "p": plain(instrument.price(trade.price)),
        "v": plain(instrument.quantity(trade.quantity)),
        "S": "Buy" if trade.taker is Side.BID else "Sell",
        "s": market_id(instrument),
        "BT": False,
    }


def ticker_data(market: Market) -> Body:
    """Describe the last price and the day; the spot ticker has no touch."""
    instrument, day = market.instrument, market.statistics
    turnover = day.turnover / 10 ** (instrument.price_decimals + instrument.quantity_decimals)
    return {
        "symbol": market_id(instrument),
        "lastPrice": plain(instrument.price(market.last_price)),
        "highPrice24h": plain(instrument.price(day.high)),
        "lowPrice24h": plain(instrument.price(day.low)),
        "prevPrice24h": plain(instrument.price(day.open)),
        "volume24h": plain(instrument.quantity(day.volume)),
        "turnover24h": f"{turnover:.4f}",
        "price24hPcnt": f"{market.last_price / day.open - 1:.4f}",
        "usdIndexPrice": "",
    }


class _BookView:
    """The book that one client holds of a topic, in frames."""

    def __init__(self, market: Market, topic: str, depth: int) -> None:
        self._view = DepthView(market, depth)
        self._topic = topic
        self._update = market.update_id

    def snapshot(self, now_ns: int) -> Frame:
        return self._frame("snapshot", self._view.show(), now_ns)

    def update(self, now_ns: int) -> Frame | None:
        changes = self._view.changes()
        return None if changes is None else self._frame("delta", changes, now_ns)

    def _frame(self, kind: str, levels: dict[Side, Levels], now_ns: int) -> Frame:
        self._update += 1
        market = self._view.market
        data: Body = {
            "s": market_id(market.instrument),
            "b": _levels(market.instrument, levels[Side.BID]),
            "a": _levels(market.instrument, levels[Side.ASK]),
            "u": self._update,
            "seq": market.update_id,
        }
        now_ms = now_ns // 1_000_000
        payload = orjson.dumps({"topic": self._topic, "ts": now_ms, "type": kind, "data": data, "cts": now_ms})
        ledger_kind = Kind.SNAPSHOT if kind == "snapshot" else Kind.DATA
        return Frame(payload, ledger_kind, Channel.ORDERBOOK, market.instrument.symbol, (self._update,))


class BybitDialogue:
    """One connection's topics. A book frame's key is `u`."""

    def __init__(self, floor: Floor, refused: frozenset[str]) -> None:
        self.feeds: set[Feed] = set()
        self._floor = floor
        self._refused = refused
        self._symbols = {market_id(entry): symbol for symbol, entry in floor.instruments.items()}
        self._views: dict[str, dict[str, _BookView]] = {}

    def greet(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - this venue waits to be spoken to
        """Return nothing."""
        return []

    def hear(self, text: str, now_ns: int) -> list[Frame]:
        """Answer ping, subscribe and unsubscribe; one topic that is not there makes all of a message fail."""
        message = orjson.loads(text)
        if message["op"] == "ping":
            return [Frame(_answer(message, "pong"), Kind.PING)]
        topics = message["args"]
        unknown = [topic for topic in topics if self._feed(topic) is None]
        if unknown:
            return [Frame(_answer(message, f"error:handler not found,topic:{unknown[0]}", success=False), Kind.ACK)]
        frames: list[Frame] = []
        for topic in topics:
            feed = self._feed(topic)
            assert feed is not None  # the unknown ones were refused above
            if message["op"] == "subscribe":
                frames += self._begin(topic, feed, now_ns)
            else:
                self._end(topic, feed)
        return [Frame(_answer(message, message["op"]), Kind.ACK), *frames]

    def refuse(self, text: str, why: Refusal) -> list[Frame]:
        """Answer subscribe with an error."""
        message = orjson.loads(text)
        if message["op"] != "subscribe":
            return []
        reason = "Too many visits!" if why is Refusal.BUSY else f"error:handler not found,topic:{message['args'][0]}"
        return [Frame(_answer(message, reason, success=False), Kind.ACK)]

    def _feed(self, topic: str) -> Feed | None:
        """Return what a topic is; None where there is no such topic, or it is to be refused."""
        name, *depth, market = topic.split(".") if "." in topic else (topic, "")
        channel, symbol = _CHANNELS.get(name), self._symbols.get(market)
        if channel is None or symbol is None or symbol in self._refused:
            return None
        is_whole = depth in [[str(levels)] for levels in _DEPTHS] if channel is Channel.ORDERBOOK else not depth
        return Feed(channel, symbol) if is_whole else None

    def _begin(self, topic: str, feed: Feed, now_ns: int) -> list[Frame]:
        self.feeds.add(feed)
        market = self._floor.market(feed.symbol)
        if feed.channel == Channel.ORDERBOOK:
            view = _BookView(market, topic, int(topic.split(".")[1]))
            self._views.setdefault(feed.symbol, {})[topic] = view
            return [view.snapshot(now_ns)]
        return [_ticker(market, now_ns)] if feed.channel == Channel.TICKER else []

    def _end(self, topic: str, feed: Feed) -> None:
        views = self._views.get(feed.symbol, {})
        if feed.channel == Channel.ORDERBOOK:
            views.pop(topic, None)
        if feed.channel != Channel.ORDERBOOK or not views:
            self.feeds.discard(feed)

    def snapshot_answered(self, symbol: str, now_ns: int) -> None:
        """Books are in-band here: nothing to do."""

    def tell(self, step: Step, now_ns: int) -> list[Frame]:
        """Encode trades, the ticker after them, and the book updates."""
        market, symbol = step.market, step.market.instrument.symbol
        frames: list[Frame] = []
        if step.trades and Feed(Channel.TRADES, symbol) in self.feeds:
            entries = [trade_entry(market.instrument, trade, now_ns) for trade in step.trades]
            payload = _push(f"publicTrade.{market_id(market.instrument)}", entries, now_ns)
            ids = tuple(trade.trade_id for trade in step.trades)
            frames.append(Frame(payload, Kind.DATA, Channel.TRADES, symbol, ids))
        if step.trades and Feed(Channel.TICKER, symbol) in self.feeds:
            frames.append(_ticker(market, now_ns))
        if Feed(Channel.ORDERBOOK, symbol) in self.feeds:
            updates = [view.update(now_ns) for view in self._views[symbol].values()]
            frames += [update for update in updates if update is not None]
        return frames

    def beat(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - its clients ping
        """Return nothing."""
        return []


def _answer(message: dict[str, Any], reason: str, *, success: bool = True) -> bytes:
    echo = {"req_id": message["req_id"]} if "req_id" in message else {}
    return orjson.dumps({"success": success, "ret_msg": reason, "conn_id": _CONNECTION_ID, **echo, "op": message["op"]})


def _push(topic: str, data: object, now_ns: int) -> bytes:
    return orjson.dumps({"topic": topic, "ts": now_ns // 1_000_000, "type": "snapshot", "data": data})


def _ticker(market: Market, now_ns: int) -> Frame:
    payload = _push(f"tickers.{market_id(market.instrument)}", ticker_data(market), now_ns)
    return Frame(payload, Kind.DATA, Channel.TICKER, market.instrument.symbol)


@dataclass(frozen=True, slots=True)
class BybitVenue:
    """Bybit spot."""

    exchange: str
    domains: tuple[str, ...]
    instruments: tuple[Instrument, ...]

    @property
    def strange(self) -> bytes:
        """A frame that nobody expects."""
        return b'{"topic":"orderbook.50.NOSUCH","type":"delta","news":true,"data":{"s":"NOSUCH","b":[["?"]],"a":[]}}'

    def rest(self, request: Request, floor: Floor, now_ns: int) -> Reply | None:  # noqa: ARG002 - its lists do not move
        """Answer market/instruments-info and market/time; only spot lists something."""
        resource = request.path.rsplit("/", 1)[-1]
        if resource == "time":
            result: Body = {"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)}
        elif resource == "instruments-info":
            category = request.query.get("category", "")
            listed = [_instrument(entry) for entry in self.instruments] if category == "spot" else []
            result = {"category": category, "list": listed, "nextPageCursor": ""}
        else:
            return None
        body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ns // 1_000_000}
        return Reply(orjson.dumps(body))

    def dialogue(self, floor: Floor, refused: frozenset[str]) -> BybitDialogue:
        """Begin a conversation."""
        return BybitDialogue(floor, refused)


def _instrument(entry: Instrument) -> Body:
    lot = f"{10.0**-entry.quantity_decimals:.{entry.quantity_decimals}f}"
    return {
        "symbol": market_id(entry),
        "baseCoin": entry.base,
        "quoteCoin": entry.quote,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "none",
        "lotSizeFilter": {
            "basePrecision": lot,
            "quotePrecision": "0.00000001",
            "minOrderQty": lot,
            "maxOrderQty": "100000",
            "minOrderAmt": "1",
            "maxOrderAmt": "4000000",
        },
        "priceFilter": {"tickSize": f"{10.0**-entry.price_decimals:.{entry.price_decimals}f}"},
    }


BYBIT = BybitVenue(
    "bybit",
    ("bybit.com",),
    (
        Instrument("BTC", "USDT", 65_000.0, 2, 6),
        Instrument("ETH", "USDT", 3_200.0, 2, 5),
        Instrument("SOL", "USDT", 150.0, 2, 3),
        Instrument("XRP", "USDT", 0.62, 4, 2),
        Instrument("DOGE", "USDT", 0.145, 5, 1),
    ),
)
