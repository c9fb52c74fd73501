"""One hour of an exchange: what both legs hold of it, merged, and its features and bars made anew.

An hour is what was captured after its begin and up to its end. What reaches into it is read again from the legs, so
that hours can be merged in any order. Memory follows one symbol: what both legs hold of its hour.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fluxforge.domain.control import FeedKey
from fluxforge.domain.lane import Leg
from fluxforge.domain.partition import Dataset
from fluxforge.domain.segment import Manifest
from fluxforge_etl_worker.columns import I64, Bools, ControlRow, SliceColumns
from fluxforge_etl_worker.coverage import CoverageRow, coverage_table
from fluxforge_etl_worker.history import History, PastTrades
from fluxforge_etl_worker.legs.arrivals import FeedLeads, leads, matched
from fluxforge_etl_worker.legs.leg_files import LegFiles
from fluxforge_etl_worker.legs.rows import RANKS, arrivals, book_columns, joined, trade_columns
from fluxforge_etl_worker.legs.states import Timeline, controls, hole_rows, leg_timeline, merged_timeline
from fluxforge_etl_worker.parts import PartFile, PartWriter, in_order
from fluxforge_etl_worker.pipeline import part_writer
from fluxforge_etl_worker.resent import SeenTrades
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.stretch import LaneWork, Settled, Stretch, grown
from fluxforge_etl_worker.tables import flags, int64s, numbers

HOUR_NS: Final = 3_600_000_000_000
_STRETCH_NS: Final = 300_000_000_000
_NS_PER_MS: Final = 1_000_000
_BOOKS: Final = "orderbook"
_TRADES: Final = "trades"
_SOUGHT_NS: Final = 86_400_000_000_000
"""So far before an hour it is asked whether a trade that came late in it had come before."""
_CLOCKS_NS: Final = 60_000_000_000
"""So far a venue's clock may be from ours."""
_LEGS: Final = (Leg.A, Leg.B)


@dataclass(frozen=True, slots=True)
class HourOfLegs:
    """What is known of an hour before its rows are read. `manifest` names it; times ns UTC.

    `first_ns`: where the first hour of all begins; `feeds`: all that either leg captured; `coverage`: every row of each
    leg; `traded`: symbols whose trades feed had shown itself before anything that is read.
    """

    manifest: Manifest
    first_ns: int
    after_ns: int
    until_ns: int
    feeds: frozenset[FeedKey]
    coverage: tuple[Sequence[CoverageRow], Sequence[CoverageRow]]
    traded: frozenset[str]


@dataclass(frozen=True, slots=True)
class MergedHour:
    """What an hour became, and how the legs did."""

    parts: tuple[PartFile, ...]
    feeds: tuple[FeedLeads, ...]


@dataclass(frozen=True, slots=True)
class _Won:
    """The rows that are kept of one feed, those before the hour among them. `in_hour`: the others."""

    table: pa.Table
    captured: I64
    in_hour: Bools
    overtaken: Bools


def merge_hour(hour: HourOfLegs, options: EtlOptions, files: LegFiles) -> MergedHour:
    """Return the parts of an hour."""
    work = _HourWork(hour, options, files)
    by_symbol: defaultdict[str, list[FeedKey]] = defaultdict(list)
    for feed in sorted(hour.feeds, key=lambda feed: (feed.symbol, feed.channel)):
        by_symbol[feed.symbol].append(feed)
    for feeds in by_symbol.values():
        work.add(feeds)
    for feed in sorted(_told_of(hour.coverage) - hour.feeds, key=lambda feed: (feed.symbol, feed.channel)):
        work.add_quiet(feed)
    return work.finish()


def _told_of(coverage: Sequence[Sequence[CoverageRow]]) -> set[FeedKey]:
    """Return the feeds that coverage names, not whole lanes and not control records."""
    feeds = {row.feed for rows in coverage for row in rows}
    return {feed for feed in feeds if "*" not in {feed.channel, feed.symbol}}


class _HourWork:
    """An hour between its rows and its parts."""

    def __init__(self, hour: HourOfLegs, options: EtlOptions, files: LegFiles) -> None:
        self._hour = hour
        self._options = options
        self._files = files
        self._since_ns = hour.after_ns - options.lookback.reach_ns
        self._writer: PartWriter = part_writer(hour.manifest, options)
        self._coverage: list[CoverageRow] = []
        self._leads: list[FeedLeads] = []
        told: tuple[defaultdict[FeedKey, list[CoverageRow]], ...] = (defaultdict(list), defaultdict(list))
        for leg, rows in enumerate(hour.coverage):
            for row in rows:
                told[leg][row.feed].append(row)
        self._told = told

    def add(self, feeds: Sequence[FeedKey]) -> None:
        """Merge all feeds of a symbol."""
        won: dict[str, _Won] = {}
        rows: list[ControlRow] = []
        for feed in feeds:
            dataset = Dataset.BOOKS if feed.channel == _BOOKS else feed.channel
            tables = [
                self._files.rows(leg, str(dataset), feed.symbol, self._since_ns, self._hour.until_ns) for leg in _LEGS
            ]
            legs = [self._timeline(leg, feed, has_records=bool(tables[leg])) for leg in (0, 1)]
            timeline = merged_timeline(*legs)
            self._tell(feed, timeline)
            if feed.channel in {_BOOKS, _TRADES}:
                rows += controls(feed, timeline, legs, self._since_ns, self._hour.until_ns)
            found = self._won(feed, str(dataset), tables, legs)
            if found is not None:
                won[feed.channel] = found
        if won:
            self._features(feeds[0].symbol, won, sorted(rows, key=lambda row: row.capture_ns))

    def add_quiet(self, feed: FeedKey) -> None:
        """Tell of a feed that has no records, and may have holes."""
        timeline = merged_timeline(*(self._timeline(leg, feed, has_records=False) for leg in (0, 1)))
        self._tell(feed, timeline)

    def finish(self) -> MergedHour:
        """Return what the hour became; nothing can be added after."""
        if self._coverage:
            table = coverage_table(self._hour.manifest.exchange, self._coverage)
            self._writer.add(Dataset.COVERAGE, self._options.cols(Dataset.COVERAGE), [in_order(table)])
        return MergedHour(tuple(self._writer.finish()), tuple(self._leads))

    def _tell(self, feed: FeedKey, timeline: Timeline) -> None:
        hour = self._hour
        self._coverage += hole_rows(feed, timeline, hour.after_ns, hour.until_ns, first_ns=hour.first_ns)

    def _timeline(self, leg: int, feed: FeedKey, *, has_records: bool) -> Timeline:
        whole = [FeedKey(feed.channel, "*"), FeedKey("*", feed.symbol), FeedKey("*", "*")]
        rows = [row for key in (feed, *whole) for row in self._told[leg].get(key, ())]
        return leg_timeline(rows, has_records=has_records)

    def _won(
        self, feed: FeedKey, dataset: str, tables: Sequence[Sequence[pa.Table]], legs: Sequence[Timeline]
    ) -> _Won | None:
        """Return the rows that are kept of a feed, and write those of the hour."""
        exchange = self._hour.manifest.exchange
        both = joined(dataset, tables, exchange, feed.symbol)
        if both is None:
            return None
        table, side = both
        if feed.channel == _BOOKS:
            kept = _trusted(int64s(table["capture_ns"]), side, legs)
            table, side = table.filter(flags(kept)).combine_chunks(), side[kept]
        if feed.channel == _TRADES:
            kept = self._unknown(feed.symbol, table)
            table, side = table.filter(flags(kept)).combine_chunks(), side[kept]
        rows = arrivals(dataset, table, side)
        # What was kept of an update in its hour stands; before the first one nothing was.
        hours = np.maximum((rows.capture_ns - 1) // HOUR_NS, self._hour.first_ns // HOUR_NS)
        rows = replace(rows, rank=rows.rank + RANKS * hours)
        found = matched(rows, are_states=feed.channel == _BOOKS)
        in_hour = rows.capture_ns > self._hour.after_ns
        self._leads.append(leads(feed.channel, feed.symbol, rows, found, found.won & in_hour))
        won = np.flatnonzero(found.won)
        result = _Won(
            table.take(numbers(won.astype(np.int64))).combine_chunks(),
            rows.capture_ns[won],
            in_hour[won],
            found.overtaken[won],
        )
        self._write(dataset, [result.table.filter(flags(result.in_hour))])
        return result

    def _unknown(self, symbol: str, trades: pa.Table) -> Bools:
        """Return which trades are none that came late in the hour and had come, to either leg, before what is read."""
        late = pc.or_(pc.fill_null(trades["resent"], False), pc.is_valid(trades["source_kind"]))  # noqa: FBT003 - a value
        late = pc.and_(late, pc.greater(trades["capture_ns"], self._hour.after_ns))
        sent = trades.filter(pc.and_(late, pc.is_valid(trades["trade_id"])))
        oldest_ms = pc.min(sent["exchange_ms"]).as_py()
        first_ns = self._since_ns if oldest_ms is None else oldest_ms * _NS_PER_MS - _CLOCKS_NS
        first_ns = max(first_ns, self._hour.after_ns - _SOUGHT_NS)
        if first_ns >= self._since_ns:
            return np.ones(trades.num_rows, dtype=np.bool_)
        wanted = frozenset(sent["trade_id"].to_pylist())
        found = set().union(*(self._files.trade_ids(leg, symbol, first_ns, self._since_ns, wanted) for leg in _LEGS))
        known = pc.and_(late, pc.is_in(trades["trade_id"], value_set=pa.array(sorted(found), pa.string())))
        return ~np.array(known.to_pylist(), dtype=np.bool_)

    def _features(self, symbol: str, won: Mapping[str, _Won], rows: Sequence[ControlRow]) -> None:
        """Write the feature rows and bars of an instrument, and note which of its books are none."""
        begin_ns, end_ns = self._hour.after_ns, self._hour.until_ns
        history = self._history(symbol, won, [row for row in rows if row.capture_ns <= begin_ns])
        lane = LaneWork(self._options, history, is_rescue=False)
        while begin_ns < end_ns:
            until_ns = min(begin_ns + _STRETCH_NS, end_ns)
            settled = lane.settle(self._stretch(won, rows, begin_ns, until_ns), until_ns, final=False)
            self._settle(settled)
            begin_ns = until_ns

    def _history(self, symbol: str, won: Mapping[str, _Won], rows: Sequence[ControlRow]) -> History:
        """Return what was captured before the hour, as far back as it reaches into it."""
        begin_ns = self._hour.after_ns
        before = self._stretch(won, rows, self._since_ns, begin_ns)
        marked = {}
        for key, parts in before.trades.items():
            (trades,) = parts
            resent = SeenTrades(self._options.lookback.books_ns).mark(trades)
            marked[key] = PastTrades.of(trades, resent)
        since = {symbol: 0} if symbol in self._hour.traded else {}
        history = grown(replace(History(until_ns=self._since_ns), trades_since=since), before, marked)
        return replace(history, until_ns=begin_ns).pruned(self._options.lookback)

    def _stretch(self, won: Mapping[str, _Won], rows: Sequence[ControlRow], after_ns: int, until_ns: int) -> Stretch:
        """Return the books that were not overtaken, the trades and the control records of a stretch of time."""
        stretch = Stretch(self._options.hf_interval_ns)
        books, trades = (_between(won.get(channel), after_ns, until_ns) for channel in (_BOOKS, _TRADES))
        stretch.add(
            SliceColumns(
                books=(book_columns(books),) if books is not None else (),
                trades=(trade_columns(trades),) if trades is not None else (),
                tickers=(),
                generic=(),
                controls=tuple(row for row in rows if after_ns < row.capture_ns <= until_ns),
                bad=(),
                lines=0,
            )
        )
        return stretch

    def _settle(self, settled: Settled) -> None:
        self._coverage += settled.coverage
        self._write(Dataset.HF, settled.hf)
        self._write(Dataset.BARS, [in_order(pa.concat_tables(settled.bars))] if settled.bars else [])

    def _write(self, dataset: str, tables: list[pa.Table]) -> None:
        self._writer.add(dataset, self._options.cols(dataset), tables)


def _trusted(captured: I64, side: I64, legs: Sequence[Timeline]) -> Bools:
    """Return which books count: those of a leg in a hole do not, while the other is sound."""
    sound = [leg.is_sound_before(captured) for leg in legs]
    own, other = np.where(side == 0, sound[0], sound[1]), np.where(side == 0, sound[1], sound[0])
    result: Bools = own | ~other
    return result


def _between(won: _Won | None, after_ns: int, until_ns: int) -> pa.Table | None:
    if won is None:
        return None
    rows = (won.captured > after_ns) & (won.captured <= until_ns) & ~won.overtaken
    return won.table.filter(flags(rows)).combine_chunks() if rows.any() else None
