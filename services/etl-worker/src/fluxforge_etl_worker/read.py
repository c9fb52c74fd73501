"""Reading: NDJSON lines to typed columns by feed; what is no record becomes a bad line and the rest goes on.

The reader is fed slices in the order of the file and keeps, over the whole segment, which seqs of which feed it saw.
It does not know stores, files or datasets.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson

from fluxforge.domain.control import Control
from fluxforge.domain.errors import RecordError
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import RECORD_VERSION
from fluxforge.domain.segment import FeedSeqs
from fluxforge_etl_worker.assemble import book_columns, generic_rows, ticker_columns, trade_columns
from fluxforge_etl_worker.columns import BadLine, ControlRow, Instrument, SliceColumns
from fluxforge_etl_worker.heads import Head, Kind, Stamp, head_of, stamp_of, usual_stamp, whole_record
from fluxforge_etl_worker.lines import LineSlice
from fluxforge_etl_worker.payloads import PayloadParser
from fluxforge_etl_worker.seqs import SeqRanges

_DATA: Final = b',"data":'
_CONN: Final = b',"conn":'
_BRACE: Final = ord("}")
_HEADS_MAX: Final = 65_536


class UnorderedError(Exception):
    """The lane's capture_ns falls, as only files of other recorders do: read it again in one slice, to be sorted."""


@dataclass(slots=True)
class Pending:
    """The rows of one feed in the slice at hand, record by record."""

    kind: Kind
    channel: str
    instrument: Instrument
    parse: Callable[[bytes], Any] | None
    stamps: list[Stamp] = field(default_factory=list)
    boots: list[str] = field(default_factory=list)
    payloads: list[Any] = field(default_factory=list)


class SegmentReader:
    """Reads the lines of one segment, slice after slice. Records of disabled channels are counted and left out.

    With `any_order` records may come in any order, and `take` is called once, at the end. `records`, `feeds`, and the
    first and last capture_ns (0 before the first record) speak of everything taken so far.
    """

    def __init__(self, lane: Lane, *, disabled: Collection[str] = (), any_order: bool = False) -> None:
        self._lane = lane
        self._disabled = frozenset(disabled)
        self._any_order = any_order
        self._parser = PayloadParser()
        self._heads: dict[bytes, Head] = {}
        self._seqs: dict[tuple[str, str | None, str], SeqRanges] = {}
        self._foreign: dict[tuple[str, str | None], int] = {}
        self._feeds: dict[tuple[str, str | None, str | None], Pending] = {}
        self._pending: dict[Head, Pending] = {}
        self._controls: list[ControlRow] = []
        self._bad: list[BadLine] = []
        self._lines = 0
        self.records = 0
        self.first_capture_ns = 0
        self.last_capture_ns = 0
        self.disabled_seen: set[str] = set()

    @property
    def feeds(self) -> tuple[FeedSeqs, ...]:
        """Which seqs of every feed and boot were found so far."""
        return tuple(ranges.feed(*key) for key, ranges in sorted(self._seqs.items(), key=lambda item: str(item[0])))

    def read(self, lines: LineSlice) -> None:
        """Take in a slice.

        Raises:
            UnorderedError: A record is older than one before it, and `any_order` is not set.
        """
        if lines.long_line:
            long = lines.long_line
            self._bad.append(BadLine(lines.offset, "line over the limit", long.beginning, long.size_bytes, long.sha256))
        offset = lines.offset
        for line in lines.lines:
            try:
                self._record(line)
            except RecordError as error:
                self._bad.append(BadLine(offset, error.reason, line, len(line)))
            offset += len(line) + 1
        self._lines += len(lines.lines) + (lines.long_line is not None)

    def take(self) -> SliceColumns:
        """Return the columns of everything read since the last time, and forget it."""
        self._settle_seqs()
        feeds = [feed for feed in self._feeds.values() if feed.stamps]
        of = {kind: [(f.instrument, f.stamps, f.boots, f.payloads) for f in feeds if f.kind is kind] for kind in Kind}
        channels = [feed.channel for feed in feeds if feed.kind is Kind.GENERIC]
        columns = SliceColumns(
            books=tuple(book_columns(*rows) for rows in of[Kind.BOOK]),
            trades=tuple(trade_columns(*rows) for rows in of[Kind.TRADES]),
            tickers=tuple(ticker_columns(*rows) for rows in of[Kind.TICKER]),
            generic=tuple(
                generic_rows(channel, *rows) for channel, rows in zip(channels, of[Kind.GENERIC], strict=True)
            ),
            controls=tuple(sorted(self._controls, key=lambda row: row.capture_ns)),
            bad=tuple(self._bad),
            lines=self._lines,
        )
        self._pending, self._feeds, self._controls, self._bad, self._lines = {}, {}, [], [], 0
        return columns

    def _record(self, line: bytes) -> None:
        conn = line.find(_CONN)
        usual = usual_stamp(line, conn) if conn > 0 and line[-1] == _BRACE else None
        if usual:
            stamp, data = usual
            head, text = self._heads.get(line[:conn]) or self._new_head(line[:conn]), line[data:-1]
        else:
            head, stamp, text = self._unusual(line)
        seq, capture_ns, _, _, _ = stamp
        pending = self._pending.get(head) or self._new_pending(head)
        if pending.parse:
            pending.payloads.append(pending.parse(text))
            pending.stamps.append(stamp)
            pending.boots.append(head.boot)
        elif head.kind is Kind.CONTROL:
            self._controls.append(ControlRow(capture_ns, head.boot, seq, Control.from_json(text)))
        head.seqs.append(seq)
        if capture_ns >= self.last_capture_ns:
            self.last_capture_ns = capture_ns
            self.first_capture_ns = self.first_capture_ns or capture_ns
        elif self._any_order:
            self.first_capture_ns = min(self.first_capture_ns, capture_ns)
        else:
            raise UnorderedError

    def _unusual(self, line: bytes) -> tuple[Head, Stamp, bytes]:
        """Read a line whose stamp is not the usual one, or that is of another form."""
        data = line.find(_DATA)
        conn = line.find(_CONN, 0, data) if data > 0 else -1
        if conn < 0 or line[-1] != _BRACE:
            return self._whole(line)
        head = self._heads.get(line[:conn]) or self._new_head(line[:conn])
        return head, _stamp_of(line[conn + 1 : data]), line[data + len(_DATA) : -1]

    def _new_head(self, text: bytes) -> Head:
        try:
            raw = orjson.loads(text + b"}")
        except orjson.JSONDecodeError as error:
            raise RecordError(f"not JSON before data: {error}") from None
        if raw.pop("v", None) != RECORD_VERSION:
            raise RecordError("unknown record version")
        head = head_of(raw, self._lane)
        if len(self._heads) >= _HEADS_MAX:  # ids of strangers must not fill the memory
            self._settle_seqs()
            self._heads.clear()
            self._pending.clear()
        self._heads[text] = head
        return head

    def _whole(self, line: bytes) -> tuple[Head, Stamp, bytes]:
        head_fields, stamp_fields, text, foreign = whole_record(line, self._lane)
        key = orjson.dumps(head_fields)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = head_of(head_fields, self._lane)
        if foreign:
            feed = (head.channel, head.symbol)
            stamp_fields["seq"] = self._foreign[feed] = self._foreign.get(feed, 0) + 1
        return head, stamp_of(stamp_fields), text

    def _new_pending(self, head: Head) -> Pending:
        feed = (head.channel, head.symbol, head.market)
        pending = self._feeds.get(feed)
        if pending is None:
            instrument = Instrument(self._lane.exchange, head.symbol or "", head.market or "")
            pending = self._feeds[feed] = Pending(head.kind, head.channel, instrument, self._parse_of(head))
        self._pending[head] = pending
        return pending

    def _parse_of(self, head: Head) -> Callable[[bytes], Any] | None:
        """Return what reads the payload; None where it is left out or is a control record."""
        if head.channel in self._disabled:
            self.disabled_seen.add(head.channel)
            return None
        match head.kind:
            case Kind.BOOK:
                return self._parser.book
            case Kind.TRADES:
                return self._parser.trades
            case Kind.TICKER:
                return self._parser.ticker
            case Kind.GENERIC:
                return partial(self._parser.generic, channel=head.channel)
            case Kind.CONTROL:
                return None

    def _settle_seqs(self) -> None:
        for head in self._heads.values():
            if head.seqs:
                self.records += len(head.seqs)
                self._seqs.setdefault((head.channel, head.symbol, head.boot), SeqRanges()).add(head.seqs)
                head.seqs.clear()


def _stamp_of(text: bytes) -> Stamp:
    try:
        return stamp_of(orjson.loads(b"{" + text + b"}"))
    except orjson.JSONDecodeError as error:
        raise RecordError(f"not JSON before data: {error}") from None
