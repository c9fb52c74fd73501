"""Selections: which rows of a dataset are wanted, and which partitions may hold any of them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from fluxforge.domain.errors import UsageError
from fluxforge.domain.instrument import decode_component, symbol_id

Moment = datetime | date | str
"""A moment, UTC where it names no zone: `2026-11-22`, `2026-11-22T10:30`, a date (its midnight) or a datetime."""
Names = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows by exchange, symbol and capture time, `start <= ts < end`; empty or None: all of them.

    `symbols` are ids, such as `BTC-USDT`.
    """

    exchanges: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def of(
        cls, exchange: Names = None, symbol: Names = None, start: Moment | None = None, end: Moment | None = None
    ) -> "Selection":
        """Return the selection of what a caller says; a symbol may be a market, such as `BTC/USDT`.

        Raises:
            UsageError: A moment that is none, or one that does not lie before the other.
        """
        first, last = _moment("start", start), _moment("end", end)
        if first is not None and last is not None and first >= last:
            raise UsageError(f"start {first.isoformat()} must lie before end {last.isoformat()}, which is not included")
        return cls(frozenset(_names(exchange)), frozenset(map(symbol_id, _names(symbol))), first, last)

    def may_hold(self, directories: Iterable[str]) -> bool:
        """Return whether a partition may hold rows of it, by its directories, such as `date=2026-11-22`."""
        values = dict(directory.split("=", 1) for directory in directories if "=" in directory)
        wanted = (("exchange", self.exchanges), ("symbol", self.symbols))
        if any(
            names and column in values and decode_component(values[column]) not in names for column, names in wanted
        ):
            return False
        return self._overlaps(values.get("date"), values.get("hour"))

    def _overlaps(self, day: str | None, hour: str | None) -> bool:
        if day is None:
            return True
        try:
            begin = datetime.fromisoformat(decode_component(day)).replace(tzinfo=UTC)
        except ValueError:
            return True  # no date of ours
        length = timedelta(days=1)
        if hour is not None and hour.isdigit():
            begin, length = begin + timedelta(hours=int(hour)), timedelta(hours=1)
        return (self.end is None or begin < self.end) and (self.start is None or begin + length > self.start)


def _names(given: Names) -> Sequence[str]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else given


def _moment(name: str, given: Moment | None) -> datetime | None:
    if given is None:
        return None
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError as error:
            raise UsageError(
                f"{name}: expected a time such as 2026-11-22 or 2026-11-22T10:30, was {given!r}"
            ) from error
    if not isinstance(given, datetime):
        given = datetime.combine(given, time())
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
