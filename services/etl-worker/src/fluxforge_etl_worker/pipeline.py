"""The pipeline: the bytes of one segment to the parts of its datasets, the bad lines, and what was read.

A pure function of the segment, its manifest and the options: running it again gives the same rows. It stores nothing.
"""

import base64
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial

import orjson
import pyarrow as pa

from fluxforge.domain.control import Event, FeedKey
from fluxforge.domain.partition import Dataset
from fluxforge.domain.segment import FeedSeqs, Manifest
from fluxforge_etl_worker.bars import TradeFlow, Window, trade_flow
from fluxforge_etl_worker.books import books_table
from fluxforge_etl_worker.columns import BadLine, BookColumns, ControlRow, GenericRows, SliceColumns
from fluxforge_etl_worker.coverage import CoverageRow, control_rows, coverage_table, crash_rows, named_feeds
from fluxforge_etl_worker.features.registry import FEATURE_VERSION
from fluxforge_etl_worker.generic import field_types, generic_table
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.orderbook import InstrumentBooks
from fluxforge_etl_worker.parts import PartFile, PartWriter, in_order
from fluxforge_etl_worker.read import SegmentReader, UnorderedError
from fluxforge_etl_worker.schemas import SCHEMA_VERSION
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.soundness import FeedSoundness, soundness_of
from fluxforge_etl_worker.tickers import tickers_table
from fluxforge_etl_worker.trades import trades_table

StoppedBefore = Callable[[], Collection[str] | None]
"""Tells which boots stopped in order just before the segment; None: that cannot be known any more."""


@dataclass(frozen=True, slots=True)
class Forged:
    """What a segment became. `records`: lines read, `bad` among them; `disabled`: channels that were left out."""

    parts: tuple[PartFile, ...]
    bad: tuple[BadLine, ...]
    records: int
    feeds: tuple[FeedSeqs, ...]
    disabled: tuple[str, ...]

    @property
    def rows(self) -> dict[str, int]:
        """Rows by dataset."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts[part.dataset] += part.rows
        return dict(counts)


def forge(
    manifest: Manifest,
    options: EtlOptions,
    chunks: Callable[[], Iterable[bytes]],
    stopped_before: StoppedBefore = lambda: None,
) -> Forged:
    """Return what a segment becomes; `chunks` opens its bytes.

    Raises:
        SchemaMismatchError: A table is not what its dataset holds.
    """
    try:
        return _forge(manifest, options, chunks(), stopped_before, any_order=False)
    except UnorderedError:
        return _forge(manifest, options, chunks(), stopped_before, any_order=True)


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
    manifest: Manifest,
    options: EtlOptions,
    chunks: Iterable[bytes],
    stopped_before: StoppedBefore,
    *,
    any_order: bool,
) -> Forged:
    reader = SegmentReader(manifest.lane, disabled=options.disabled, any_order=any_order)
    work = _SegmentWork(manifest, options)
    for lines in line_slices(chunks):
        reader.read(lines)
        if not any_order:
            work.add(reader.take())
    work.add(reader.take())
    return Forged(
        parts=work.finish(stopped_before),
        bad=tuple(work.bad),
        records=work.lines,
        feeds=reader.feeds,
        disabled=tuple(sorted(reader.disabled_seen)),
    )


class _SegmentWork:
    """Everything of one segment between its lines and its parts."""

    def __init__(self, manifest: Manifest, options: EtlOptions) -> None:
        self._manifest = manifest
        self._options = options
        self._writer = PartWriter(
            source=manifest.source,
            compression=options.compression,
            features=options.features,
            metadata={
                "fluxforge.schema_version": str(SCHEMA_VERSION),
                "fluxforge.feature_version": str(FEATURE_VERSION),
                "fluxforge.lane": str(manifest.lane),
                "fluxforge.segment": manifest.name,
            },
        )
        self._controls: list[ControlRow] = []
        self._coverage: list[CoverageRow] = []
        self._books: dict[str, InstrumentBooks] = {}
        self._flows: dict[str, list[TradeFlow]] = {}
        self._generic: dict[str, list[GenericRows]] = {}
        self.bad: list[BadLine] = []
        self.lines = 0

    def add(self, columns: SliceColumns) -> None:
        self.lines += columns.lines
        self.bad += columns.bad
        self._controls += columns.controls
        for rows in columns.generic:
            self._generic.setdefault(rows.channel, []).append(rows)
        for trades in columns.trades:
            self._flows.setdefault(trades.instrument.symbol, []).append(trade_flow(trades))
        self._write(Dataset.TRADES, [trades_table(trades, trades.snapshot) for trades in columns.trades])
        self._write(Dataset.TICKER, [tickers_table(tickers) for tickers in columns.tickers])
        self._add_books(columns.books)

    def finish(self, stopped_before: StoppedBefore) -> tuple[PartFile, ...]:
        self._write_features(last=True)
        self._write_bars()
        for channel, rows in self._generic.items():
            types = field_types(rows)
            self._write(channel, [generic_table(group, types) for group in rows])
        self._coverage += control_rows(self._controls) + self._crashes(stopped_before)
        if self._coverage:
            table = coverage_table(self._manifest.exchange, self._coverage)
            self._write(Dataset.COVERAGE, [in_order(table)])
        return tuple(self._writer.finish())

    def _add_books(self, slices: Iterable[BookColumns]) -> None:
        if self._options.keep_books:
            self._write(Dataset.BOOKS, [books_table(books) for books in slices])
        for books in slices:
            symbol = books.instrument.symbol
            if symbol not in self._books:
                feed = FeedKey("orderbook", symbol)
                self._books[symbol] = InstrumentBooks(
                    books.instrument, self._options, self._window(), partial(self._soundness, feed)
                )
            self._coverage += self._books[symbol].add(books)
        self._write_features(last=False)

    def _write_features(self, *, last: bool) -> None:
        if not self._manifest.lane.is_rescue:
            tables = [books.feature_rows(last=last) for books in self._books.values()]
            self._write(Dataset.HF, [table for table in tables if table is not None])

    def _write_bars(self) -> None:
        if self._manifest.lane.is_rescue:
            return
        window = self._window()
        if window.after_ns is None and any(row.control.follows for row in self._controls):
            # Another lane held these instruments before: a bar that began then is not ours alone to tell.
            window = replace(window, after_ns=self._manifest.first_capture_ns)
        for symbol, books in self._books.items():
            tables = books.bars(self._trades(symbol), window)
            self._write(Dataset.BARS, [in_order(pa.concat_tables(tables))] if tables else [])

    def _write(self, dataset: str, tables: list[pa.Table]) -> None:
        self._writer.add(dataset, self._options.cols(dataset), tables)

    def _window(self) -> Window:
        manifest = self._manifest
        after_ns = manifest.previous.last_capture_ns if manifest.previous else None
        return Window(after_ns, manifest.last_capture_ns, final=manifest.final)

    def _soundness(self, feed: FeedKey) -> FeedSoundness:
        return soundness_of(feed, self._controls)

    def _trades(self, symbol: str) -> TradeFlow | None:
        """Return the trades that count of an instrument; None where its trades are not captured."""
        flows = self._flows.get(symbol, [])
        captured = (
            flows
            or any(last.channel == "trades" and last.symbol == symbol for last in self._manifest.last_seqs)
            or any(symbol in named_feeds(row.control, "trades") for row in self._controls)
        )
        if not captured or "trades" in self._options.disabled:
            return None
        return TradeFlow.joined(flows)

    def _crashes(self, stopped_before: StoppedBefore) -> list[CoverageRow]:
        reaching_back = [
            row
            for row in self._controls
            if row.control.event is Event.STARTED
            and row.control.after
            and row.control.after.capture_ns < self._manifest.first_capture_ns
        ]
        if not reaching_back:
            return crash_rows(self._controls, ())
        stopped = stopped_before()
        if stopped is None:  # what stood before is gone: name no crash that may be none
            known = [row for row in self._controls if row not in reaching_back]
            return crash_rows(known, ())
        return crash_rows(self._controls, stopped)
