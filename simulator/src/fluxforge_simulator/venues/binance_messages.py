"""Binance messages: market state as the bytes of the spot REST and stream API."""

import orjson

from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Change, Market, Trade


def _eight(text: str) -> str:
    """Write a decimal with the eight places that the venue always writes."""
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<8}"


def market_id(instrument: Instrument) -> str:
    """Return the venue's name of an instrument."""
    return instrument.base + instrument.quote


def _levels(instrument: Instrument, levels: list[tuple[int, int]]) -> str:
    price, quantity = instrument.price, instrument.quantity
    return ",".join(f'["{_eight(price(ticks))}","{_eight(quantity(lots))}"]' for ticks, lots in levels)


def depth_tail(market: Market, changes: list[Change], first: int, last: int) -> bytes:
    """Encode a depth update from after its event time on: what `depth_update` puts behind the clock."""
    instrument = market.instrument
    bids = _levels(instrument, [(price, quantity) for side, price, quantity in changes if side is Side.BID])
    asks = _levels(instrument, [(price, quantity) for side, price, quantity in changes if side is Side.ASK])
    name = orjson.dumps(market_id(instrument)).decode()
    return f',"s":{name},"U":{first},"u":{last},"b":[{bids}],"a":[{asks}]}}'.encode()


def depth_update(tail: bytes, now_ns: int) -> bytes:
    """Complete a depth update."""
    return b'{"e":"depthUpdate","E":%d%b' % (now_ns // 1_000_000, tail)


def depth_key(first: int, last: int) -> tuple[int, ...]:
    """Return the ids in a depth update: `U` and `u`."""
    return first, last


def snapshot_key(market: Market) -> tuple[int, ...]:
    """Return the id in the REST book."""
    return (market.update_id,)


def depth_snapshot(market: Market, limit: int, now_ns: int) -> bytes:  # noqa: ARG001 - this book bears no time
    """Encode the REST book."""
    bids, asks = (_levels(market.instrument, market.ladders[side].levels(limit)) for side in (Side.BID, Side.ASK))
    return f'{{"lastUpdateId":{market.update_id},"bids":[{bids}],"asks":[{asks}]}}'.encode()


def trade_event(instrument: Instrument, trade: Trade, now_ns: int) -> bytes:
    """Encode one trade; `m` tells whether the buyer was the maker."""
    now_ms = now_ns // 1_000_000
    return orjson.dumps(
        {
            "e": "trade",
            "E": now_ms,
            "s": market_id(instrument),
            "t": trade.trade_id,
            "p": _eight(instrument.price(trade.price)),
            "q": _eight(instrument.quantity(trade.quantity)),
            "T": now_ms,
            "m": trade.taker is Side.ASK,
            "M": True,
        }
    )


def trade_reply(instrument: Instrument, trade: Trade) -> dict[str, object]:
    """Return one trade as REST tells it."""
    price, quantity = instrument.price(trade.price), instrument.quantity(trade.quantity)
    return {
        "id": trade.trade_id,
        "price": _eight(price),
        "qty": _eight(quantity),
        "time": trade.at_ns // 1_000_000,
        "isBuyerMaker": trade.taker is Side.ASK,
        "isBestMatch": True,
    }


def book_ticker(market: Market, update_id: int, now_ns: int) -> bytes:  # noqa: ARG001 - the touch bears no time
    """Encode the touch."""
    instrument = market.instrument
    bid, bid_lots, ask, ask_lots = market.touch
    return orjson.dumps(
        {
            "u": update_id,
            "s": market_id(instrument),
            "b": _eight(instrument.price(bid)),
            "B": _eight(instrument.quantity(bid_lots)),
            "a": _eight(instrument.price(ask)),
            "A": _eight(instrument.quantity(ask_lots)),
        }
    )


def day_ticker(market: Market, now_ns: int, *, is_mini: bool) -> bytes:
    """Encode the 24 h ticker, or the mini ticker that leaves out the touch."""
    instrument, day = market.instrument, market.statistics
    now_ms = now_ns // 1_000_000
    turnover = day.turnover / 10 ** (instrument.price_decimals + instrument.quantity_decimals)
    mini = {
        "e": "24hrMiniTicker" if is_mini else "24hrTicker",
        "E": now_ms,
        "s": market_id(instrument),
        "c": _eight(instrument.price(market.last_price)),
        "o": _eight(instrument.price(day.open)),
        "h": _eight(instrument.price(day.high)),
        "l": _eight(instrument.price(day.low)),
        "v": _eight(instrument.quantity(day.volume)),
        "q": f"{turnover:.8f}",
    }
    if is_mini:
        return orjson.dumps(mini)
    bid, bid_lots, ask, ask_lots = market.touch
    change = (market.last_price - day.open) / 10**instrument.price_decimals
    last = market.recent[-1]
    return orjson.dumps(
        mini
        | {
            "p": f"{change:.8f}",
            "P": f"{(market.last_price / day.open - 1) * 100:.3f}",
            "w": f"{day.vwap / 10**instrument.price_decimals:.8f}",
            "x": _eight(instrument.price(day.open)),
            "Q": _eight(instrument.quantity(last.quantity)),
            "b": _eight(instrument.price(bid)),
            "B": _eight(instrument.quantity(bid_lots)),
            "a": _eight(instrument.price(ask)),
            "A": _eight(instrument.quantity(ask_lots)),
            "O": now_ms - 86_400_000,
            "C": now_ms,
            "F": max(0, last.trade_id - day.trade_count),
            "L": last.trade_id,
            "n": day.trade_count,
        }
    )


def exchange_info(entry: Instrument) -> dict[str, object]:
    """Describe one market as exchangeInfo does."""
    tick, lot = f"{10.0**-entry.price_decimals:.8f}", f"{10.0**-entry.quantity_decimals:.8f}"
    return {
        "symbol": market_id(entry),
        "status": "TRADING",
        "baseAsset": entry.base,
        "baseAssetPrecision": 8,
        "quoteAsset": entry.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000000.00000000", "stepSize": lot},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }
