"""Verification: whether every file of a dataset is what it says, and whether its partition is whole. Reads all rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import FluxForgeError, NameRefusedError, ObjectNotFoundError
from fluxforge.domain.instrument import decode_component
from fluxforge.domain.journal import is_output
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import key_columns
from fluxforge.domain.record import FILE_BOOT
from fluxforge.ports.store import Store
from fluxforge.runtime.parquet import ROW_ORDER
from fluxforge.runtime.stored_file import StoredFile

_ATTEMPTS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a file or a partition."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class _File:
    key: str
    schema: pa.Schema
    metadata: dict[str, str]
    rows: pl.DataFrame


def verify(store: Store, commits: Store | None, layout: Layout, dataset: str, keys: Sequence[str]) -> Iterator[Flaw]:
    """Yield every flaw of these files, which are whole partitions of one dataset.

    `commits`: the store of the commit records, which parts are held against; None: they are not.
    """
    partitions: dict[str, list[str]] = {}
    for key in keys:
        partitions.setdefault(key.rpartition("/")[0], []).append(key)
    for partition, files in partitions.items():
        opened = []
        for key in files:
            try:
                opened.append(_opened(store, key, dataset))
            except (pa.ArrowException, OSError, FluxForgeError) as error:
                yield Flaw(key, f"cannot be read: {str(error).splitlines()[0]}")
        for file in opened:
            yield from _file_flaws(file, dataset)
            if commits is not None and not is_output(file.key.rpartition("/")[2]):
                yield from _commit_flaws(store, commits, layout, file)
        yield from _partition_flaws(partition, dataset, opened)


def _opened(store: Store, key: str, dataset: str) -> _File:
    with pq.ParquetFile(pa.PythonFile(StoredFile(store, key), mode="r")) as file:
        wanted = {*ROW_ORDER, *key_columns(dataset), "exchange", "symbol"}
        for column in set(file.schema_arrow.names) - wanted:
            for batch in file.iter_batches(columns=[column]):  # every page is read and decoded once
                del batch
        table = file.read(columns=[name for name in file.schema_arrow.names if name in wanted])
        rows = pl.from_arrow(table)
        assert isinstance(rows, pl.DataFrame)
        said = (file.metadata.metadata or {}).items()
        metadata = {name.decode(): value.decode() for name, value in said if name.startswith(b"fluxforge.")}
        return _File(key, file.schema_arrow.remove_metadata(), metadata, rows)


def _file_flaws(file: _File, dataset: str) -> Iterator[Flaw]:
    said = file.metadata.get("fluxforge.rows")
    if said != str(file.rows.height):
        yield Flaw(file.key, f"it says {said} rows and has {file.rows.height}")
    of = file.metadata.get("fluxforge.dataset")
    if of != dataset:
        yield Flaw(file.key, f"it is of dataset {of!r}, expected {dataset!r}")
    order = [name for name in ROW_ORDER if name in file.rows.columns]
    ordered = file.rows.select(order).with_columns(pl.col(pl.Categorical).cast(pl.String))
    if not ordered.equals(ordered.sort(order)):
        yield Flaw(file.key, f"its rows are not in the order of {', '.join(order)}")
    yield from _misplaced(file)


def _misplaced(file: _File) -> Iterator[Flaw]:
    """Yield what stands in a partition that its rows are not of."""
    values = dict(name.split("=", 1) for name in file.key.split("/") if "=" in name)
    for column in ("exchange", "symbol"):
        if column in values:
            wanted = decode_component(values[column])
            strangers = file.rows.filter(pl.col(column).cast(pl.String) != wanted).height
            if strangers:
                yield Flaw(file.key, f"{strangers} rows are not of {column} {wanted}")
    if "date" in values:
        days = file.rows["ts"].dt.date()
        strangers = int((days != date.fromisoformat(decode_component(values["date"]))).sum())
        if strangers:
            yield Flaw(file.key, f"{strangers} rows are not of {values['date']}")


def _partition_flaws(partition: str, dataset: str, files: Sequence[_File]) -> Iterator[Flaw]:
    for file in files[1:]:
        if not file.schema.equals(files[0].schema):
            yield Flaw(file.key, f"its columns are not those of {files[0].key}")
            return
    if not files:
        return
    keys = list(key_columns(dataset))
    rows = pl.concat([file.rows.select(pl.col(keys).cast(pl.String, strict=False)) for file in files])
    if "boot" in keys:
        rows = rows.filter(pl.col("boot") != FILE_BOOT)
    repeated = rows.height - rows.n_unique() if rows.height else 0
    if repeated:
        yield Flaw(partition, f"{repeated} rows have the key {', '.join(keys)} of another")


def _commit_flaws(store: Store, commits: Store, layout: Layout, file: _File) -> Iterator[Flaw]:
    segment = file.metadata.get("fluxforge.segment", "")
    try:
        lane = Lane.parse(file.metadata.get("fluxforge.lane", ""))
    except NameRefusedError:
        yield Flaw(file.key, "it names no lane: not written by FluxForge")
        return
    found = [commit for one in (layout, layout.recomputation()) for commit in _commits(commits, one, lane, segment)]
    parts = [part for commit in found for part in commit.parts if part.final_key == file.key]
    if not parts:
        yield Flaw(file.key, f"no commit of {lane} {segment} lists it")
    elif all(part.size_bytes != store.size(file.key) or part.rows != file.rows.height for part in parts):
        yield Flaw(file.key, f"{parts[-1].rows} rows in {parts[-1].size_bytes} bytes were committed")


def _commits(store: Store, layout: Layout, lane: Lane, segment: str) -> Iterator[CommitRecord]:
    for attempt in range(1, _ATTEMPTS_MAX):
        key = layout.commit_key(lane, segment, attempt)
        try:
            yield CommitRecord.from_json(store.read(key), what=key)
        except ObjectNotFoundError:
            return
