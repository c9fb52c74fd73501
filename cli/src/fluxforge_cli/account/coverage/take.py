"""What tells the coverage of feeds: the rows of `coverage`, and of all others their times, lags and resent trades."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import Final

import polars as pl

from fluxforge.dataset import Datasets, Selection
from fluxforge.dataset.holes import ANY, FeedName, Told, told_of
from fluxforge.domain.errors import FileUnreadableError, UsageError
from fluxforge.domain.instrument import symbol_id
from fluxforge.domain.partition import Dataset
from fluxforge_cli.account.coverage.feeds import FeedCoverage, Seen, accounts
from fluxforge_collector.continuity.capability import is_verified

_NS_PER_MS: Final = 1_000_000
_FINE_MS: Final = 10_000
_COARSE_MS: Final = 1_000
_NAMES_MAX: Final = 12
_BEHIND: Final = timedelta(minutes=1)
_DERIVED: Final = frozenset({Dataset.COVERAGE, Dataset.BARS})


@dataclass(frozen=True, slots=True)
class Asked:
    """Which feeds, and which time; empty or None: all of them. `symbols` are ids."""

    sources: Sequence[str] = ()
    exchanges: Sequence[str] = ()
    symbols: Sequence[str] = ()
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def of(
        cls,
        source: Sequence[str],
        exchange: Sequence[str],
        symbol: Sequence[str],
        *,
        day: str | None,
        start: str | None,
        end: str | None,
    ) -> "Asked":
        """Return what a person says.

        Raises:
            UsageError: A time that is none, or a day and a time at once.
        """
        bounds: tuple[str | date | None, str | date | None] = start, end
        if day is not None:
            if start is not None or end is not None:
                raise UsageError("coverage: expected --date, or --start and --end, were both")
            bounds = _day(day)
        time = Selection.of(start=bounds[0], end=bounds[1])
        return cls(tuple(source), tuple(exchange), tuple(map(symbol_id, symbol)), time.start, time.end)

    @property
    def read_until(self) -> datetime | None:
        """Until when rows are read: what a lane captured just behind the end says that it lived until then."""
        if self.end is None or self.end > datetime.max.replace(tzinfo=UTC) - _BEHIND:
            return self.end
        return self.end + _BEHIND

    @property
    def bounds_ns(self) -> tuple[int | None, int | None]:
        """Begin and end of the time, ns UTC."""
        return _ns(self.start), _ns(self.end)


def take(datasets: Datasets, asked: Asked) -> list[FeedCoverage]:
    """Return the coverage of the feeds that are asked for.

    All feeds of an exchange are read, also where one symbol is wanted: each of them may tell until when a lane lived.

    Raises:
        UsageError: A name that nothing was captured of, or nothing was captured in that time.
        FileUnreadableError: A file is damaged.
    """
    there = datasets.ls()
    _check("source", asked.sources, {source for source, _ in there})
    there = [(source, name) for source, name in there if not asked.sources or source in asked.sources]
    told: dict[FeedName, Told] = {}
    rows: dict[FeedName, dict[str, Seen]] = {}
    for source, name in there:
        with _naming(source, name):
            if name == Dataset.COVERAGE:
                # All of it: the next start may end a hole behind the time that is asked for.
                told |= told_of(datasets.scan(name, source=source, exchange=asked.exchanges))
            elif _is_read(source, name, there):
                for feed, boot, seen in _seen(datasets, source, name, asked):
                    rows.setdefault(feed, {})[boot] = seen
    start_ns, end_ns = asked.bounds_ns
    found = [
        one
        for one in accounts(told, rows, is_verified, start_ns=start_ns, end_ns=end_ns)
        # What is of all markets at once, the wire, is how feeds came; of the lane it tells that it lived.
        if one.feed.symbol != ANY and (not asked.symbols or one.feed.symbol in asked.symbols)
    ]
    if not found or not _are_all_in(asked, found):
        _check_names(datasets, there, asked)
    if not found:
        raise UsageError(f"coverage: nothing was captured{_words(asked)}")
    return found


@contextmanager
def _naming(source: str, name: str) -> Iterator[None]:
    """Name the dataset of which a file cannot be read."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        what = str(error).partition("\n")[0]
        raise FileUnreadableError(
            f"{source}/{name}",
            f"{what}; `fluxforge dataset verify {name}` names the file, unless a merge just replaced it",
        ) from error


def _is_read(source: str, name: str, there: Collection[tuple[str, str]]) -> bool:
    """Return whether the rows of a dataset are records: books are, and feature rows where there are no books."""
    return name not in _DERIVED and not (name == Dataset.HF and (source, Dataset.BOOKS.value) in there)


def _seen(datasets: Datasets, source: str, name: str, asked: Asked) -> Iterator[tuple[FeedName, str, Seen]]:
    """Yield what is seen of each feed and boot in a dataset; memory grows with feeds and lags, not with rows."""
    rows = datasets.scan(
        name, source=source, exchange=asked.exchanges, start=asked.start, end=asked.read_until, resent=True
    )
    known = rows.collect_schema().names()
    is_resent = pl.col("resent").fill_null(value=False) if "resent" in known else pl.lit(value=False)
    is_late = pl.col("source_kind").eq_missing("backfill") if "source_kind" in known else pl.lit(value=False)
    is_inside = pl.lit(value=True) if asked.end is None else pl.col("ts") < asked.end
    lag = pl.col("capture_ns") // _NS_PER_MS - pl.col("exchange_ms")
    # Beyond what a clock or a network does, whole seconds will do.
    lag = pl.when(lag.abs() < _FINE_MS).then(lag).otherwise(lag // _COARSE_MS * _COARSE_MS)
    found = (
        rows.select(
            pl.col("exchange", "symbol").cast(pl.String),
            "boot",
            "capture_ns",
            inside=is_inside,
            resent=is_inside & is_resent,
            lag=pl.when(is_inside & ~is_resent & ~is_late).then(lag),
        )
        .group_by("exchange", "symbol", "boot", "lag")
        .agg(
            pl.col("inside").sum(),
            pl.col("capture_ns").min().alias("first"),
            pl.col("capture_ns").max().alias("last"),
            pl.col("resent").sum(),
        )
        .collect(engine="streaming")
    )
    channel = name.partition("/")[0]
    for (exchange, symbol, boot), of_boot in found.group_by("exchange", "symbol", "boot"):
        lags = of_boot.drop_nulls("lag")
        yield (
            FeedName(source, str(exchange), channel, str(symbol)),
            str(boot),
            Seen(
                rows=int(of_boot["inside"].sum()),
                first_ns=min(of_boot["first"].to_list()),
                last_ns=max(of_boot["last"].to_list()),
                resent=int(of_boot["resent"].sum()),
                lags_ms=dict(zip(lags["lag"].to_list(), lags["inside"].to_list(), strict=True)),
            ),
        )


def _are_all_in(asked: Asked, found: Sequence[FeedCoverage]) -> bool:
    names = {one.feed.exchange for one in found} | {one.feed.symbol for one in found}
    return names.issuperset((*asked.exchanges, *asked.symbols))


def _check_names(datasets: Datasets, there: Collection[tuple[str, str]], asked: Asked) -> None:
    """Raise where a name is of nothing that was ever captured."""
    exchanges: set[str] = set()
    symbols: set[str] = set()
    for source, name in there:
        with _naming(source, name):
            rows = datasets.scan(name, source=source).select(pl.col("exchange", "symbol").cast(pl.String)).unique()
            names = rows.collect(engine="streaming")
        exchanges |= set(names["exchange"].to_list())
        symbols |= set(names["symbol"].to_list())
    _check("exchange", asked.exchanges, exchanges)
    _check("symbol", asked.symbols, symbols - {ANY})


def _check(what: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            those = ", ".join(sorted(known)[:_NAMES_MAX]) or "nothing"
            rest = f"did you mean {near[0]!r}?" if near else f"there is {those}"
            raise UsageError(f"{what} {name!r}: nothing was captured of it; {rest}")


def _words(asked: Asked) -> str:
    names = [*asked.sources, *asked.exchanges, *asked.symbols]
    of_what = f" of {', '.join(names)}" if names else ""
    since = f" from {asked.start.isoformat()}" if asked.start else ""
    until = f" until {asked.end.isoformat()}" if asked.end else ""
    return f"{of_what}{since}{until}"


def _day(day: str) -> tuple[date, date]:
    try:
        begin = date.fromisoformat(day)
    except ValueError as error:
        raise UsageError(f"date: expected a day such as 2026-11-22, was {day!r}") from error
    if begin == date.max:
        raise UsageError(f"date: expected a day such as 2026-11-22, was {day!r}")
    return begin, begin + timedelta(days=1)


def _ns(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since // timedelta(microseconds=1)) * 1_000
