"""Parts: tables to the Parquet files of their partitions, in memory, schema checked.

Rows of a part stand in order of (ts, capture_ns, seq, idx). Tables of one partition come in time order; tables of
several instruments that share a partition are merged. Nothing is stored here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxforge.domain.partition import partition_path
from fluxforge.runtime.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, ROW_ORDER, open_writer
from fluxforge_etl_worker.columns import I64
from fluxforge_etl_worker.features.registry import Feature
from fluxforge_etl_worker.schemas import check_schema
from fluxforge_etl_worker.tables import in_one_piece, int64s, numbers

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US


@dataclass(frozen=True, slots=True)
class PartFile:
    """One finished part: dataset, Hive path below its root, rows and bytes of the file."""

    dataset: str
    partition: str
    rows: int
    body: bytes


class PartWriter:
    """Collects the tables of one segment and turns them into one part per dataset and partition."""

    def __init__(
        self,
        *,
        source: str,
        compression: str,
        features: tuple[Feature, ...],
        metadata: Mapping[str, str],
    ) -> None:
        self._source = source
        self._compression = compression
        self._features = features
        self._metadata = dict(metadata)
        self._open: dict[tuple[str, str], _OpenPart] = {}

    def add(self, dataset: str, cols: Sequence[str], tables: Sequence[pa.Table]) -> None:
        """Append tables of one stretch of time, each in order, to their partitions.

        Raises:
            SchemaMismatchError: A table is not what its dataset holds; nothing of it was taken.
        """
        pieces: dict[str, list[pa.Table]] = {}
        filled = [table for table in tables if table.num_rows]
        for table in filled:
            check_schema(dataset, table, self._features)
        for table in _by_instrument(filled):
            for path, piece in _split(table, cols, self._source):
                pieces.setdefault(path, []).append(piece)
        for path, parts in pieces.items():
            part = self._open.get((dataset, path))
            if part is None:
                part = self._open[dataset, path] = _OpenPart(parts[0].schema, self._compression)
            part.append(_joined(parts))

    def finish(self) -> Iterator[PartFile]:
        """Yield every part, finished, sorted by dataset and partition."""
        for dataset, path in sorted(self._open):
            part = self._open.pop((dataset, path))
            yield PartFile(dataset, path, part.rows, part.finish({**self._metadata, "fluxforge.dataset": dataset}))


def rewritten(part: PartFile, table: pa.Table, compression: str) -> PartFile:
    """Return a part with the rows of another table and its own metadata."""
    metadata = pq.read_metadata(pa.BufferReader(part.body)).metadata
    body = _OpenPart(table.schema, compression)
    body.append(table)
    kept = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"fluxforge.")}
    return replace(part, body=body.finish(kept))


def in_order(table: pa.Table) -> pa.Table:
    """Return the table in the order of a part."""
    keys = [(name, "ascending") for name in ROW_ORDER if name in table.column_names]
    plain = pa.table({name: _sortable(table[name]) for name, _ in keys})
    return table.take(pc.sort_indices(plain, sort_keys=keys))


def _by_instrument(tables: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables of one instrument as one, to be cut by partition together; any others as they are."""
    groups: dict[tuple[str, ...], list[pa.Table]] = {}
    for table in tables:
        names = [table[column].chunk(0).dictionary for column in ("exchange", "symbol")]
        if table["symbol"].num_chunks == 1 and all(len(name) == 1 for name in names):
            groups.setdefault(tuple(name[0].as_py() for name in names), []).append(table)
        else:
            yield table
    yield from map(_joined, groups.values())


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables, each in order, as one in order: of one instrument they follow one another, of several they mix."""
    if len(tables) == 1:
        return tables[0]
    whole = pa.concat_tables(tables).combine_chunks()
    moments = [_moment(table, row) for table in tables for row in (0, -1)]
    follow = all(end < begin for end, begin in zip(moments[1::2], moments[2::2], strict=False))
    return whole if follow else in_order(whole)


class _OpenPart:
    """A Parquet file being written to memory; rows wait until they fill a row group."""

    def __init__(self, schema: pa.Schema, compression: str) -> None:
        self._schema = schema
        self._compression = compression
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._newest = (0, 0)
        self._disordered = False
        self.rows = 0
        self._begin()

    def append(self, table: pa.Table) -> None:
        self._disordered |= _moment(table, 0) < self._newest
        self._newest = max(self._newest, _moment(table, -1))
        self.rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self._waiting_bytes += table.nbytes
        if self._waiting_rows >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def finish(self, metadata: Mapping[str, str]) -> bytes:
        if self._disordered:  # several instruments in one partition, whose rows became certain at different times
            self._flush()
            self._writer.close()
            # Not `read_table`, which imports pandas wherever it is installed.
            written = pq.ParquetFile(pa.BufferReader(self._sink.getvalue())).read()
            self._begin()
            self._waiting = [in_order(written)]
        self._flush()
        self._writer.add_key_value_metadata({**metadata, "fluxforge.rows": str(self.rows)})
        self._writer.close()
        body: bytes = self._sink.getvalue().to_pybytes()
        return body

    def _begin(self) -> None:
        self._sink = pa.BufferOutputStream()
        self._writer = open_writer(self._sink, self._schema, self._compression)

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).unify_dictionaries()
            self._writer.write_table(table, row_group_size=2 * ROW_GROUP_ROWS)  # no small rest in a group of its own
            self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


def _moment(table: pa.Table, row: int) -> tuple[int, int]:
    """Return (ts, capture_ns) of a row; datasets without capture_ns come in one table."""
    row %= table.num_rows
    captured = table["capture_ns"][row].as_py() if "capture_ns" in table.column_names else 0
    return table["ts"][row].value, captured


def _split(table: pa.Table, cols: Sequence[str], source: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each partition, in the order they stand; rows that stand together are cut, not copied."""
    ts = int64s(table["ts"])
    span = _HOUR_US if "hour" in cols else _DAY_US
    labels = [ts // span] if {"date", "hour"} & set(cols) and ts.min() // span != ts.max() // span else []
    names = [in_one_piece(table[col].unify_dictionaries()) for col in ("exchange", "symbol") if col in cols]
    labels += [int64s(name.indices) for name in names if len(name.dictionary) > 1]
    for rows in _alike(labels, len(ts)):
        begin, end = int(rows[0]), int(rows[-1]) + 1
        is_run = end - begin == len(rows)
        piece = table.slice(begin, end - begin) if is_run else table.take(numbers(rows))
        at = datetime.fromtimestamp(int(ts[begin]) / 1e6, tz=UTC)
        values = {
            "source": source,
            "exchange": piece["exchange"][0].as_py(),
            "symbol": piece["symbol"][0].as_py(),
            "date": f"{at:%Y-%m-%d}",
            "hour": f"{at:%H}",
        }
        yield partition_path(cols, values), piece


def _alike(labels: Sequence[I64], rows: int) -> list[I64]:
    """Return the rows that have all labels in common, group by group, each in rising order."""
    if not labels:
        return [np.arange(rows)]
    order = np.lexsort(labels).astype(np.int64)  # it leaves equal ones in the order they stand
    changed = np.zeros(rows - 1, dtype=np.bool_)
    for label in labels:
        changed |= np.diff(label[order]) != 0
    return np.split(order, np.flatnonzero(changed) + 1)


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
