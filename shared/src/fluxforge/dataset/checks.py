"""Checks of one file: it is read whole, piece by piece, and what is wrong with it by itself is told.

Of its rows no more is kept than the hashes of their keys, which tell whether another file has one of them.
"""

import hashlib
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.errors import ObjectNotFoundError
from fluxforge.domain.instrument import decode_component
from fluxforge.domain.partition import key_columns
from fluxforge.domain.record import FILE_BOOT
from fluxforge.ports.store import Store
from fluxforge.runtime.parquet import ROW_ORDER
from fluxforge.runtime.stored_file import StoredFile

UNREADABLE: Final = (pa.ArrowException, pl.exceptions.PolarsError, OSError)
"""What reading a damaged file raises, beside the errors of its store."""

Hashes = npt.NDArray[np.uint64]

_SEED: Final = 0x5EED
_PIECE_ROWS: Final = 65_536
_PIECE_BYTES: Final = 16 * 2**20
_PLACE: Final = ("exchange", "symbol")
_TIME: Final = "ts"
_BOOT: Final = "boot"


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was read whole, and its own flaws. `keys`: hashes of its rows' keys; None: it has no such columns."""

    key: str
    size_bytes: int
    sha256: str
    schema: pa.Schema
    metadata: Mapping[str, str]
    rows: int
    keys: Hashes | None
    flaws: tuple[str, ...]


def checked(store: Store, key: str, dataset: str) -> Checked:
    """Read a file and check it by itself.

    Raises:
        ObjectNotFoundError: It is gone.
        StoreUnavailableError: The store does not answer. What is UNREADABLE: the file is damaged.
    """
    size_bytes = store.size(key)
    if size_bytes is None:
        raise ObjectNotFoundError(key)
    source = _source(store, key, size_bytes)
    sha256 = hashlib.sha256()
    while body := source.read(_PIECE_BYTES):
        sha256.update(body)
    with pq.ParquetFile(pa.PythonFile(source, mode="r")) as file:
        schema = file.schema_arrow.remove_metadata()
        flaws = list(_column_flaws(schema, dataset))
        walk = None if flaws else _Walk(key, schema, dataset)
        rows = 0
        for piece in _pieces(file):
            rows += piece.num_rows
            if walk is not None:
                walk.add(piece)
        metadata = _metadata(file)
    said, of = metadata.get("fluxforge.rows"), metadata.get("fluxforge.dataset")
    if said != str(rows):
        flaws.append(f"it says {said} rows and has {rows}")
    if of != dataset:
        flaws.append(f"it is of dataset {of!r}, expected {dataset!r}")
    keys = None if walk is None else walk.keys()
    flaws += () if walk is None else walk.flaws()
    return Checked(key, size_bytes, sha256.hexdigest(), schema, metadata, rows, keys, tuple(flaws))


def keys_among(store: Store, key: str, dataset: str, hashes: Hashes) -> pl.DataFrame:
    """Return the keys, as text, of the rows of a file whose keys have one of these hashes.

    Raises:
        ObjectNotFoundError: It is gone.
    """
    wanted = pl.Series(hashes)
    found = []
    with pq.ParquetFile(pa.PythonFile(StoredFile(store, key), mode="r")) as file:
        for piece in _pieces(file, key_columns(dataset)):
            keys = _keys(_frame(piece), dataset)
            found.append(keys.filter(keys.hash_rows(seed=_SEED).is_in(wanted.implode())).cast(pl.String))
    return pl.concat(found)


def _source(store: Store, key: str, size_bytes: int) -> io.BytesIO | StoredFile:
    """Return a file: a small one is read at once, of another what is asked for."""
    return io.BytesIO(store.read(key)) if size_bytes <= _PIECE_BYTES else StoredFile(store, key)


def _pieces(file: pq.ParquetFile, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows in their order; every page of these columns, of all by default, is read and decoded once."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(_PIECE_ROWS, row_groups=[group], columns=columns and list(columns))


def _frame(piece: pa.RecordBatch) -> pl.DataFrame:
    """Return rows as polars compares them: the codes of a dictionary differ from piece to piece."""
    frame = pl.from_arrow(piece)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _keys(frame: pl.DataFrame, dataset: str) -> pl.DataFrame:
    """Return the keys of rows; files of other recorders number their records each by itself."""
    columns = key_columns(dataset)
    own = frame.filter(pl.col(_BOOT).ne_missing(FILE_BOOT)) if _BOOT in columns else frame
    return own.select(columns)


def _column_flaws(schema: pa.Schema, dataset: str) -> Iterator[str]:
    """Yield why rows with these columns cannot be of a dataset."""
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        yield f"its columns {', '.join(twice)} stand twice: not written by FluxForge"
    missing = [name for name in dict.fromkeys((*_PLACE, _TIME, *key_columns(dataset))) if name not in schema.names]
    if missing:
        yield f"it has no column {', '.join(missing)}: not written by FluxForge"
    elif not twice and not pa.types.is_timestamp(schema.field(_TIME).type):
        yield f"its column ts is {schema.field(_TIME).type}, expected a timestamp"


def _metadata(file: pq.ParquetFile) -> dict[str, str]:
    said = (file.metadata.metadata or {}).items()
    return {name.decode(): value.decode(errors="replace") for name, value in said if name.startswith(b"fluxforge.")}


class _Walk:
    """The rows of a file, piece by piece: whether they are in order, of their partition, and what their keys are."""

    def __init__(self, key: str, schema: pa.Schema, dataset: str) -> None:
        self._dataset = dataset
        self._order = [name for name in ROW_ORDER if name in schema.names]
        self._columns = list(dict.fromkeys((*_PLACE, _TIME, *key_columns(dataset), *self._order)))
        self._last: pl.DataFrame | None = None
        self._is_ordered = True
        self._strangers, self._unclear = _place(key)
        self._counts = dict.fromkeys(self._strangers, 0)
        self._hashes: list[Hashes] = []

    def add(self, piece: pa.RecordBatch) -> None:
        frame = _frame(piece.select(self._columns))
        rows = frame.select(self._order)
        if self._last is not None:
            rows = pl.concat([self._last, rows])
        self._is_ordered = self._is_ordered and rows.equals(rows.sort(self._order))
        self._last = rows.tail(1)
        for what, is_stranger in self._strangers.items():
            self._counts[what] += int(frame.select(is_stranger.sum()).item())
        self._hashes.append(_keys(frame, self._dataset).hash_rows(seed=_SEED).to_numpy())

    def keys(self) -> Hashes:
        return np.concatenate(self._hashes) if self._hashes else np.empty(0, np.uint64)

    def flaws(self) -> Iterator[str]:
        if not self._is_ordered:
            yield f"its rows are not in the order of {', '.join(self._order)}"
        yield from (f"{count} rows are not of {what}" for what, count in self._counts.items() if count)
        yield from self._unclear


def _place(key: str) -> tuple[dict[str, pl.Expr], list[str]]:
    """Return which rows are not of the partition in a key, by what it says of them, and what of it cannot be."""
    values = {
        column: decode_component(value)
        for column, is_given, value in (name.partition("=") for name in key.split("/")[:-1])
        if is_given
    }
    strangers = {f"{name} {values[name]}": pl.col(name).ne_missing(values[name]) for name in _PLACE if name in values}
    unclear = []
    if "date" in values:
        try:
            day = date.fromisoformat(values["date"])
        except ValueError:
            unclear.append(f"it stands in date={values['date']}, which is no date")
        else:
            strangers[values["date"]] = pl.col(_TIME).dt.date().ne_missing(day)
    return strangers, unclear
