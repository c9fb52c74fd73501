"""The output of a merge: written, brought to disk, and read again to see that it holds exactly the rows it should."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.errors import DurabilityError, PermanentError, StoreUnavailableError
from fluxforge.domain.journal import File
from fluxforge.runtime.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, open_writer
from fluxforge_compactor.merge import Sorted, merged
from fluxforge_compactor.tally import Tally

SOFTWARE: Final = f"fluxforge-compactor {version('fluxforge-compactor')}"


class RowsDifferError(PermanentError):
    """A merge whose rows are not those of its parents, or of which a key stands twice; nothing was changed."""

    def __init__(self, partition: str, what: str) -> None:
        super().__init__(f"partition {partition!r}: {what}; nothing was merged, and every file stays as it is")
        self.partition = partition


def write_output(
    files: Iterable[Sorted],
    path: Path,
    *,
    partition: str,
    rows: int,
    keys: Sequence[str],
    compression: str,
    metadata: Mapping[str, str],
) -> File:
    """Merge files into a new one at `path`, fsynced, and return what it is.

    `rows`: how many the files have by their footers.

    Raises:
        RowsDifferError: A key stands twice, or what was written is not what was read.
        StoreUnavailableError: The disk refused.
        DurabilityError: The fsync failed.
    """
    try:
        read = _write(
            files, path, keys=keys, compression=compression, metadata={**metadata, "fluxforge.rows": str(rows)}
        )
        if read.repeated:
            raise RowsDifferError(partition, f"{read.repeated} rows have the key {', '.join(keys)} of another")
        written = _count(path)
        if written.rows != rows or not written.agrees(read):
            raise RowsDifferError(partition, f"expected {rows} rows, {read.rows} were read and {written.rows} written")
        size_bytes = _sync(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreUnavailableError("merge", str(path), error.strerror or str(error)) from error
    return File(path.name, rows, size_bytes, sha256)


def _write(
    files: Iterable[Sorted], path: Path, *, keys: Sequence[str], compression: str, metadata: Mapping[str, str]
) -> Tally:
    tally, output = Tally(keys), _Output(path, compression)
    try:
        for table in merged(files):
            tally.add(table)
            output.append(table)
        output.finish(metadata)
    finally:
        output.close()
    return tally


class _Output:
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
