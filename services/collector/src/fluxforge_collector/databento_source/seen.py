"""What was seen of a stream: where a replay has to begin, and which of its records are there already. Pure.

The gateway tells an instrument's records in one order, live and replayed, by the time at which it received them. So a
record is known by that time and by how many of the same time stood before it; records alike in every byte are counted
and not taken for one.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

OVERLAP_NS: Final = 5_000_000_000
"""Asked for again before the last event: venues' events do not come in the order of their times."""
REACH_NS: Final = 86_000_000_000_000
"""The gateway replays a day, and refuses a begin before that; this stays a little below."""


class Stream(NamedTuple):
    """The records of one instrument as one publisher tells them in one schema."""

    schema: str
    publisher_id: int
    instrument_id: int


@dataclass(slots=True)
class _Mark:
    """The newest time and how many records had it."""

    at_ns: int
    count: int


@dataclass(slots=True)
class Seen:
    """The newest records of every stream."""

    _marks: dict[Stream, _Mark] = field(default_factory=dict)
    _replayed: dict[Stream, _Mark] = field(default_factory=dict)
    _event_ns: dict[str, int] = field(default_factory=dict)

    def begin_ns(self, schema: str, now_ns: int, *, unseen_ns: int | None = None) -> int | None:
        """Return from which event on to replay a schema, ns UTC; from `unseen_ns` where nothing was seen of it."""
        last_ns = self._event_ns.get(schema)
        wanted_ns = unseen_ns if last_ns is None else last_ns - OVERLAP_NS
        return None if wanted_ns is None else max(wanted_ns, now_ns - REACH_NS)

    def expect_replay(self, schema: str) -> None:
        """Take what comes of a schema from now on for told again, up to what was seen."""
        for stream, mark in self._marks.items():
            if stream.schema == schema:
                self._replayed[stream] = _Mark(mark.at_ns, mark.count)

    def add(self, stream: Stream, *, at_ns: int, event_ns: int) -> bool:
        """Return whether a record is new, and remember it."""
        if stream in self._replayed and self._is_told_again(stream, at_ns):
            return False
        mark = self._marks.get(stream)
        if mark is None or at_ns > mark.at_ns:
            self._marks[stream] = _Mark(at_ns, 1)
        elif at_ns == mark.at_ns:
            mark.count += 1
        if event_ns > self._event_ns.get(stream.schema, 0):
            self._event_ns[stream.schema] = event_ns
        return True

    def _is_told_again(self, stream: Stream, at_ns: int) -> bool:
        left = self._replayed[stream]
        if at_ns < left.at_ns:
            return True
        if at_ns == left.at_ns and left.count > 0:
            left.count -= 1
            return True
        if at_ns > left.at_ns:
            del self._replayed[stream]
        return False
