"""The merge: sorted files into one sorted stream, slice by slice, so that memory does not grow with their size.

A slice holds every row before the earliest time that some file may still bring. Files that follow one another in time
pass through as they are; where they overlap their rows are sorted. Nothing is dropped, added or changed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxforge.domain.errors import FileUnreadableError
from fluxforge.runtime.parquet import ROW_ORDER

_I64 = npt.NDArray[np.int64]
_TIME: Final = "ts"


@dataclass(frozen=True, slots=True)
class Sorted:
    """A file to merge, in the order of the datasets. `first_us`: its first `ts`, us UTC; it is opened when due."""

    key: str
    first_us: int
    open: Callable[[], pq.ParquetFile]


def merged(files: Iterable[Sorted]) -> Iterator[pa.Table]:
    """Yield the rows of all files in the order of the datasets; all have the same columns.

    Raises:
        FileUnreadableError: One is damaged.
    """
    at_hand: list[_Source] = []
    with _Due(files) as due:
        while due.first_us is not None or at_hand:
            if not at_hand:
                at_hand.append(due.pop())
            bound = _bound(due, at_hand)
            pieces = [piece for source in at_hand if (piece := source.take_before(bound)).num_rows]
            if pieces:
                yield in_order(pa.concat_tables(pieces).unify_dictionaries()) if len(pieces) > 1 else pieces[0]
            elif due.first_us is not None and due.first_us == bound:
                at_hand.append(due.pop())
            else:  # all that is at hand of some file is of one moment, of which more may come
                for source in at_hand:
                    if source.last_us == bound:
                        source.read_on()
            at_hand = [source for source in at_hand if source.fill()]


def _bound(due: "_Due", at_hand: Iterable["_Source"]) -> int | None:
    """Return the time before which nothing is missing any more; None where all is at hand that there is."""
    ends = [source.last_us for source in at_hand if not source.is_exhausted]
    return min(ends if due.first_us is None else [*ends, due.first_us], default=None)


def in_order(table: pa.Table) -> pa.Table:
    """Return the rows in the order of the datasets."""
    order = [name for name in ROW_ORDER if name in table.column_names]
    # Arrow does not sort what is dictionary-encoded.
    indices = pc.sort_indices(decoded(table.select(order)), sort_keys=[(name, "ascending") for name in order])
    return table.take(indices)


def plain(schema: pa.Schema) -> pa.Schema:
    """Return the schema without dictionaries, whose codes differ from file to file."""
    return pa.schema(
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in schema
    )


def decoded(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries, column by column: a cast of all of it would take its time with each."""
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, field.with_type(field.type.value_type), column)
    return table


class _Due:
    """The files that are not open yet, by their first time; a thread opens the next one beside all else."""

    def __init__(self, files: Iterable[Sorted]) -> None:
        self._files = deque(sorted(files, key=lambda file: file.first_us))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._next: Future[_Source] | None = None

    def __enter__(self) -> Self:
        self._open_next()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    @property
    def first_us(self) -> int | None:
        """The first time of the next file; None: there is no other."""
        return self._files[0].first_us if self._files else None

    def pop(self) -> "_Source":
        """Return the next file."""
        assert self._next is not None
        source = self._next.result()
        self._files.popleft()
        self._open_next()
        return source

    def _open_next(self) -> None:
        self._next = self._thread.submit(_Source, self._files[0]) if self._files else None


class _Source:
    """One open file: the rows that were read and not taken yet."""

    __slots__ = ("_file", "_group", "_held", "_key")

    def __init__(self, of: Sorted) -> None:
        self._key = of.key
        self._file = file = of.open()
        self._group = 0
        self._held: pa.Table = file.schema_arrow.empty_table()
        self.fill()

    @property
    def is_exhausted(self) -> bool:
        """Whether everything of the file was read."""
        return self._group >= int(self._file.metadata.num_row_groups)

    @property
    def last_us(self) -> int:
        """The time of the last row at hand."""
        return int(_times(self._held)[-1])

    def fill(self) -> bool:
        """Hold at least one row, unless there is none left; return whether there is. A file at its end is closed."""
        while not self._held.num_rows and not self.is_exhausted:
            self.read_on()
        if not self._held.num_rows:
            self._file.close()
        return bool(self._held.num_rows)

    def read_on(self) -> None:
        """Hold one row group more, if there is one."""
        if not self.is_exhausted:
            try:
                group = self._file.read_row_group(self._group, use_threads=False)  # others work beside
            except (pa.ArrowException, OSError) as error:
                raise FileUnreadableError(self._key, str(error).splitlines()[0]) from error
            self._group += 1
            self._held = pa.concat_tables([self._held, group]) if self._held.num_rows else group

    def take_before(self, time_us: int | None) -> pa.Table:
        """Take the rows before a time; None: all."""
        count = self._held.num_rows if time_us is None else int(np.searchsorted(_times(self._held), time_us))
        taken, self._held = self._held.slice(0, count), self._held.slice(count)
        return taken


def _times(table: pa.Table) -> _I64:
    times: _I64 = table.column(_TIME).cast(pa.int64()).to_numpy()
    return times
