"""Said: what control records tell of lost seqs and of the ends of boots, from raw lines or from coverage rows. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fluxforge.domain.control import CRASH, Control, Event
from fluxforge.domain.errors import RecordError
from fluxforge.domain.record import CONTROL_CHANNEL, Envelope, read_data, read_envelope
from fluxforge_cli.account.audit.books import Said
from fluxforge_cli.account.audit.findings import FeedId
from fluxforge_cli.account.audit.ranges import NONE, Ranges
from fluxforge_etl_worker.columns import ControlRow
from fluxforge_etl_worker.coverage import control_rows

WHOLE_LANE: Final = "*"
COVERAGE_COLUMNS: Final = ("channel", "symbol", "hole", "event", "boot", "seq", "from_ns", "to_ns")
LOST_COLUMNS: Final = ("first_seq", "last_seq")
_NAMING: Final = frozenset({Event.DROPPED.value, Event.REJECTED.value})
_CONTROL_MARK: Final = b'"channel":"control"'


def said_in_lines(lines: Iterable[bytes]) -> Iterator[Said]:
    """Yield what the control records among these lines say; what cannot be read says nothing."""
    for line in lines:
        if _CONTROL_MARK not in line[:200]:
            continue
        try:
            envelope = read_envelope(line)
            if envelope.channel == CONTROL_CHANNEL:
                yield from _said(envelope, Control.from_json(read_data(line)))
        except RecordError:
            continue  # it is in quarantine, or will be


def _said(envelope: Envelope, control: Control) -> Iterator[Said]:
    boot, capture_ns, seq = envelope.boot, envelope.capture_ns, envelope.seq
    for row in control_rows([ControlRow(capture_ns, boot, seq, control)]):
        lost = _lost(row.event, row.first_seq, row.last_seq)
        feed = _feed(boot, row.feed.channel, row.feed.symbol, names=bool(lost))
        yield Said(row.event, boot, feed, lost, row.from_ns, row.to_ns, row.hole, seq)
    if control.event is Event.STARTED and control.after:
        yield Said(CRASH, boot, None, NONE, control.after.capture_ns, capture_ns)


def _feed(boot: str, channel: str, symbol: str, *, names: bool) -> FeedId | None:
    """Return the feed that is spoken of; seqs that are named of no feed are those of control records."""
    if channel == CONTROL_CHANNEL or (channel == WHOLE_LANE and names):
        return FeedId(boot, CONTROL_CHANNEL, None)
    return None if channel == WHOLE_LANE else FeedId(boot, channel, symbol)


def said_in_rows(rows: Iterable[Mapping[str, object]]) -> Iterator[Said]:
    """Yield what coverage rows say that an audit asks for: columns as in COVERAGE_COLUMNS and LOST_COLUMNS."""
    for row in rows:
        event, boot = str(row["event"]), str(row["boot"])
        lost = _lost(event, row.get("first_seq"), row.get("last_seq"))
        feed = _feed(boot, str(row["channel"]), str(row["symbol"]), names=bool(lost))
        hole = None if row["hole"] is None else str(row["hole"])
        from_ns, to_ns, seq = (_whole(row[name]) for name in ("from_ns", "to_ns", "seq"))
        yield Said(event, boot, feed, lost, from_ns, to_ns, hole, seq or 0)


def _lost(event: str, first: object, last: object) -> Ranges:
    if event in _NAMING and isinstance(first, int) and isinstance(last, int) and first <= last:
        return ((first, last),)
    return NONE


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
