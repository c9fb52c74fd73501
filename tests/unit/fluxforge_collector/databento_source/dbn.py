"""DBN records and files as a test wants them: made by the official package, so that they are what it reads."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

databento_dbn = pytest.importorskip("databento_dbn", reason="the package databento-dbn is not installed")

from databento_dbn import (  # noqa: E402 - after the check
    UNDEF_PRICE,
    Action,
    BidAskPair,
    MBOMsg,
    MBP1Msg,
    Metadata,
    OHLCVMsg,
    RType,
    Schema,
    Side,
    SType,
    TradeMsg,
)

LAST, SNAPSHOT, MAYBE_BAD = 128, 32, 4
T0 = 1_700_000_000_000_000_000
S = 1_000_000_000
INSTRUMENT = 7
MARKET = "ESZ3"
NOTHING = UNDEF_PRICE


def ticks(price: float | None) -> int:
    return UNDEF_PRICE if price is None else round(price * S)


def order(  # one change of a book kept order by order
    at: int, action: str, side: str = "N", order_id: int = 0, price: float | None = None, size: int = 0, **more: Any
) -> MBOMsg:
    fields = {"publisher_id": 1, "instrument_id": INSTRUMENT, "flags": LAST, "sequence": at % 2**32, **more}
    return MBOMsg(
        ts_event=T0 + at - 5,
        ts_recv=T0 + at,
        order_id=order_id,
        price=ticks(price),
        size=size,
        action=Action(action),
        side=Side(side),
        **fields,
    )


def quote(at: int, bid: float | None, ask: float | None, action: str = "A", **more: Any) -> MBP1Msg:
    fields = {
        "publisher_id": 1,
        "instrument_id": INSTRUMENT,
        "flags": LAST,
        "sequence": at % 2**32,
        "price": 1.0,
        **more,
    }
    price = ticks(fields.pop("price"))
    sizes = {"bid_sz": 0 if bid is None else 3, "ask_sz": 0 if ask is None else 4}
    level = BidAskPair(bid_px=ticks(bid), ask_px=ticks(ask), bid_ct=1, ask_ct=1, **sizes)
    return MBP1Msg(
        ts_event=T0 + at - 5,
        ts_recv=T0 + at,
        price=price,
        size=2,
        action=Action(action),
        side=Side("B"),
        depth=0,
        levels=level,
        **fields,
    )


def trade(at: int, price: float, size: int = 1, side: str = "B", **more: Any) -> TradeMsg:
    fields = {"publisher_id": 1, "instrument_id": INSTRUMENT, "sequence": at % 2**32, "depth": 0, **more}
    return TradeMsg(
        ts_event=T0 + at - 5,
        ts_recv=T0 + at,
        price=ticks(price),
        size=size,
        action=Action("T"),
        side=Side(side),
        **fields,
    )


def minute(start_ns: int, price: float) -> OHLCVMsg:
    raw = ticks(price)
    return OHLCVMsg(
        rtype=RType.OHLCV_1M,
        publisher_id=1,
        instrument_id=INSTRUMENT,
        ts_event=start_ns,
        open=raw,
        high=raw,
        low=raw,
        close=raw,
        volume=9,
    )


def file_of(schema: str | None, records: Iterable[Any], dataset: str = "GLBX.MDP3", market: str = MARKET) -> bytes:
    """Return the bytes of a DBN file."""
    span = SimpleNamespace(start_date=date(2023, 11, 1), end_date=date(2023, 12, 1), symbol=str(INSTRUMENT))
    metadata = Metadata(
        dataset=dataset,
        start=T0,
        stype_in=SType.RAW_SYMBOL,
        stype_out=SType.INSTRUMENT_ID,
        schema=None if schema is None else Schema.from_str(schema),
        symbols=[market],
        mappings=[SimpleNamespace(raw_symbol=market, intervals=[span])],
        version=3,
    )
    return metadata.encode() + b"".join(bytes(record) for record in records)


def written(path: Path, schema: str | None, records: Iterable[Any], **more: Any) -> Path:
    path.write_bytes(file_of(schema, records, **more))
    return path
