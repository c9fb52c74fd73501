"""Columns: the records of one feed as arrays, as they come out of one slice of a segment.

Rows stand in capture order. Times are int64, ns or ms UTC. Nothing is computed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fluxforge.domain.control import Control

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Objects = NDArray[np.object_]

ABSENT_MS: Final = int(np.iinfo(np.int64).min)
"""Stands in an int64 column where there is no `exchange_ms`."""


def objects(values: Sequence[str | None]) -> Objects:
    """Return a column of strings and None."""
    result = np.empty(len(values), dtype=np.object_)
    result[:] = values
    return result


@dataclass(frozen=True, slots=True, order=True)
class Instrument:
    """One market of one exchange: the venue's name of it and its id."""

    exchange: str
    symbol: str
    market: str


@dataclass(frozen=True, slots=True)
class Keys:
    """What identifies n rows and says when they were. `boot`: strings; `exchange_ms`: ABSENT_MS where null."""

    capture_ns: I64
    exchange_ms: I64
    seq: I64
    boot: Objects

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.capture_ns)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the keys of several stretches, one after the other."""
        return cls(
            np.concatenate([part.capture_ns for part in parts]),
            np.concatenate([part.exchange_ms for part in parts]),
            np.concatenate([part.seq for part in parts]),
            np.concatenate([part.boot for part in parts]),
        )

    def take(self, rows: I64 | slice) -> "Keys":
        """Return the keys of some rows."""
        return Keys(self.capture_ns[rows], self.exchange_ms[rows], self.seq[rows], self.boot[rows])


@dataclass(frozen=True, slots=True)
class Side:
    """One side of n books, ragged: row i owns levels `offsets[i]` to `offsets[i + 1]`, the touch first."""

    px: F64
    sz: F64
    offsets: I64

    @property
    def counts(self) -> I64:
        """Number of levels of each row."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class BookColumns:
    """Order book updates of one instrument."""

    instrument: Instrument
    keys: Keys
    bids: Side
    asks: Side


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Trades of one instrument, one row each; `idx` is the position in its record. Null strings are None.

    `snapshot`: the venue marked the record as a snapshot, so every trade in it was sent before or may have been.
    """

    instrument: Instrument
    keys: Keys
    idx: I64
    trade_id: Objects
    side: Objects
    price: F64
    amount: F64
    cost: F64
    taker_or_maker: Objects
    source_kind: Objects
    snapshot: Bools

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the trades of consecutive slices of one instrument, one after the other; there is at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            parts[0].instrument,
            Keys.joined([part.keys for part in parts]),
            np.concatenate([part.idx for part in parts]),
            trade_id=np.concatenate([part.trade_id for part in parts]),
            side=np.concatenate([part.side for part in parts]),
            price=np.concatenate([part.price for part in parts]),
            amount=np.concatenate([part.amount for part in parts]),
            cost=np.concatenate([part.cost for part in parts]),
            taker_or_maker=np.concatenate([part.taker_or_maker for part in parts]),
            source_kind=np.concatenate([part.source_kind for part in parts]),
            snapshot=np.concatenate([part.snapshot for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class TickerColumns:
    """Ticker updates of one instrument; `values[name]` NaN where the venue gives none."""

    instrument: Instrument
    keys: Keys
    values: dict[str, F64]


@dataclass(frozen=True, slots=True)
class GenericRows:
    """Updates of any other channel, one row each: `values` as parsed, `idx` the position in its record."""

    channel: str
    instrument: Instrument
    keys: Keys
    idx: I64
    values: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ControlRow:
    """One control record of the lane."""

    capture_ns: int
    boot: str
    seq: int
    control: Control


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no record: where it begins, why, and its bytes (of a long line the beginning)."""

    offset: int
    reason: str
    line: bytes
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class SliceColumns:
    """Everything one slice of a segment held."""

    books: tuple[BookColumns, ...]
    trades: tuple[TradeColumns, ...]
    tickers: tuple[TickerColumns, ...]
    generic: tuple[GenericRows, ...]
    controls: tuple[ControlRow, ...]
    bad: tuple[BadLine, ...]
    lines: int

    def begins_after(self, time_ns: int) -> bool:
        """Return whether everything that looks back (books, trades, control records) is later than a time."""
        parts: list[BookColumns | TradeColumns] = [*self.books, *self.trades]
        firsts = [int(part.keys.capture_ns[0]) for part in parts if len(part.keys)]
        firsts += [row.capture_ns for row in self.controls[:1]]
        return min(firsts, default=time_ns + 1) > time_ns
