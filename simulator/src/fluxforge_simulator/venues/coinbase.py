"""Coinbase Advanced Trade: one sequence number over everything that a connection is told.

Books begin with an in-band snapshot; a ticker follows each trade; trades come newest first.
"""

from dataclasses import dataclass

import orjson

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Reply, Request
from fluxforge_simulator.market.instrument import Instrument, plain
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Change, Market, Step, Trade
from fluxforge_simulator.venues.clock_text import iso
from fluxforge_simulator.venues.coinbase_candles import Candle
from fluxforge_simulator.venues.venue import Floor, Refusal

_TRADES_IN_SNAPSHOT = 100
_TICKER_BATCH_EVERY_NS = 5_000_000_000
Event = dict[str, object]

_CHANNELS = {
    "level2": Channel.ORDERBOOK,
    "market_trades": Channel.TRADES,
    "ticker": Channel.TICKER,
    "ticker_batch": Channel.TICKER,
}
_SIDES = {Side.BID: "bid", Side.ASK: "offer"}


def product_id(instrument: Instrument) -> str:
    """Return the venue's name of an instrument."""
    return f"{instrument.base}-{instrument.quote}"


def level_updates(instrument: Instrument, changes: list[Change], now_ns: int) -> list[dict[str, str]]:
    """Describe levels; a quantity of 0 removes one."""
    event_time = iso(now_ns, 6)
    return [
        {
            "side": _SIDES[side],
            "event_time": event_time,
            "price_level": plain(instrument.price(price)),
            "new_quantity": plain(instrument.quantity(quantity)),
        }
        for side, price, quantity in changes
    ]


def trade_entry(instrument: Instrument, trade: Trade, now_ns: int) -> dict[str, str]:
    """Describe one trade; `side` is the maker's, as the venue defines it."""
    return {
        "product_id": product_id(instrument),
        "trade_id": str(trade.trade_id),
        "price": plain(instrument.price(trade.price)),
        "size": plain(instrument.quantity(trade.quantity)),
        "time": iso(now_ns, 6),
        "side": "SELL" if trade.taker is Side.BID else "BUY",
    }


def ticker_entry(market: Market) -> dict[str, str]:
    """Describe the last price, the day and the touch."""
    instrument, day = market.instrument, market.statistics
    bid, bid_lots, ask, ask_lots = market.touch
    return {
        "type": "ticker",
        "product_id": product_id(instrument),
        "price": plain(instrument.price(market.last_price)),
        "volume_24_h": plain(instrument.quantity(day.volume)),
        "low_24_h": plain(instrument.price(day.low)),
        "high_24_h": plain(instrument.price(day.high)),
        "low_52_w": plain(instrument.price(day.low // 2)),
        "high_52_w": plain(instrument.price(day.high * 2)),
        "price_percent_chg_24_h": f"{(market.last_price / day.open - 1) * 100:.14f}",
        "best_bid": plain(instrument.price(bid)),
        "best_ask": plain(instrument.price(ask)),
        "best_bid_quantity": plain(instrument.quantity(bid_lots)),
        "best_ask_quantity": plain(instrument.quantity(ask_lots)),
    }


def _refusal(channel: str, symbol: str | None, reason: str) -> Frame:
    error = {"type": "error", "message": "Failed to subscribe", "reason": reason}
    return Frame(orjson.dumps(error), Kind.ACK, _CHANNELS.get(channel), symbol)


class CoinbaseDialogue:
    """One connection: its subscriptions and its sequence number."""

    def __init__(self, floor: Floor, refused: frozenset[str]) -> None:
        self.feeds: set[Feed] = set()
        self._floor = floor
        self._refused = refused
        self._symbols = {product_id(entry): symbol for symbol, entry in floor.instruments.items()}
        self._channels: dict[str, list[str]] = {}
        self._candles: dict[str, Candle] = {}
        self._sequence = 0
        self._heartbeats = 0
        self._batch_due_ns = 0

    def greet(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - this venue waits to be spoken to
        """Return nothing."""
        return []

    def hear(self, text: str, now_ns: int) -> list[Frame]:
        """Answer subscribe and unsubscribe: snapshots first, then what the connection is now subscribed to."""
        message = orjson.loads(text)
        channel, products = message["channel"], message.get("product_ids", [])
        for product in products:
            symbol = self._symbols.get(product)
            if symbol is None or symbol in self._refused:
                return [_refusal(channel, symbol, f"{product} is not a valid product")]
        current = self._channels.setdefault(channel, [])
        if message["type"] == "unsubscribe":
            self._leave(channel, products)
            return [self._subscriptions(now_ns)]
        fresh = [product for product in products if not self._wants(channel, product)]
        current += [product for product in fresh if product not in current]
        frames = [frame for product in fresh for frame in self._begin(channel, self._symbols[product], now_ns)]
        return [*frames, self._subscriptions(now_ns)]

    def refuse(self, text: str, why: Refusal) -> list[Frame]:
        """Answer subscribe with one error, whatever it asks for."""
        message = orjson.loads(text)
        if message["type"] != "subscribe":
            return []
        product = next(iter(message.get("product_ids", [])), "")
        reason = "rate limit exceeded" if why is Refusal.BUSY else f"{product} is not a valid product"
        return [_refusal(message["channel"], self._symbols.get(product), reason)]

    def _leave(self, channel: str, products: list[str]) -> None:
        self._channels[channel] = [product for product in self._channels[channel] if product not in products]
        if not self._channels[channel]:
            del self._channels[channel]
        for product in products:
            if channel == "candles":
                self._candles.pop(product, None)
            self.feeds.discard(Feed(_CHANNELS.get(channel, channel), self._symbols[product]))

    def _subscriptions(self, now_ns: int) -> Frame:
        return self._frame("subscriptions", [{"subscriptions": self._channels}], now_ns, Kind.ACK)

    def _frame(
        self,
        channel: str,
        events: list[Event],
        now_ns: int,
        kind: Kind,
        feed: Feed | None = None,
        ids: tuple[int, ...] = (),
    ) -> Frame:
        sequence = self._sequence
        self._sequence += 1
        payload = orjson.dumps(
            {"channel": channel, "timestamp": iso(now_ns, 9), "sequence_num": sequence, "events": events}
        )
        feed_channel, symbol = (feed.channel, feed.symbol) if feed else (None, None)
        return Frame(payload, kind, feed_channel, symbol, ids or (sequence,))

    def _begin(self, channel: str, symbol: str, now_ns: int) -> list[Frame]:
        market = self._floor.market(symbol)
        if channel == "candles":
            product = product_id(market.instrument)
            self._candles[product] = Candle(market.last_price, now_ns)
            return [self._candle(product, now_ns, Kind.SNAPSHOT)]
        if channel not in _CHANNELS:
            return []
        feed = Feed(_CHANNELS[channel], symbol)
        self.feeds.add(feed)
        if channel == "level2":
            changes = [
                Change(side, price, lots) for side, ladder in market.ladders.items() for price, lots in ladder.levels()
            ]
            updates = level_updates(market.instrument, changes, now_ns)
            event: Event = {"type": "snapshot", "product_id": product_id(market.instrument), "updates": updates}
            return [self._frame("l2_data", [event], now_ns, Kind.SNAPSHOT, feed)]
        if channel == "market_trades":
            return [self._trades(market, tuple(market.recent)[-_TRADES_IN_SNAPSHOT:], now_ns, Kind.SNAPSHOT)]
        event = {"type": "snapshot", "tickers": [ticker_entry(market)]}
        return [self._frame(channel, [event], now_ns, Kind.SNAPSHOT, feed)]

    def _trades(self, market: Market, trades: tuple[Trade, ...], now_ns: int, kind: Kind) -> Frame:
        entries = [trade_entry(market.instrument, trade, now_ns) for trade in reversed(trades)]
        event: Event = {"type": "snapshot" if kind is Kind.SNAPSHOT else "update", "trades": entries}
        feed = Feed(Channel.TRADES, market.instrument.symbol)
        return self._frame("market_trades", [event], now_ns, kind, feed, tuple(trade.trade_id for trade in trades))

    def _candle(self, product: str, now_ns: int, kind: Kind) -> Frame:
        symbol = self._symbols[product]
        entry = self._candles[product].entry(self._floor.instruments[symbol], product)
        event: Event = {"type": "snapshot" if kind is Kind.SNAPSHOT else "update", "candles": [entry]}
        return self._frame("candles", [event], now_ns, kind, Feed("candles", symbol))

    def snapshot_answered(self, symbol: str, now_ns: int) -> None:
        """Books are in-band here: nothing to do."""

    def _wants(self, channel: str, product: str) -> bool:
        is_kept = channel not in _CHANNELS or Feed(_CHANNELS[channel], self._symbols[product]) in self.feeds
        return is_kept and product in self._channels.get(channel, ())

    def tell(self, step: Step, now_ns: int) -> list[Frame]:
        """Encode the trades, the ticker after them, and the book update."""
        market = step.market
        product, symbol = product_id(market.instrument), market.instrument.symbol
        frames: list[Frame] = []
        if product in self._candles:
            self._candles[product].take(step.trades, now_ns)
        if step.trades and self._wants("market_trades", product):
            frames.append(self._trades(market, step.trades, now_ns, Kind.DATA))
        if step.trades and self._wants("ticker", product):
            event: Event = {"type": "update", "tickers": [ticker_entry(market)]}
            frames.append(self._frame("ticker", [event], now_ns, Kind.DATA, Feed(Channel.TICKER, symbol)))
        if self._wants("level2", product):
            updates = level_updates(market.instrument, list(step.changes), now_ns)
            event = {"type": "update", "product_id": product, "updates": updates}
            frames.append(self._frame("l2_data", [event], now_ns, Kind.DATA, Feed(Channel.ORDERBOOK, symbol)))
        return frames

    def beat(self, now_ns: int) -> list[Frame]:
        """Send heartbeats, candles that changed and the ticker batch to whoever subscribed them."""
        frames: list[Frame] = []
        if "heartbeats" in self._channels:
            self._heartbeats += 1
            event: Event = {"current_time": iso(now_ns, 9), "heartbeat_counter": self._heartbeats}
            frames.append(self._frame("heartbeats", [event], now_ns, Kind.PING))
        changed = [product for product, candle in self._candles.items() if candle.has_changed]
        frames += [self._candle(product, now_ns, Kind.DATA) for product in changed]
        products = self._channels.get("ticker_batch", [])
        if products and now_ns >= self._batch_due_ns:
            self._batch_due_ns = now_ns + _TICKER_BATCH_EVERY_NS
            for product in products:
                symbol = self._symbols[product]
                event = {"type": "update", "tickers": [ticker_entry(self._floor.market(symbol))]}
                feed = Feed(Channel.TICKER, symbol)
                frames.append(self._frame("ticker_batch", [event], now_ns, Kind.DATA, feed))
        return frames


@dataclass(frozen=True, slots=True)
class CoinbaseVenue:
    """Coinbase Advanced Trade."""

    exchange: str
    domains: tuple[str, ...]
    instruments: tuple[Instrument, ...]

    @property
    def strange(self) -> bytes:
        """A frame that nobody expects."""
        return b'{"channel":"l2_data","news":true,"events":[{"type":"update","product_id":"NO-SUCH","updates":[{}]}]}'

    def rest(self, request: Request, floor: Floor, now_ns: int) -> Reply | None:  # noqa: ARG002 - its lists do not move
        """Answer products, currencies and exchange rates."""
        if request.path.endswith("/market/products"):
            is_spot = request.query.get("product_type", "SPOT") == "SPOT"
            products = [_product(entry) for entry in self.instruments] if is_spot else []
            return Reply(orjson.dumps({"products": products, "num_products": len(products)}))
        if request.path == "/v2/currencies":
            return Reply(orjson.dumps({"data": [{"id": "USD", "name": "US Dollar", "min_size": "0.01"}]}))
        if request.path == "/v2/currencies/crypto":
            coins = [{"code": entry.base, "name": entry.base, "asset_id": entry.base} for entry in self.instruments]
            return Reply(orjson.dumps({"data": coins}))
        if request.path == "/v2/exchange-rates":
            rates = {entry.base: f"{1 / entry.start_price:.12f}" for entry in self.instruments}
            return Reply(orjson.dumps({"data": {"currency": "USD", "rates": rates}}))
        return None

    def dialogue(self, floor: Floor, refused: frozenset[str]) -> CoinbaseDialogue:
        """Begin a conversation."""
        return CoinbaseDialogue(floor, refused)


def _product(entry: Instrument) -> dict[str, object]:
    return {
        "product_id": product_id(entry),
        "price": str(entry.start_price),
        "base_increment": f"{10.0**-entry.quantity_decimals:.8f}",
        "quote_increment": f"{10.0**-entry.price_decimals:.8f}",
        "price_increment": f"{10.0**-entry.price_decimals:.8f}",
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": f"{10.0**-entry.quantity_decimals:.8f}",
        "base_max_size": "3400",
        "status": "online",
        "is_disabled": False,
        "trading_disabled": False,
        "product_type": "SPOT",
        "base_currency_id": entry.base,
        "quote_currency_id": entry.quote,
        "alias": "",
        "alias_to": [f"{entry.base}-USDC"],
        "display_name": product_id(entry),
    }


COINBASE = CoinbaseVenue(
    "coinbase",
    ("coinbase.com",),
    (
        Instrument("BTC", "USD", 65_000.0, 2, 8),
        Instrument("ETH", "USD", 3_200.0, 2, 8),
        Instrument("SOL", "USD", 150.0, 2, 8),
        Instrument("XRP", "USD", 0.62, 4, 6),
        Instrument("DOGE", "USD", 0.145, 5, 1),
        Instrument("ADA", "USD", 0.46, 4, 8),
    ),
)
