"""The spread: a sorted stream of rows into one file after another of every partition it has rows for.

Memory does not grow with the stream: what waits for its row group is bounded over all files, and a file whose day or
hour has passed is finished.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxforge.dataset.rewrite.output import Beside, RowsDifferError, Waiting, durable
from fluxforge.dataset.rewrite.tally import Tally
from fluxforge.domain.errors import SchemaMismatchError
from fluxforge.domain.instrument import decode_component
from fluxforge.domain.journal import File
from fluxforge.domain.partition import partition_path

_I64 = npt.NDArray[np.int64]
_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_NAMES: Final = ("exchange", "symbol")


@dataclass(frozen=True, slots=True)
class Sheet:
    """How files are written: `cols` of their partitions, where they are made, how names begin, what they say of it.

    A file is finished at about `file_bytes_max`; rows of at most `waiting_bytes_max` wait for their row groups.
    """

    source: str
    cols: tuple[str, ...]
    folder: Path
    prefix: str
    compression: str
    metadata: Mapping[str, str]
    file_bytes_max: int = 512_000_000
    waiting_bytes_max: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file, on disk and read again: of which partition, and what it is; `path`: where it was made."""

    partition: str
    path: Path
    file: File


@dataclass(slots=True)
class _Open:
    path: Path
    waiting: Waiting
    last_us: int = 0
    rows: int = 0


@dataclass(slots=True)
class Spread:
    """The files being written; `written` and `tally` tell of those that are finished. `numbers` count their names."""

    sheet: Sheet
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    written: list[Written] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    _open: dict[str, _Open] = field(default_factory=dict)
    _beside: Beside = field(default_factory=Beside)

    def add(self, table: pa.Table) -> None:
        """Take rows that follow those before in the order of the datasets.

        Raises:
            RowsDifferError: A finished file does not hold what it should.
            SchemaMismatchError: A row has no exchange or symbol.
            DurabilityError: An fsync failed.
        """
        for partition, piece in _split(table, self.sheet):
            file = self._open.get(partition)
            if file is None:
                path = self.sheet.folder / f"{self.sheet.prefix}{next(self.numbers):05d}.parquet"
                file = self._open[partition] = _Open(path, Waiting(path, self.sheet.compression, self._beside))
            file.waiting.append(piece)
            file.rows += piece.num_rows
            file.last_us = piece["ts"][-1].value
            if file.waiting.written_bytes >= self.sheet.file_bytes_max:
                self._finish(partition)
        self._make_room()
        self._finish_passed(table["ts"][-1].value)

    def finish(self) -> None:
        """Finish every file; errors as of `add`."""
        for partition in list(self._open):
            self._finish(partition)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every file that was not finished, whatever of it was written."""
        with ExitStack() as closing:
            for file in self._open.values():
                closing.callback(file.waiting.close)
            closing.callback(self._beside.close)  # before the files: it may write one of them

    def _make_room(self) -> None:
        while sum(file.waiting.size_bytes for file in self._open.values()) > self.sheet.waiting_bytes_max:
            max(self._open.values(), key=lambda file: file.waiting.size_bytes).waiting.flush()

    def _finish_passed(self, now_us: int) -> None:
        """Finish the files of a day or an hour of which no row comes any more."""
        if "date" not in self.sheet.cols:
            return  # the same hour comes again the next day
        span = _span_us(self.sheet.cols)
        for partition, file in list(self._open.items()):
            if file.last_us // span < now_us // span:
                self._finish(partition)

    def _finish(self, partition: str) -> None:
        file = self._open[partition]
        file.waiting.finish({**self.sheet.metadata, "fluxforge.rows": str(file.rows)})
        del self._open[partition]
        file.waiting.close()
        rows = self._look(partition, file.path)
        if rows != file.rows:
            raise RowsDifferError(partition, f"{file.rows} rows were to be written, {rows} were")
        self.written.append(Written(partition, file.path, durable(file.path, rows)))

    def _look(self, partition: str, path: Path) -> int:
        """Read a file again; return how many rows it has, all of its partition."""
        before = self.tally.rows
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                table = file.read_row_group(group)
                self.tally.add(table)
                strangers = _strangers(table, partition)
                if strangers:
                    raise RowsDifferError(partition, f"{strangers} rows were written there that are of another")
        return self.tally.rows - before


def _split(table: pa.Table, sheet: Sheet) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each partition, in the order they stand."""
    cols = sheet.cols
    times: _I64 = table["ts"].cast(pa.int64()).to_numpy()
    codes = [times // _span_us(cols)] if {"date", "hour"} & set(cols) else []
    codes += [_codes(table, col, sheet.metadata.get("fluxforge.dataset", "")) for col in _NAMES if col in cols]
    for rows in _alike(codes, table.num_rows):
        piece = table if len(rows) == table.num_rows else table.take(rows)
        at = datetime.fromtimestamp(int(times[rows[0]]) // 1_000_000, tz=UTC)
        values = {"source": sheet.source, "date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"}
        values |= {col: piece[col][0].as_py() for col in _NAMES if col in cols}
        yield partition_path(cols, values), piece


def _codes(table: pa.Table, col: str, dataset: str) -> _I64:
    """Return a number for each row, the same for the same name."""
    if col not in table.column_names or table[col].null_count:
        raise SchemaMismatchError(dataset, f"one {col} of every row", "none of some")
    column = table[col] if pa.types.is_dictionary(table[col].type) else pc.dictionary_encode(table[col])
    whole = column.unify_dictionaries().combine_chunks()
    chunk = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    codes: _I64 = chunk.indices.cast(pa.int64()).to_numpy()
    return codes


def _alike(codes: Sequence[_I64], rows: int) -> list[_I64]:
    """Return the rows that have all codes in common, group by group, each in rising order."""
    codes = [code for code in codes if code.min() != code.max()]
    if not codes:
        return [np.arange(rows)]
    order = np.lexsort(codes).astype(np.int64)  # it leaves equal ones in the order they stand
    changed = np.zeros(rows - 1, dtype=np.bool_)
    for code in codes:
        changed |= np.diff(code[order]) != 0
    return np.split(order, np.flatnonzero(changed) + 1)


def _strangers(table: pa.Table, partition: str) -> int:
    """Return how many rows are not of a partition, told apart in another way than they were split."""
    frame = pl.from_arrow(table.select([name for name in ("ts", *_NAMES) if name in table.column_names]))
    assert isinstance(frame, pl.DataFrame)
    of = pl.lit(value=True)
    for name in partition.split("/"):
        col, _, text = name.partition("=")
        value = decode_component(text)
        if col in _NAMES:
            of &= pl.col(col).cast(pl.String).eq_missing(pl.lit(value))
        elif col == "date":
            of &= pl.col("ts").dt.date() == pl.lit(date.fromisoformat(value))
        elif col == "hour":
            of &= pl.col("ts").dt.hour() == int(value)
    return frame.filter(~of).height


def _span_us(cols: Sequence[str]) -> int:
    return _HOUR_US if "hour" in cols else _DAY_US
