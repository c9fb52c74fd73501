"""Outputs: written, brought to disk, and read again to see that they hold exactly the rows they should."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.dataset.rewrite.merge import Sorted, merged
from fluxforge.dataset.rewrite.tally import Tally
from fluxforge.domain.errors import DurabilityError, PermanentError, StoreUnavailableError
from fluxforge.domain.journal import File
from fluxforge.runtime.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, open_writer

Change = Callable[[pa.Table], pa.Table]
"""What becomes of rows on their way, which stay in their order: what goes in stands in one piece and in its order."""


class RowsDifferError(PermanentError):
    """Rows that are not those that were read; nothing was changed."""

    def __init__(self, partition: str, what: str) -> None:
        super().__init__(f"partition {partition!r}: {what}; nothing was changed, and every file stays as it is")
        self.partition = partition


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be written, and how. `metadata`: of the file, beside how many rows it has."""

    partition: str
    path: Path
    keys: Sequence[str]
    compression: str
    metadata: Mapping[str, str]


def write_output(files: Iterable[Sorted], output: Output, *, rows: int, change: Change | None = None) -> File | None:
    """Merge files into a new one, fsynced, and return what it is; None: no row was left, and nothing written.

    `rows`: how many the files have by their footers.

    Raises:
        RowsDifferError: A key stands twice, or what was read or written is not what it should be.
        StoreUnavailableError: The disk refused.
        DurabilityError: The fsync failed.
    """
    path = output.path
    try:
        read, kept = _write(files, output, change)
        if read.rows != rows:
            raise RowsDifferError(output.partition, f"its files say {rows} rows, {read.rows} were read")
        if kept.repeated:
            keys = ", ".join(output.keys)
            raise RowsDifferError(output.partition, f"{kept.repeated} rows have the key {keys} of another")
        if not path.exists():
            return None
        written = _count(path)
        if not written.agrees(kept):
            raise RowsDifferError(output.partition, f"{kept.rows} rows were to be written, {written.rows} were")
        size_bytes = _sync(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreUnavailableError("write", str(path), error.strerror or str(error)) from error
    return File(path.name, written.rows, size_bytes, sha256)


def _write(files: Iterable[Sorted], output: Output, change: Change | None) -> tuple[Tally, Tally]:
    """Return what was read and what was to be written, the same where nothing changes."""
    kept = Tally(output.keys)
    read = kept if change is None else Tally()
    waiting = _Waiting(output.path, output.compression)
    try:
        for table in merged(files):
            changed = table if change is None else change(table)
            if change is not None:
                read.rows += table.num_rows
            if changed.num_rows:
                kept.add(changed)
                waiting.append(changed)
        waiting.finish({**output.metadata, "fluxforge.rows": str(kept.rows)})
    finally:
        waiting.close()
    return read, kept


class _Waiting:
    """A file on its way: rows wait for a row group's worth, which a thread then writes beside what is read next."""

    def __init__(self, path: Path, compression: str) -> None:
        self._path = path
        self._compression = compression
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = self._size_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="merge")
        self._writing: Future[None] | None = None

    def append(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        self._size_bytes += table.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._size_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def finish(self, metadata: Mapping[str, str]) -> None:
        self._flush()
        self._settle()
        if self._writer is not None:
            self._writer.add_key_value_metadata(metadata)

    def close(self) -> None:
        """Close the file, whatever of it was written."""
        self._thread.shutdown()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        """Hand what waits to the thread, once it has written what it had."""
        self._settle()
        if self._waiting:
            tables, self._waiting, self._rows, self._size_bytes = self._waiting, [], 0, 0
            self._writing = self._thread.submit(self._write, tables)

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write(self, tables: list[pa.Table]) -> None:
        table = pa.concat_tables(tables).unify_dictionaries().replace_schema_metadata(None)
        if self._writer is None:
            self._writer = open_writer(str(self._path), table.schema, self._compression)
        self._writer.write_table(table, row_group_size=2 * ROW_GROUP_ROWS)  # no small rest in a group of its own


def _count(path: Path) -> Tally:
    tally = Tally()
    with pq.ParquetFile(path) as file:
        for group in range(file.metadata.num_row_groups):
            tally.add(file.read_row_group(group))
    return tally


def _sync(path: Path) -> int:
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            raise DurabilityError(f"fsync of {str(path)!r} failed: {error.strerror}") from error
        return os.fstat(file.fileno()).st_size
