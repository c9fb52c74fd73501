"""Stats: what the footers of a dataset's files say, and for how much of that time its feeds were captured whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.dataset.holes import ANY, joined, told_of
from fluxforge.domain.errors import FileUnreadableError
from fluxforge.ports.store import Store
from fluxforge.runtime.stored_file import StoredFile

_US: Final = 1_000
_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stat:
    """One dataset of one source. Times are `ts` of its rows; None where it has none.

    `holes`: stretches between the first row and the last in which one of its feeds was not captured whole; None where
    `coverage` knows no feed. `covered`: the share of that time without them, over all feeds.
    """

    source: str
    dataset: str
    partitions: int
    files: int
    rows: int
    size_bytes: int
    first: datetime | None
    last: datetime | None
    holes: int | None = None
    hole_seconds: float | None = None
    covered: float | None = None


def stat_of(store: Store, source: str, dataset: str, keys: Sequence[str], coverage: pl.LazyFrame | None) -> Stat:
    """Return what is known of files. `coverage`: the rows of that dataset that may speak of their feeds.

    Raises:
        FileUnreadableError: One is damaged.
    """
    rows = size_bytes = 0
    times: list[int] = []
    for key in keys:
        try:
            metadata = pq.read_metadata(pa.PythonFile(StoredFile(store, key), mode="r"))
        except (pa.ArrowException, OSError) as error:
            raise FileUnreadableError(key, str(error).splitlines()[0]) from error
        rows += metadata.num_rows
        size_bytes += store.size(key) or 0
        times += _times(metadata)
    first, last = (_utc(find(times)) if times else None for find in (min, max))
    holes = hole_seconds = covered = None
    if times and coverage is not None:
        feeds = list(_feeds(coverage, dataset.partition("/")[0], min(times) * _US, max(times) * _US))
        if feeds:
            holes = sum(len(those) for _, those in feeds)
            gone_ns = sum(to_ns - from_ns for _, those in feeds for from_ns, to_ns in those)
            whole_ns = sum(known_ns for known_ns, _ in feeds)
            hole_seconds, covered = gone_ns / _S, 1 - gone_ns / whole_ns
    partitions = len({key.rpartition("/")[0] for key in keys})
    return Stat(source, dataset, partitions, len(keys), rows, size_bytes, first, last, holes, hole_seconds, covered)


def _feeds(
    coverage: pl.LazyFrame, channel: str, first_ns: int, last_ns: int
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield for each feed of a channel how long it is known between two times, and when it was not whole.

    A feed is known from the first that is said of it on; what is said of a whole lane is said of every feed.
    """
    of_one = coverage.filter(pl.col("channel").is_in([channel, ANY])).with_columns(source=pl.lit(""))
    for told in told_of(of_one).values():
        since_ns = max(first_ns, told.since_ns)
        if since_ns < last_ns:
            yield last_ns - since_ns, joined(told.holes(), since_ns, last_ns)


def _times(metadata: pq.FileMetaData) -> list[int]:
    """Return the first and last `ts` of every row group, us UTC."""
    found = []
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        for column in (columns.column(n) for n in range(columns.num_columns)):
            if column.path_in_schema == "ts" and column.statistics is not None and column.statistics.has_min_max:
                found += [int(column.statistics.min_raw), int(column.statistics.max_raw)]
    return found


def _utc(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, tz=UTC)
