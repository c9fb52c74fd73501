"""Candidates: what stands in a partition, and which of it may be rewritten.

A part may be when all parts of its segment stand in their places for good: until then a worker may still look for it.
Whatever is no part of ours, or cannot be read, stays as it is and is named.
"""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.errors import (
    FileUnreadableError,
    NameRefusedError,
    ObjectNotFoundError,
    PartitionChangedError,
    StoreUnavailableError,
)
from fluxforge.domain.journal import is_output
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import (
    JOURNAL,
    Layout,
    journal_prefix,
    repartitioned_prefix,
    repartitioning_prefix,
)
from fluxforge.ports.store import Store
from fluxforge.runtime.parquet import coded_columns
from fluxforge.runtime.stored_file import StoredFile

SUFFIX: Final = ".parquet"
_META: Final = "fluxforge."
_REPARTITIONED: Final = "fluxforge.repartitioned"
_WHOLE_BYTES_MAX: Final = 16 * 2**20
_OF_PARTS: Final = frozenset({"fluxforge.lane", "fluxforge.segment", "fluxforge.rows", "fluxforge.merged"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be merged: placed for good, or itself merged. Times are `ts` of its rows, us UTC.

    Only files of one `kind` (columns, dataset, versions) may become one.
    """

    name: str
    size_bytes: int
    rows: int
    first_us: int
    last_us: int = 0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """A file that is not rewritten, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer of a file of ours says. `metadata`: ours, without what is of one part alone."""

    rows: int
    first_us: int
    last_us: int
    kind: str
    lane: str | None
    segment: str | None
    metadata: dict[str, str]
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a partition."""

    candidates: tuple[Candidate, ...]
    waiting: tuple[str, ...]
    left: tuple[Left, ...]


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks at the files of partitions. `raw`: the segments' store, which says what is placed."""

    raw: Store
    output: Store
    layout: Layout

    def partitions(self, prefix: str) -> dict[str, int]:
        """Return every partition at or below a key prefix that holds Parquet files, and how many, in order."""
        names = (key.rpartition("/")[0] for key in self.output.keys(prefix) if key.endswith(SUFFIX))
        return dict(sorted(Counter(names).items()))

    def journals(self, prefix: str) -> dict[str, int]:
        """Return every partition at or below a key prefix that has a journal, and how many objects it has, in order."""
        names = (key.removeprefix(f"{JOURNAL}/").rpartition("/")[0] for key in self.output.keys(journal_prefix(prefix)))
        root = prefix.partition("/")[0]
        others = {one(root).removeprefix(f"{JOURNAL}/") for one in (repartitioned_prefix, repartitioning_prefix)}
        return dict(sorted(Counter(name for name in names if name not in others).items()))

    def listed(self, partition: str) -> frozenset[str]:
        """Return the names that stand in a partition."""
        names = (key[len(partition) + 1 :] for key in self.output.keys(partition))
        return frozenset(name for name in names if "/" not in name)

    def look(self, partition: str, names: Collection[str]) -> Found:
        """Return what may be merged of these files of a partition, and what may not."""
        candidates: list[Candidate] = []
        waiting: list[str] = []
        left: list[Left] = []
        for name in sorted(names):
            found = self.footer(partition, name)
            if isinstance(found, Left):
                left.append(found)
            elif is_output(name) or _REPARTITIONED in found.metadata or self._is_placed(found):
                size_bytes = self.output.size(f"{partition}/{name}")
                if size_bytes is not None:
                    candidates.append(
                        Candidate(name, size_bytes, found.rows, found.first_us, found.last_us, found.kind)
                    )
            else:
                waiting.append(name)
        return Found(tuple(candidates), tuple(waiting), tuple(left))

    def footer(self, partition: str, name: str) -> Footer | Left:
        """Return what a file's footer says, or why it is left alone."""
        if not name.endswith(SUFFIX):
            return Left(name, "no Parquet file")
        try:
            with pq.ParquetFile(pa.PythonFile(StoredFile(self.output, f"{partition}/{name}"), mode="r")) as file:
                return _footer(name, file.metadata, file.schema_arrow)
        except ObjectNotFoundError:
            return Left(name, "gone meanwhile")
        except (pa.ArrowException, OSError, StoreUnavailableError) as error:
            return Left(name, f"cannot be read: {str(error).splitlines()[0]}")

    def open(self, partition: str, file: Candidate, *, coded: bool = False) -> pq.ParquetFile:
        """Open a file of a partition: a small one is read at once, of another what is asked for.

        `coded`: texts that repeat come as codes of a dictionary.

        Raises:
            PartitionChangedError: It is gone.
            FileUnreadableError: It is damaged.
        """
        key = f"{partition}/{file.name}"
        try:
            source: pa.NativeFile = (
                pa.BufferReader(self.output.read(key))
                if file.size_bytes <= _WHOLE_BYTES_MAX
                else pa.PythonFile(StoredFile(self.output, key), mode="r")
            )
            opened = pq.ParquetFile(source)
            if not coded:
                return opened
            texts = coded_columns(opened.schema_arrow)
            return pq.ParquetFile(source, metadata=opened.metadata, read_dictionary=texts)
        except ObjectNotFoundError as error:
            raise PartitionChangedError(partition, f"{file.name} is gone") from error
        except (pa.ArrowException, OSError) as error:
            raise FileUnreadableError(key, str(error).splitlines()[0]) from error

    def _is_placed(self, footer: Footer) -> bool:
        if footer.lane is None or footer.segment is None:
            return False
        try:
            lane = Lane.parse(footer.lane)
        except NameRefusedError:
            return False
        again = self.layout.recomputation()  # its parts are placed by marks of their own
        is_again = self.raw.size(again.commit_key(lane, footer.segment)) is not None
        layout = again if is_again else self.layout
        return self.raw.size(layout.placed_key(lane, footer.segment)) is not None


def _footer(name: str, metadata: pq.FileMetaData, schema: pa.Schema) -> Footer | Left:
    ours = {
        key.decode(): value.decode()
        for key, value in (metadata.metadata or {}).items()
        if key.startswith(_META.encode())
    }
    if "fluxforge.dataset" not in ours:
        return Left(name, "not written by FluxForge")
    if not metadata.num_rows:
        return Left(name, "it has no rows")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    column = schema.get_field_index("ts")
    if column < 0 or not all(_has_times(group, column) for group in groups):
        return Left(name, "its footer does not say which times it holds")
    times = [_times(group, column) for group in groups]
    shared = {key: value for key, value in sorted(ours.items()) if key not in _OF_PARTS}
    return Footer(
        rows=metadata.num_rows,
        first_us=min(first for first, _ in times),
        last_us=max(last for _, last in times),
        kind=hashlib.sha256(f"{shared}\n{schema.remove_metadata()}".encode()).hexdigest(),
        lane=ours.get("fluxforge.lane"),
        segment=ours.get("fluxforge.segment"),
        metadata=shared,
        schema=schema.remove_metadata(),
    )


def _has_times(group: pq.RowGroupMetaData, column: int) -> bool:
    statistics = group.column(column).statistics
    return statistics is not None and bool(statistics.has_min_max)


def _times(group: pq.RowGroupMetaData, column: int) -> tuple[int, int]:
    """Return the first and the last `ts` of a row group, us UTC."""
    statistics = group.column(column).statistics
    return int(statistics.min_raw), int(statistics.max_raw)
