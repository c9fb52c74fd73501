"""Markets: which market an instrument id means, by the symbology that a DBN file or a live stream brings. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

_NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _NS
_Span = tuple[date, date, str]


@dataclass(slots=True)
class Markets:
    """Names by instrument id; ids are used again for other instruments on other days."""

    _spans: Mapping[int, list[_Span]]
    _known: dict[tuple[int, int], str] = field(default_factory=dict)

    @classmethod
    def of(cls, mappings: Mapping[str, Iterable[Mapping[str, object]]]) -> "Markets":
        """Return the markets of the metadata's mappings: symbol -> `[{start_date, end_date, symbol}]`, end exclusive.

        Mappings to anything but an instrument id are left out.
        """
        spans: dict[int, list[_Span]] = {}
        for market, intervals in mappings.items():
            for interval in intervals:
                begin, end, instrument = interval["start_date"], interval["end_date"], interval["symbol"]
                if isinstance(begin, date) and isinstance(end, date) and str(instrument).isdigit():
                    spans.setdefault(int(str(instrument)), []).append((begin, end, market))
        return cls(spans)

    def name(self, instrument_id: int, at_ns: int) -> str:
        """Return the market of an instrument at a time, ns UTC; the id itself where the file names none."""
        key = (instrument_id, at_ns // _DAY_NS)
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = self._found(instrument_id, at_ns)
        return name

    def _found(self, instrument_id: int, at_ns: int) -> str:
        day = datetime.fromtimestamp(at_ns // _NS, tz=UTC).date()
        for begin, end, market in self._spans.get(instrument_id, ()):
            if begin <= day < end:
                return market
        return str(instrument_id)


@dataclass(slots=True)
class LiveMarkets:
    """Names by instrument id as a live stream maps them: what it said last holds."""

    _known: dict[int, str] = field(default_factory=dict)

    def learn(self, instrument_id: int, market: str) -> None:
        """Remember which market an instrument is from now on."""
        self._known[instrument_id] = market

    def find(self, instrument_id: int) -> str | None:
        """Return the market of an instrument; None where nothing mapped it."""
        return self._known.get(instrument_id)

    def name(self, instrument_id: int, at_ns: int) -> str:  # noqa: ARG002 - what was said last holds at any time
        """Return the market of an instrument; the id itself where nothing mapped it."""
        return self._known.get(instrument_id) or str(instrument_id)
