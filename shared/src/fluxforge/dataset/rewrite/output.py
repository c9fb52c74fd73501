"""Outputs: written, brought to disk, and read again to see that they hold exactly the rows they should."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.dataset.rewrite.merge import Sorted, merged
from fluxforge.dataset.rewrite.tally import Tally
from fluxforge.domain.errors import DurabilityError, PermanentError, StoreUnavailableError
from fluxforge.domain.journal import File
from fluxforge.runtime.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, coded_columns, open_writer

Change = Callable[[pa.Table], pa.Table]
"""What becomes of rows on their way, which stay in their order: what goes in stands in one piece and in its order."""


class RowsDifferError(PermanentError):
    """Rows that are not those that were read; nothing was changed."""

    def __init__(self, partition: str, what: str) -> None:
        super().__init__(f"partition {partition!r}: {what}; nothing was changed, and every file stays as it is")
        self.partition = partition


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be written, and how. `schema`: its columns as readers see them, whatever texts come in as.

    `metadata`: of the file, beside how many rows it has.
    """

    partition: str
    path: Path
    keys: Sequence[str]
    compression: str
    metadata: Mapping[str, str]
    schema: pa.Schema


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
        with ThreadPoolExecutor(1, thread_name_prefix="sync") as thread:
            standing = thread.submit(durable, path, kept.rows)
            written = _count(path)
        if not written.agrees(kept):
            raise RowsDifferError(output.partition, f"{kept.rows} rows were to be written, {written.rows} were")
        return standing.result()
    except OSError as error:
        raise StoreUnavailableError("write", str(path), error.strerror or str(error)) from error


def _write(files: Iterable[Sorted], output: Output, change: Change | None) -> tuple[Tally, Tally]:
    """Return what was read and what was to be written, the same where nothing changes."""
    kept = Tally(output.keys)
    read = kept if change is None else Tally()
    beside = Beside()
    waiting = Waiting(output.path, output.compression, beside, stored=output.schema)
    try:
        for table in _gathered(merged(files)):
            changed = table if change is None else change(table)
            if change is not None:
                read.rows += table.num_rows
            if changed.num_rows:
                kept.add(changed)
                waiting.append(changed)
        waiting.finish({**output.metadata, "fluxforge.rows": str(kept.rows)})
    finally:
        beside.close()
        waiting.close()
    return read, kept


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables of a row group's worth each: with threads beside it, every call for a small one waits its turn."""
    held: list[pa.Table] = []
    rows = size_bytes = 0
    for table in tables:
        held.append(table)
        rows, size_bytes = rows + table.num_rows, size_bytes + table.nbytes
        if rows >= ROW_GROUP_ROWS or size_bytes >= ROW_GROUP_BYTES:
            yield pa.concat_tables(held).unify_dictionaries()
            held, rows, size_bytes = [], 0, 0
    if held:
        yield pa.concat_tables(held).unify_dictionaries()


class Beside:
    """A thread that writes beside what is read next: one thing at a time, so that no more than that waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="merge")
        self._writing: Future[None] | None = None

    def begin(self, write: Callable[[], None]) -> None:
        """Hand it what is to be done, once it has done what it had."""
        self.settle()
        self._writing = self._thread.submit(write)

    def settle(self) -> None:
        """Wait until it has done what it had; raise what that raised."""
        if self._writing is not None:
            self._writing.result()

    def close(self) -> None:
        """Wait until it has done what it had, and end it."""
        self._thread.shutdown()


class Waiting:
    """A file on its way: rows wait for a row group's worth, which a thread then writes beside what is read next.

    `size_bytes` wait, and `written_bytes` are in the file, which is made with the first of them. `stored`: its columns
    as readers see them, where they are not those of the rows.
    """

    def __init__(
        self,
        path: Path,
        compression: str,
        beside: Beside,
        *,
        group_bytes: int = ROW_GROUP_BYTES,
        stored: pa.Schema | None = None,
    ) -> None:
        self._path = path
        self._compression = compression
        self._beside = beside
        self._group_bytes = group_bytes
        self._stored = stored
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self.size_bytes = self.written_bytes = 0

    def append(self, table: pa.Table) -> None:
        """Add rows that follow those before."""
        self._waiting.append(table)
        self._rows += table.num_rows
        self.size_bytes += table.nbytes
        if self._rows >= ROW_GROUP_ROWS or self.size_bytes >= self._group_bytes:
            self.flush()

    def flush(self) -> None:
        """Hand what waits to the thread, once it has written what it had."""
        self._beside.settle()
        if self._waiting:
            tables, self._waiting, self._rows, self.size_bytes = self._waiting, [], 0, 0
            self._beside.begin(partial(self._write, tables))

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write what waits, and what is said of the whole."""
        self.flush()
        self._beside.settle()
        if self._writer is not None:
            self._writer.add_key_value_metadata(metadata)

    def close(self) -> None:
        """Close the file, whatever of it was written."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, tables: list[pa.Table]) -> None:
        table = pa.concat_tables(tables).unify_dictionaries().replace_schema_metadata(None)
        if self._writer is None:
            self._writer = open_writer(str(self._path), table.schema, self._compression, stored=self._stored)
        self._writer.write_table(table, row_group_size=2 * ROW_GROUP_ROWS)  # no small rest in a group of its own
        self.written_bytes = self._path.stat().st_size


def _count(path: Path) -> Tally:
    """Read a file again, in two threads."""
    with pq.ParquetFile(path) as file:
        groups, texts = range(file.metadata.num_row_groups), coded_columns(file.schema_arrow)
    with ThreadPoolExecutor(2, thread_name_prefix="check") as threads:
        one, other = threads.map(partial(_count_groups, path, texts), (groups[::2], groups[1::2]))
    return Tally(rows=one.rows + other.rows, total=(one.total + other.total) % 2**64)


def _count_groups(path: Path, texts: Sequence[str], groups: Iterable[int]) -> Tally:
    tally = Tally()
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for group in groups:
            tally.add(file.read_row_group(group, use_threads=False))
    return tally


def durable(path: Path, rows: int) -> File:
    """Bring a finished file to disk, and return what it is.

    Raises:
        DurabilityError: The fsync failed.
    """
    size_bytes = _sync(path)
    with path.open("rb") as file:
        return File(path.name, rows, size_bytes, hashlib.file_digest(file, "sha256").hexdigest())


def _sync(path: Path) -> int:
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            raise DurabilityError(f"fsync of {str(path)!r} failed: {error.strerror}") from error
        return os.fstat(file.fileno()).st_size
