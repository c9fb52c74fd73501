"""Rows: what a leg's datasets hold of one feed, as tables, and as the columns that features are made of."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxforge.domain.control import HOLE_WORDS, SOUND_WORDS, FeedKey
from fluxforge.domain.partition import Dataset
from fluxforge.ports.store import Store
from fluxforge.runtime.stored_file import StoredFile
from fluxforge_etl_worker.columns import (
    ABSENT_MS,
    F64,
    I64,
    BookColumns,
    Instrument,
    Keys,
    Objects,
    Side,
    TradeColumns,
    objects,
)
from fluxforge_etl_worker.coverage import CoverageRow
from fluxforge_etl_worker.generic import conformed
from fluxforge_etl_worker.legs.arrivals import Arrivals, Identity
from fluxforge_etl_worker.parts import in_order
from fluxforge_etl_worker.schemas import KEYS, has_fixed_schema
from fluxforge_etl_worker.tables import constant, in_one_piece, int64s, numbers

_NS_PER_US: Final = 1_000
_NOT_SAID: Final = frozenset({*(field.name for field in KEYS), "idx"})
"""Columns that tell how a row was captured, not what the venue said."""
_ID_COLUMNS: Final = ("symbol", "capture_ns", "trade_id")
_WORDS: Final = pa.array(sorted(HOLE_WORDS | SOUND_WORDS), pa.string())
RANKS: Final = 3
"""Ranks of trades within an hour: as they happened, sent again, fetched later."""


def read_rows(store: Store, keys: Iterable[str], symbol: str, after_ns: int, until_ns: int) -> list[pa.Table]:
    """Return the rows of a symbol captured in `(after_ns, until_ns]`, a table for each file that has some."""
    groups = (
        group for key in keys for group in _row_groups(store, key, after_ns // _NS_PER_US, until_ns // _NS_PER_US)
    )
    chosen = (_chosen(group, symbol, after_ns, until_ns) for group in groups)
    return [table for table in chosen if table.num_rows]


def read_ids(
    store: Store, keys: Iterable[str], symbol: str, after_ns: int, until_ns: int, wanted: frozenset[str]
) -> set[str]:
    """Return which trade ids some row of a symbol captured in `(after_ns, until_ns]` bears."""
    found: set[str] = set()
    for key in keys:
        for group in _row_groups(store, key, after_ns // _NS_PER_US, until_ns // _NS_PER_US, _ID_COLUMNS):
            found.update(wanted.intersection(_chosen(group, symbol, after_ns, until_ns)["trade_id"].to_pylist()))
    return found


def read_coverage(store: Store, key: str, exchange: str) -> list[CoverageRow]:
    """Return what a file tells of holes of an exchange: of all that is told the least part."""
    table = pq.ParquetFile(pa.PythonFile(StoredFile(store, key), mode="r")).read()
    is_told = pc.and_(
        pc.equal(table["exchange"].cast(pa.string()), exchange),
        pc.is_in(table["event"].cast(pa.string()), value_set=_WORDS),
    )
    found = []
    for row in table.filter(is_told).to_pylist():
        feed = FeedKey(row.pop("channel"), row.pop("symbol"))
        del row["exchange"], row["ts"]
        found.append(CoverageRow(feed=feed, **row))
    return found


def _row_groups(
    store: Store, key: str, first_us: int, last_us: int, columns: Sequence[str] | None = None
) -> Iterable[pa.Table]:
    with pq.ParquetFile(pa.PythonFile(StoredFile(store, key), mode="r")) as file:
        column = file.schema_arrow.get_field_index("ts")
        for group in range(file.metadata.num_row_groups):
            times = file.metadata.row_group(group).column(column).statistics  # nothing nested stands before `ts`
            if int(times.min_raw) <= last_us and int(times.max_raw) >= first_us:
                yield file.read_row_group(group, columns=columns).replace_schema_metadata(None)


def _chosen(table: pa.Table, symbol: str, after_ns: int, until_ns: int) -> pa.Table:
    captured = table["capture_ns"]
    rows = pc.and_(pc.greater(captured, after_ns), pc.less_equal(captured, until_ns))
    return table.filter(pc.and_(rows, pc.equal(table["symbol"].cast(pa.string()), symbol)))


def joined(dataset: str, legs: Sequence[Sequence[pa.Table]], exchange: str, symbol: str) -> tuple[pa.Table, I64] | None:
    """Return the rows of both legs in order of (capture_ns, leg), and which leg each is of; None: there is none."""
    tables, sides = [], []
    schema = next((table.schema for leg in legs for table in leg), None)
    if schema is None:
        return None
    for leg, parts in enumerate(legs):
        if parts:
            alike = [part if has_fixed_schema(dataset) else conformed(part, schema) for part in parts]
            whole = in_order(pa.concat_tables(alike))
            tables.append(_named(whole, exchange, symbol))
            sides.append(np.full(whole.num_rows, leg, dtype=np.int64))
    table, side = pa.concat_tables(tables).combine_chunks(), np.concatenate(sides)
    order = np.lexsort((np.arange(len(side)), side, int64s(table["capture_ns"]))).astype(np.int64)
    return table.take(numbers(order)).combine_chunks(), side[order]


def _named(table: pa.Table, exchange: str, symbol: str) -> pa.Table:
    """Return a table of one instrument with dictionaries of one word."""
    for name, word in (("exchange", exchange), ("symbol", symbol)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), constant(word, table.num_rows))
    return table


def arrivals(dataset: str, table: pa.Table, side: I64) -> Arrivals:
    """Return the rows of both legs as what the venue sent."""
    timed = np.where(int64s(table["exchange_ms"], ABSENT_MS) == ABSENT_MS, Identity.UNTIMED, Identity.TIMED)
    rank = np.zeros(table.num_rows, dtype=np.int64)
    says = _contents(table)
    if dataset == Dataset.TRADES:
        resent, backfilled = table["resent"].to_pylist(), table["source_kind"].to_pylist()
        rank = np.array([2 if kind else int(bool(again)) for again, kind in zip(resent, backfilled, strict=True)])
        ids = table["trade_id"].to_pylist()
        said = zip(*(table[name].to_pylist() for name in ("exchange_ms", "side", "price", "amount")), strict=True)
        says = [what if name is None else name for name, what in zip(ids, said, strict=True)]
        timed = np.where([name is None for name in ids], timed, Identity.NAMED)
    return Arrivals(int64s(table["capture_ns"]), side, timed.astype(np.int64), says, rank.astype(np.int64))


def _contents(table: pa.Table) -> list[Hashable]:
    """Return for each row a digest of what the venue said, its time among it."""
    columns = [table["exchange_ms"].to_pylist()]
    for name in table.column_names:
        if name not in _NOT_SAID:
            column = table[name]
            columns.append(_levels(column) if pa.types.is_list(column.type) else column.to_pylist())
    return [hashlib.blake2b(repr(row).encode(), digest_size=16).digest() for row in zip(*columns, strict=True)]


def _levels(column: pa.ChunkedArray) -> list[bytes]:
    values, offsets = _ragged(column)
    return [values[begin:end].tobytes() for begin, end in pairwise(offsets.tolist())]


def book_columns(table: pa.Table) -> BookColumns:
    """Return rows of `orderbook/books` as they were before they became a table; there is at least one."""
    sides = []
    for name in ("bid", "ask"):
        px, offsets = _ragged(table[f"{name}_px"])
        sides.append(Side(px, _ragged(table[f"{name}_sz"])[0], offsets))
    return BookColumns(_instrument(table), _keys(table), *sides)


def trade_columns(table: pa.Table) -> TradeColumns:
    """Return rows of `trades` as they were before they became a table; there is at least one. Resent: as a snapshot."""
    return TradeColumns(
        _instrument(table),
        _keys(table),
        int64s(table["idx"]),
        trade_id=_texts(table, "trade_id"),
        side=_texts(table, "side"),
        price=_floats(table, "price"),
        amount=_floats(table, "amount"),
        cost=_floats(table, "cost"),
        taker_or_maker=_texts(table, "taker_or_maker"),
        source_kind=_texts(table, "source_kind"),
        snapshot=np.array(table["resent"].to_pylist(), dtype=np.bool_),
    )


def _instrument(table: pa.Table) -> Instrument:
    return Instrument(*(table[name][0].as_py() for name in ("exchange", "symbol", "market")))


def _keys(table: pa.Table) -> Keys:
    return Keys(
        int64s(table["capture_ns"]),
        int64s(table["exchange_ms"], ABSENT_MS),
        int64s(table["seq"]),
        _texts(table, "boot"),
    )


def _ragged(column: pa.ChunkedArray) -> tuple[F64, I64]:
    whole = in_one_piece(column)
    offsets = np.from_dlpack(whole.offsets).astype(np.int64)
    values = np.from_dlpack(whole.values).astype(np.float64, copy=False)
    return values[offsets[0] : offsets[-1]], offsets - offsets[0]


def _floats(table: pa.Table, name: str) -> F64:
    return np.from_dlpack(in_one_piece(pc.fill_null(table[name], float("nan")))).astype(np.float64, copy=False)


def _texts(table: pa.Table, name: str) -> Objects:
    return objects(table[name].to_pylist())
