"""Days: which segments hold something of a UTC day, be it a record, a feature row or a bar. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.segment import Manifest

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Day:
    """The ns `[begin_ns, end_ns)` of a UTC day."""

    begin_ns: int
    end_ns: int

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Return the day written as `2026-11-22`.

        Raises:
            ConfigurationError: Not a day.
        """
        try:
            begin = datetime.strptime(text or "", "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise ConfigurationError(f"date: expected a UTC day such as 2026-11-22, was {text!r}") from None
        end = begin + timedelta(days=1)
        return cls(int(begin.timestamp()) * _NS, int(end.timestamp()) * _NS)

    def last_bar_end_ns(self, durations_s: Iterable[int]) -> int:
        """Return when the last bar that begins on this day ends."""
        last_ns = self.end_ns - 1
        return max((last_ns // (d * _NS) + 1) * d * _NS for d in durations_s)


def meets(manifest: Manifest, day: Day, durations_s: Iterable[int]) -> bool:
    """Return whether rows of the day come out of a segment, which emits what ends in `(previous watermark, own]`."""
    return manifest.last_capture_ns >= day.begin_ns and manifest.after_ns < day.last_bar_end_ns(durations_s)
