"""The report of a coverage: two tables and what a person should notice, or one JSON object."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fluxforge.domain.control import CRASH, LOST, Event
from fluxforge_cli.account.coverage.feeds import FeedCoverage

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_PERCENT_STEPS: Final = 1_000
_EVENTS: Final = {
    "gaps": (Event.GAP.value,),
    "stalls": (Event.STALLED.value,),
    "disconnections": (Event.DISCONNECTED.value,),
    "drops": (Event.DROPPED.value, LOST),
    "stops": (Event.STOPPED.value, Event.LANE_CLOSED.value),
    "crashes": (CRASH,),
}
"""What is counted, and which events open such holes."""


def to_json(found: Sequence[FeedCoverage]) -> bytes:
    """Return the coverage as one JSON object; docs/coverage.md describes its fields."""
    return orjson.dumps({"feeds": [_as_json(one) for one in found]}, option=orjson.OPT_APPEND_NEWLINE)


def print_coverage(console: Console, found: Sequence[FeedCoverage]) -> None:
    """Print the coverage for people."""
    times = ["observed s", "covered %", "verified %", "unverifiable %", "holes", "longest s", "longest begins (UTC)"]
    console.print(_table(times, _times(found)))
    console.print()
    console.print(_table([*_EVENTS, "duplicates", "lag ms p1", "p50", "p99"], _counts(found)))
    for line in notices(found):
        console.print(Text(line, style="yellow"), soft_wrap=True)


def notices(found: Sequence[FeedCoverage]) -> Iterator[str]:
    """Yield what a person should know of clocks."""
    for one in found:
        if one.lags_ms is not None and one.lags_ms[0] < 0:
            behind_ms, median_ms = -one.lags_ms[0], one.lags_ms[1]
            mostly = f", {-median_ms:,} ms at the median" if median_ms < 0 else ""
            yield (
                f"{feed_name(one)}: captured up to {behind_ms:,} ms before the exchange's own time{mostly}: "
                "this machine's clock is behind, or the exchange's ahead"
            )


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("feed", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # a name may hold what reads as markup
    return table


def _times(found: Sequence[FeedCoverage]) -> Iterator[Sequence[str]]:
    for one in found:
        percents = [
            percent(ns, one.observed_ns) if one.observed_ns else ""
            for ns in (one.covered_ns, one.verified_ns, one.unverifiable_ns)
        ]
        longest = one.longest()
        hole = ("", "") if longest is None else (f"{(longest[1] - longest[0]) / _NS:,.3f}", moment(longest[0]))
        yield feed_name(one), f"{one.observed_ns / _NS:,.3f}", *percents, f"{len(one.holes()):,}", *hole


def _counts(found: Sequence[FeedCoverage]) -> Iterator[Sequence[str]]:
    for one in found:
        counts = [f"{count:,}" for count in (*_events(one).values(), one.resent)]
        yield feed_name(one), *counts, *(f"{lag:,}" for lag in one.lags_ms or ())


def _as_json(one: FeedCoverage) -> dict[str, object]:
    longest = one.longest()
    return {
        **one.feed._asdict(),
        "from_ns": one.from_ns,
        "to_ns": one.to_ns,
        "observed_ns": one.observed_ns,
        "covered_ns": one.covered_ns,
        "verified_ns": one.verified_ns,
        "unverifiable_ns": one.unverifiable_ns,
        "covered": _share(one.covered_ns, one),
        "verified": _share(one.verified_ns, one),
        "unverifiable": _share(one.unverifiable_ns, one),
        **_events(one),
        "longest_hole": None if longest is None else {"from_ns": longest[0], "to_ns": longest[1]},
        "rows": one.rows,
        "duplicates": one.resent,
        "lag_ms": None if one.lags_ms is None else dict(zip(("p1", "p50", "p99"), one.lags_ms, strict=True)),
        "holes": [
            {"from_ns": piece.from_ns, "to_ns": piece.to_ns, "event": piece.event}
            for piece in one.pieces
            if piece.event is not None
        ],
    }


def moment(ns: int) -> str:
    """Return a time as people read it, to the millisecond, UTC."""
    whole = datetime.fromtimestamp(ns // _NS, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{whole}.{ns % _NS // _NS_PER_MS:03d}"


def percent(ns: int, of_ns: int) -> str:
    """Return a share in percent, cut and not rounded: only what is whole is 100."""
    steps = ns * 100 * _PERCENT_STEPS // of_ns
    return f"{steps // _PERCENT_STEPS}.{steps % _PERCENT_STEPS:03d}"


def _share(ns: int, one: FeedCoverage) -> float | None:
    return ns / one.observed_ns if one.observed_ns else None


def _events(one: FeedCoverage) -> dict[str, int]:
    return {what: sum(one.events.get(event, 0) for event in events) for what, events in _EVENTS.items()}


def feed_name(one: FeedCoverage) -> str:
    """Return what a feed is called in tables and pictures."""
    return f"{one.feed.source} {one.feed.exchange} {one.feed.symbol} {one.feed.channel}"
