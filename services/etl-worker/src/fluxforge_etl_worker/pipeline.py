"""The pipeline: the bytes of one segment to the parts of its datasets, the bad lines, and what was read.

A pure function of the segment, its manifest, its context and the options: running it again gives the same rows. It
stores nothing.
"""

import base64
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from fluxforge.domain.partition import Dataset
from fluxforge.domain.segment import FeedSeqs, Manifest
from fluxforge_etl_worker.books import books_table
from fluxforge_etl_worker.columns import BadLine, GenericRows, SliceColumns, TradeColumns
from fluxforge_etl_worker.coverage import CoverageRow, control_rows, coverage_table, dropped_rows, lost_rows
from fluxforge_etl_worker.features.registry import FEATURE_VERSION
from fluxforge_etl_worker.generic import field_types, generic_table
from fluxforge_etl_worker.history import History, PastTrades
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.parts import PartFile, PartWriter, in_order
from fluxforge_etl_worker.read import SegmentReader, UnorderedError
from fluxforge_etl_worker.schemas import SCHEMA_VERSION, has_fixed_schema
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.stretch import LaneWork, Stretch, grown
from fluxforge_etl_worker.tail import Tail, tail_at_end
from fluxforge_etl_worker.tickers import tickers_table

_LAST_BOOK_ONLY_NS: Final = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The segments before and after one in its lane.

    `before` returns what came before it: asked for once at most, and as late as possible. `leave` takes its tail as
    soon as it is read, so that those after it need not build the tail themselves.
    """

    before: Callable[[], History]
    leave: Callable[[Tail], None]


@dataclass(frozen=True, slots=True)
class Forged:
    """What a segment became.

    `records`: lines read, `bad` among them; `disabled`: channels that were left out; `resent`: trades marked so.
    """

    parts: tuple[PartFile, ...]
    bad: tuple[BadLine, ...]
    records: int
    feeds: tuple[FeedSeqs, ...]
    disabled: tuple[str, ...]
    resent: int

    @property
    def rows(self) -> dict[str, int]:
        """Rows by dataset."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts[part.dataset] += part.rows
        return dict(counts)


def forge(
    manifest: Manifest, options: EtlOptions, chunks: Callable[[], Iterable[bytes]], neighbours: Neighbours
) -> Forged:
    """Return what a segment becomes; `chunks` opens its bytes.

    Raises:
        SchemaMismatchError: A table is not what its dataset holds.
    """
    try:
        return _forge(manifest, options, chunks(), neighbours, any_order=False)
    except UnorderedError:
        return _forge(manifest, options, chunks(), neighbours, any_order=True)


def tail_of(manifest: Manifest, options: EtlOptions, chunks: Callable[[], Iterable[bytes]]) -> Tail:
    """Return the tail of a segment from its bytes alone; `chunks` may leave out records before its lookback."""
    try:
        return _tail(manifest, options, chunks(), any_order=False)
    except UnorderedError:
        return _tail(manifest, options, chunks(), any_order=True)


def given_up(manifest: Manifest, options: EtlOptions, reason: str) -> tuple[PartFile, ...]:
    """Return the parts of a segment that a person gave up: rows that name what it held, and nothing of its data."""
    writer = part_writer(manifest, options)
    table = coverage_table(manifest.exchange, dropped_rows(manifest, reason))
    writer.add(Dataset.COVERAGE, options.cols(Dataset.COVERAGE), [in_order(table)])
    return tuple(writer.finish())


def part_writer(manifest: Manifest, options: EtlOptions) -> PartWriter:
    """Return what turns the tables of a segment into its parts."""
    return PartWriter(
        source=manifest.lane.dataset_source,
        compression=options.compression,
        features=options.features,
        metadata={
            "fluxforge.schema_version": str(SCHEMA_VERSION),
            "fluxforge.feature_version": str(FEATURE_VERSION),
            "fluxforge.lane": str(manifest.lane),
            "fluxforge.segment": manifest.name,
        },
    )


def quarantine_lines(bad: Iterable[BadLine]) -> bytes:
    """Return bad lines as NDJSON: offset, reason, size, and the line as text, or in base64 where it is not UTF-8."""
    return b"".join(orjson.dumps(_quarantined(line), option=orjson.OPT_APPEND_NEWLINE) for line in bad)


def _quarantined(bad: BadLine) -> dict[str, object]:
    row: dict[str, object] = {"offset": bad.offset, "reason": bad.reason, "size_bytes": bad.size_bytes}
    if bad.sha256:
        row["sha256"] = bad.sha256  # of the whole line; only its beginning follows
    try:
        row["line"] = bad.line.decode()
    except UnicodeDecodeError:
        row["line_base64"] = base64.b64encode(bad.line).decode()
    return row


def _forge(
    manifest: Manifest, options: EtlOptions, chunks: Iterable[bytes], neighbours: Neighbours, *, any_order: bool
) -> Forged:
    reader = SegmentReader(manifest.lane, disabled=options.disabled, any_order=any_order)
    work = _SegmentWork(manifest, options, neighbours.before)
    for lines in line_slices(chunks):
        reader.read(lines)
        if not any_order:
            work.add(reader.take(), reader.last_capture_ns)
    work.add(reader.take(), reader.last_capture_ns)
    neighbours.leave(work.tail())
    parts = work.finish()
    return Forged(
        parts=parts,
        bad=tuple(work.bad),
        records=work.lines,
        feeds=reader.feeds,
        disabled=tuple(sorted(reader.disabled_seen)),
        resent=work.resent,
    )


def _tail(manifest: Manifest, options: EtlOptions, chunks: Iterable[bytes], *, any_order: bool) -> Tail:
    reader = SegmentReader(manifest.lane, disabled=options.disabled, any_order=any_order)
    history = History.of_lane_start(manifest.first_capture_ns)
    for lines in line_slices(chunks):
        reader.read(lines)
        if not any_order:
            history = _grown(history, reader.take(), reader.last_capture_ns, options)
    history = _grown(history, reader.take(), manifest.last_capture_ns, options)
    return tail_at_end(manifest, history, options)


def _grown(history: History, columns: SliceColumns, until_ns: int, options: EtlOptions) -> History:
    """Return the history with a slice added."""
    stretch = Stretch(_LAST_BOOK_ONLY_NS)
    stretch.add(columns)
    return replace(_with(history, stretch), until_ns=until_ns).pruned(options.lookback)


def _with(history: History, stretch: Stretch) -> History:
    """Return the history with a stretch added, whose trades are taken as they are: tails do not say what was resent."""
    joined = [TradeColumns.joined(parts) for parts in stretch.trades.values()]
    trades = {part.instrument: PastTrades.of(part, np.zeros(len(part.keys), dtype=np.bool_)) for part in joined}
    return grown(history, stretch, trades)


class _SegmentWork:
    """Everything of one segment between its lines and its parts."""

    def __init__(self, manifest: Manifest, options: EtlOptions, before: Callable[[], History]) -> None:
        self._manifest = manifest
        self._options = options
        self._before = before
        self._lane: LaneWork | None = None
        self._stretch = Stretch(options.hf_interval_ns)
        self._until_ns = 0
        self._writer = part_writer(manifest, options)
        self._coverage: list[CoverageRow] = lost_rows(manifest)
        self._generic: dict[str, list[GenericRows]] = {}
        self.bad: list[BadLine] = []
        self.lines = 0
        self.resent = 0

    def add(self, columns: SliceColumns, until_ns: int) -> None:
        """Take in a slice, of which `until_ns` is the last record's time; the next one may begin at the same time."""
        if self._stretch.is_full and columns.begins_after(self._until_ns):
            self._settle(self._until_ns, final=False)
        self._until_ns = until_ns
        self.lines += columns.lines
        self.bad += columns.bad
        self._coverage += control_rows(columns.controls)
        for rows in columns.generic:
            if has_fixed_schema(rows.channel):
                self._write(rows.channel, [generic_table(rows, field_types([rows]))])
            else:  # its columns are those of the whole segment
                self._generic.setdefault(rows.channel, []).append(rows)
        self._write(Dataset.TICKER, [tickers_table(tickers) for tickers in columns.tickers])
        if self._options.keep_books:
            self._write(Dataset.BOOKS, [books_table(books) for books in columns.books])
        self._stretch.add(columns)

    def finish(self) -> tuple[PartFile, ...]:
        """Return the parts; nothing can be added after."""
        self._settle(self._manifest.last_capture_ns, final=self._manifest.final)
        for channel, rows in self._generic.items():
            types = field_types(rows)
            self._write(channel, [generic_table(group, types) for group in rows])
        if self._coverage:
            table = coverage_table(self._manifest.exchange, self._coverage)
            self._write(Dataset.COVERAGE, [in_order(table)])
        return tuple(self._writer.finish())

    def tail(self) -> Tail:
        """Return what the segment's successors must know; after the last `add`, before `finish`."""
        settled = self._lane.history if self._lane else History.of_lane_start(self._manifest.first_capture_ns)
        return tail_at_end(self._manifest, _with(settled, self._stretch), self._options)

    @property
    def _lane_work(self) -> LaneWork:
        if self._lane is None:  # the history is read when it is needed: it may still be in the making elsewhere
            self._lane = LaneWork(
                self._options, self._before().entering(self._manifest), is_rescue=self._manifest.lane.is_rescue
            )
        return self._lane

    def _settle(self, until_ns: int, *, final: bool) -> None:
        settled = self._lane_work.settle(self._stretch, until_ns, final=final)
        self._stretch = Stretch(self._options.hf_interval_ns)
        self._coverage += settled.coverage
        self.resent += settled.resent
        self._write(Dataset.TRADES, settled.trades)
        self._write(Dataset.HF, settled.hf)
        self._write(Dataset.BARS, [in_order(pa.concat_tables(settled.bars))] if settled.bars else [])

    def _write(self, dataset: str, tables: list[pa.Table]) -> None:
        self._writer.add(dataset, self._options.cols(dataset), tables)
