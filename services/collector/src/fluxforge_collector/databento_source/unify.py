"""DBN records as record data of the shapes ccxt resolves, as JSON text. Pure.

Prices are whole numbers in units of 1e-9 and become the double nearest to the decimal; times are ns UTC and become ms.
What the venue leaves undefined is null, never filled in.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

import orjson
from databento_dbn import (
    UNDEF_PRICE,
    UNDEF_TIMESTAMP,
    InstrumentDefMsg,
    OHLCVMsg,
)

from fluxforge_collector.databento_source.book import Level

PRICE_UNIT: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_TAKER: Final = {"B": "buy", "A": "sell"}
_PRICES: Final = (
    "min_price_increment",
    "display_factor",
    "high_limit_price",
    "low_limit_price",
    "max_price_variation",
    "unit_of_measure_qty",
    "min_price_increment_amount",
    "price_ratio",
    "strike_price",
)
_TIMES: Final = ("activation", "expiration")
_NUMBERS: Final = {
    "market_depth": 2**31 - 1,
    "contract_multiplier": 2**31 - 1,
    "original_contract_size": 2**31 - 1,
    "min_lot_size_round_lot": 2**31 - 1,
    "maturity_year": 2**16 - 1,
    "maturity_month": 2**8 - 1,
    "maturity_day": 2**8 - 1,
}
"""Field -> the value that stands for none."""
_TEXTS: Final = (
    "instrument_id",
    "raw_instrument_id",
    "underlying_id",
    "raw_symbol",
    "instrument_class",
    "security_update_action",
    "security_type",
    "cfi",
    "asset",
    "group",
    "exchange",
    "underlying",
    "currency",
    "settl_currency",
    "strike_price_currency",
    "unit_of_measure",
)


def price_of(raw: int) -> float | None:
    """Return a price; None where it is undefined."""
    return None if raw == UNDEF_PRICE else raw / PRICE_UNIT


def ms_of(ns: int) -> int | None:
    """Return a time in ms UTC, rounded down; None where it is undefined."""
    return None if ns == UNDEF_TIMESTAMP else ns // _NS_PER_MS


def trade_data(market: str, trade_id: str | None, side: str, price: int, size: int, ns: int) -> bytes:
    """Return the one trade of a record; `side` is DBN's, of the aggressor: `B`, `A`, or `N` where nobody tells."""
    trade = {
        "id": trade_id,
        "symbol": market,
        "timestamp": ms_of(ns),
        "side": _TAKER.get(side),
        "price": price_of(price),
        "amount": float(size),
        "cost": None,  # what one contract is worth stands in its definition alone
        "takerOrMaker": None if side not in _TAKER else "taker",
    }
    return orjson.dumps([trade])


def book_data(market: str, bids: Sequence[Level], asks: Sequence[Level], ms: int | None, sequence: int) -> bytes:
    """Return a book of (price, size) levels, best first."""
    return orjson.dumps(
        {
            "symbol": market,
            "bids": bids,
            "asks": asks,
            "timestamp": ms,
            "nonce": sequence or None,
        }
    )


def levels_of(raw: Iterable[tuple[int, int]]) -> list[Level]:
    """Return levels as records have them; what has no price or no size is none."""
    return [(price / PRICE_UNIT, float(size)) for price, size in raw if size and price != UNDEF_PRICE]


def candle_data(record: OHLCVMsg, *, as_list: bool) -> bytes:
    """Return a candle as ccxt's `[[start_ms, open, high, low, close, volume]]`, or as an object of these names."""
    prices = [price_of(raw) for raw in (record.open, record.high, record.low, record.close)]
    row = [record.ts_event // _NS_PER_MS, *prices, float(record.volume)]
    if as_list:
        return orjson.dumps([row])
    return orjson.dumps(dict(zip(("start_ms", "open", "high", "low", "close", "volume"), row, strict=True)))


def definition_data(record: InstrumentDefMsg) -> bytes:
    """Return what is known of an instrument: prices as numbers, times in ms UTC."""
    found: dict[str, Any] = {name: _text(getattr(record, name, None)) for name in _TEXTS}
    found |= {name: price_of(getattr(record, name)) for name in _PRICES}
    found |= {f"{name}_ms": ms_of(getattr(record, name)) for name in _TIMES}
    for name, nothing in _NUMBERS.items():
        value = getattr(record, name)
        found[name] = None if value == nothing else value
    return orjson.dumps(found)


def _text(value: object) -> str | None:
    if isinstance(value, Enum) or hasattr(value, "value"):
        value = getattr(value, "value", value)
    return str(value) if value not in {None, ""} else None
