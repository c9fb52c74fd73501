"""The merge: sorted files into one sorted stream, slice by slice, so that memory does not grow with their size.

A slice holds every row before the earliest time that some file may still bring. Files that follow one another in time
pass through as they are; where they overlap their rows are sorted. Nothing is dropped, added or changed.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

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
    due = deque(sorted(files, key=lambda file: file.first_us))
    at_hand: list[_Source] = []
    while due or at_hand:
        if not at_hand:
            at_hand.append(_Source(due.popleft()))
        bound = _bound(due, at_hand)
        pieces = [piece for source in at_hand if (piece := source.take_before(bound)).num_rows]
        if pieces:
            yield in_order(pa.concat_tables(pieces).unify_dictionaries()) if len(pieces) > 1 else pieces[0]
        elif due and due[0].first_us == bound:
            at_hand.append(_Source(due.popleft()))
        else:  # all that is at hand of some file is of one moment, of which more may come
            for source in at_hand:
                if source.last_us == bound:
                    source.read_on()
        at_hand = [source for source in at_hand if source.fill()]


def _bound(due: Iterable[Sorted], at_hand: Iterable["_Source"]) -> int | None:
    """Return the time before which nothing is missing any more; None where all is at hand that there is."""
    ends = [source.last_us for source in at_hand if not source.is_exhausted]
    return min([*ends, *(file.first_us for file in itertools.islice(due, 1))], default=None)


def in_order(table: pa.Table) -> pa.Table:
    """Return the rows in the order of the datasets."""
    order = [name for name in ROW_ORDER if name in table.column_names]
    keys = table.select(order)
    # Arrow does not sort what is dictionary-encoded.
    indices = pc.sort_indices(keys.cast(plain(keys.schema)), sort_keys=[(name, "ascending") for name in order])
    return table.take(indices)


def plain(schema: pa.Schema) -> pa.Schema:
    """Return the schema without dictionaries, whose codes differ from file to file."""
    return pa.schema(
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in schema
    )


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
                group = self._file.read_row_group(self._group)
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
