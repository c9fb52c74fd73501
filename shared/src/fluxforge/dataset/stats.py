"""Stats: what the footers of a dataset's files say, and for how much of that time its feeds were captured whole."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.control import SOUND_EVENTS, UNSOUND_EVENTS
from fluxforge.domain.errors import FileUnreadableError
from fluxforge.ports.store import Store
from fluxforge.runtime.stored_file import StoredFile

ANY: Final = "*"
"""Channel and symbol of what `coverage` says of a whole lane."""

_US: Final = 1_000
_S: Final = 1_000_000_000
# As the ETL names what no control record tells.
_HOLES: Final = frozenset({*(event.value for event in UNSOUND_EVENTS), "crash", "lost"})
_SOUND: Final = frozenset(event.value for event in SOUND_EVENTS)


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
    told = _told(coverage, channel)
    own = told.filter(pl.col("symbol") != ANY)
    for (exchange, _), rows in own.group_by("exchange", "symbol", maintain_order=True):
        since_ns = max(first_ns, int(rows.select(pl.col("from_ns").min()).item()))
        if since_ns >= last_ns:
            continue
        of_lane = told.filter(pl.col("exchange") == exchange, pl.col("symbol") == ANY)
        sound = rows.filter(pl.col("event").is_in(_SOUND)).select(pl.col("to_ns").fill_null(pl.col("from_ns")).sort())
        spoken = pl.concat([rows, of_lane])
        yield last_ns - since_ns, _joined(_holes(spoken, sound.to_series().to_list()), since_ns, last_ns)


def _told(coverage: pl.LazyFrame, channel: str) -> pl.DataFrame:
    return (
        coverage.with_columns(pl.col("exchange", "symbol").cast(pl.String))
        .filter(pl.col("channel").is_in([channel, ANY]), pl.col("event").is_in(_HOLES | _SOUND))
        .with_columns(hole=pl.coalesce("hole", pl.format("{} {} {}", "boot", "event", "seq")))
        .select("exchange", "symbol", "hole", "event", "from_ns", "to_ns")
        .sort("exchange", "symbol", "from_ns")
        .collect()
    )


def _holes(rows: pl.DataFrame, sound: Sequence[int]) -> Iterator[tuple[int, int | None]]:
    """Yield begin and end of each hole; one that nobody closed ends when the feed is next sound, or not at all."""
    holes = rows.group_by("symbol", "hole").agg(
        pl.col("from_ns").min(), pl.col("to_ns").max(), is_hole=pl.col("event").is_in(_HOLES).any()
    )
    for from_ns, to_ns in holes.filter("is_hole").select("from_ns", "to_ns").iter_rows():
        yield from_ns, to_ns if to_ns is not None else next((at for at in sound if at > from_ns), None)


def _joined(holes: Iterable[tuple[int, int | None]], first_ns: int, last_ns: int) -> list[tuple[int, int]]:
    """Return the holes between two times, those that touch as one."""
    found: list[tuple[int, int]] = []
    for from_ns, to_ns in sorted(
        (max(begin, first_ns), last_ns if end is None else min(end, last_ns)) for begin, end in holes
    ):
        if from_ns >= to_ns:
            continue
        if found and from_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], to_ns))
        else:
            found.append((from_ns, to_ns))
    return found


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
