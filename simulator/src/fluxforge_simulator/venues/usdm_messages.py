"""Binance USD-M messages: market state as the bytes of the futures' REST and stream API.

The venue's update ids count more than the changes of one book: between two updates some are left out. `pu`, the last
id of the update before, alone tells that none is missing.
"""

import orjson

from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Change, Market, Trade
from fluxforge_simulator.venues.binance_messages import market_id

_IDS_PER_CHANGE = 3
_DAY_MS = 86_400_000


def _id(update_id: int) -> int:
    return update_id * _IDS_PER_CHANGE


def _levels(instrument: Instrument, levels: list[tuple[int, int]]) -> list[tuple[str, str]]:
    return [(instrument.price(price), instrument.quantity(lots)) for price, lots in levels]


def depth_key(first: int, last: int) -> tuple[int, ...]:
    """Return the ids in a depth update: `U`, `u` and `pu`."""
    return _id(first), _id(last), _id(first - 1)


def depth_tail(market: Market, changes: list[Change], first: int, last: int) -> bytes:
    """Encode a depth update from after its event time on: what `depth_update` puts behind the clock."""
    begin, end, before = depth_key(first, last)
    sides = {
        name: _levels(market.instrument, [(price, lots) for side, price, lots in changes if side is wanted])
        for name, wanted in (("b", Side.BID), ("a", Side.ASK))
    }
    ids = {"s": market_id(market.instrument), "U": begin, "u": end, "pu": before}
    return b"," + orjson.dumps(ids | sides)[1:]


def depth_update(tail: bytes, now_ns: int) -> bytes:
    """Complete a depth update."""
    now_ms = now_ns // 1_000_000
    return b'{"e":"depthUpdate","E":%d,"T":%d%b' % (now_ms, now_ms, tail)


def snapshot_key(market: Market) -> tuple[int, ...]:
    """Return the id in the REST book."""
    return (_id(market.update_id),)


def depth_snapshot(market: Market, limit: int, now_ns: int) -> bytes:
    """Encode the REST book."""
    now_ms = now_ns // 1_000_000
    bids, asks = (_levels(market.instrument, market.ladders[side].levels(limit)) for side in (Side.BID, Side.ASK))
    return orjson.dumps({"lastUpdateId": _id(market.update_id), "E": now_ms, "T": now_ms, "bids": bids, "asks": asks})


def trade_event(instrument: Instrument, trade: Trade, now_ns: int) -> bytes:
    """Encode one trade; `m` tells whether the buyer was the maker."""
    now_ms = now_ns // 1_000_000
    return orjson.dumps(
        {
            "e": "trade",
            "E": now_ms,
            "T": now_ms,
            "s": market_id(instrument),
            "t": trade.trade_id,
            "p": instrument.price(trade.price),
            "q": instrument.quantity(trade.quantity),
            "X": "MARKET",
            "m": trade.taker is Side.ASK,
        }
    )


def book_ticker(market: Market, update_id: int, now_ns: int) -> bytes:
    """Encode the touch."""
    instrument, now_ms = market.instrument, now_ns // 1_000_000
    bid, bid_lots, ask, ask_lots = market.touch
    return orjson.dumps(
        {
            "e": "bookTicker",
            "u": _id(update_id),
            "s": market_id(instrument),
            "b": instrument.price(bid),
            "B": instrument.quantity(bid_lots),
            "a": instrument.price(ask),
            "A": instrument.quantity(ask_lots),
            "T": now_ms,
            "E": now_ms,
        }
    )


def day_ticker(market: Market, now_ns: int, *, is_mini: bool) -> bytes:
    """Encode the 24 h ticker, or the mini ticker of open, high, low, close and volume; neither has the touch."""
    instrument, day = market.instrument, market.statistics
    now_ms, last = now_ns // 1_000_000, market.recent[-1]
    turnover = day.turnover / 10 ** (instrument.price_decimals + instrument.quantity_decimals)
    mini = {
        "e": "24hrMiniTicker" if is_mini else "24hrTicker",
        "E": now_ms,
        "s": market_id(instrument),
        "c": instrument.price(market.last_price),
        "o": instrument.price(day.open),
        "h": instrument.price(day.high),
        "l": instrument.price(day.low),
        "v": instrument.quantity(day.volume),
        "q": f"{turnover:.2f}",
    }
    if is_mini:
        return orjson.dumps(mini)
    change = (market.last_price - day.open) / 10**instrument.price_decimals
    full = {
        "p": f"{change:.{instrument.price_decimals}f}",
        "P": f"{(market.last_price / day.open - 1) * 100:.3f}",
        "w": f"{day.vwap / 10**instrument.price_decimals:.{instrument.price_decimals}f}",
        "Q": instrument.quantity(last.quantity),
        "O": now_ms - _DAY_MS,
        "C": now_ms,
        "F": max(0, last.trade_id - day.trade_count),
        "L": last.trade_id,
        "n": day.trade_count,
    }
    return orjson.dumps(mini | full)


def exchange_info(entry: Instrument) -> dict[str, object]:
    """Describe one perpetual contract as exchangeInfo does."""
    tick = f"{10.0**-entry.price_decimals:.{entry.price_decimals}f}"
    lot = f"{10.0**-entry.quantity_decimals:.{entry.quantity_decimals}f}"
    return {
        "symbol": market_id(entry),
        "pair": market_id(entry),
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "status": "TRADING",
        "baseAsset": entry.base,
        "quoteAsset": entry.quote,
        "marginAsset": entry.settle,
        "pricePrecision": entry.price_decimals,
        "quantityPrecision": entry.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "1000000", "stepSize": lot},
        ],
    }
