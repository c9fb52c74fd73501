"""Books: which order book updates are valid, and all of them with their levels as a table. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.columns import F64, I64, BookColumns, Bools, Objects, Side
from fluxforge_etl_worker.schemas import BOOKS
from fluxforge_etl_worker.tables import key_columns, numbers

EMPTY: Final = "empty"
CROSSED: Final = "crossed"


@dataclass(frozen=True, slots=True)
class Invalid:
    """Updates that are no valid book: their rows, what they are called in `coverage`, and why."""

    rows: I64
    events: Objects
    reasons: Objects


def valid(books: BookColumns) -> tuple[Bools, Invalid]:
    """Return which updates are valid books, and what is wrong with the others.

    A book is valid when both sides have a level, its prices are above 0 and its sizes too, bids fall, asks rise, and
    the best bid is below the best ask.
    """
    bids, asks = books.bids, books.asks
    empty = (bids.counts == 0) | (asks.counts == 0)
    flawed = _flawed(bids, falling=True) | _flawed(asks, falling=False)
    crossed = np.zeros(len(empty), dtype=np.bool_)
    full = np.flatnonzero(~empty)
    crossed[full] = bids.px[bids.offsets[full]] >= asks.px[asks.offsets[full]]
    bad = np.flatnonzero(empty | flawed | crossed)
    events = np.where(empty[bad], EMPTY, CROSSED).astype(np.object_)
    reasons = np.select(
        [empty[bad], crossed[bad]],
        ["a side has no level", "best bid not below best ask"],
        "levels out of order, or a price or size not above 0",
    ).astype(np.object_)
    return ~(empty | flawed | crossed), Invalid(bad, events, reasons)


def books_table(books: BookColumns) -> pa.Table:
    """Return every update with its levels, the touch first, as list columns."""
    columns = key_columns(books.instrument, books.keys, books.keys.capture_ns)
    for side in (books.bids, books.asks):
        offsets = numbers(side.offsets.astype(np.int32))
        columns += [_levels(offsets, side.px), _levels(offsets, side.sz)]
    return pa.Table.from_arrays(columns, schema=BOOKS)


def _levels(offsets: pa.Array, values: F64) -> pa.Array:
    return pa.ListArray.from_arrays(offsets, numbers(values), type=BOOKS.field("bid_px").type)


def _flawed(side: Side, *, falling: bool) -> Bools:
    """Return which rows have a price or size that is not above 0, or prices in a wrong order."""
    result = np.zeros(len(side.offsets) - 1, dtype=np.bool_)
    wrong = (side.px <= 0) | (side.sz <= 0)
    before, after = side.px[:-1], side.px[1:]
    disorder = before <= after if falling else before >= after
    begins = side.offsets[1:-1]
    disorder[begins[(begins > 0) & (begins < len(side.px))] - 1] = False  # between two books
    cells = np.flatnonzero(wrong)
    breaks = np.flatnonzero(disorder)
    if len(cells) or len(breaks):
        at = np.concatenate((cells, breaks))
        result[np.searchsorted(side.offsets, at, side="right") - 1] = True
    return result
