"""Sent: what an exchange says it sent against what stands in Parquet: once each, or inside a hole of its feed. Pure.

Trades are told apart by their ids. Frames of books and tickers bear no identity that a row keeps: each row, from the
last to the first, is taken for the latest frame before it that no later row was taken for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fluxforge_cli.account.audit.findings import Finding, Kind
from fluxforge_cli.account.ledger import FeedName

LATENCY_NS: Final = 2_000_000_000
"""What was sent this shortly before a hole may not have been read when it began."""


@dataclass(frozen=True, slots=True)
class FeedHole:
    """A stretch of time in which a feed was not captured whole, and the event that began it; times ns UTC."""

    event: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class StoredTrade:
    """The rows of one trade id: how many, and how many of them are not marked as resent."""

    rows: int
    live: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What keeps the books open, and how many frames or trades a hole explains, by the event that began it."""

    findings: tuple[Finding, ...]
    explained: Mapping[str, int]


class Comparison:
    """Compares feed by feed, against the holes of each."""

    def __init__(self, lane_of: Mapping[FeedName, str], holes: Mapping[FeedName, Sequence[FeedHole]]) -> None:
        self._lane_of = lane_of
        self._holes = holes
        self._findings: list[Finding] = []
        self._explained: dict[str, int] = {}

    def result(self) -> Compared:
        """Return what was found so far."""
        return Compared(tuple(self._findings), dict(self._explained))

    def frames(self, feed: FeedName, sent_ns: Sequence[int], captured_ns: Sequence[int]) -> None:
        """Compare frames, by when they were sent, with rows, by when they were captured; both rise."""
        unmatched, surplus = unmatched_frames(sent_ns, captured_ns)
        if surplus:
            self._find(Kind.DOUBLED, feed, f"{surplus} more rows than frames were sent")
        for run in _runs(at for at in unmatched if not self._explain(feed, (sent_ns[at],))):
            text = f"{len(run)} frames that were sent from {sent_ns[run[0]]} to {sent_ns[run[-1]]} (ns)"
            self._find(Kind.MISSING, feed, f"{text} are not in Parquet, and in no hole")

    def trades(
        self,
        feed: FeedName,
        sent_ns: Mapping[str, Sequence[int]],
        stored: Mapping[str, StoredTrade],
        *,
        is_marked_alone: bool,
    ) -> None:
        """Compare trades by id. `is_marked_alone`: one lane has seen all of them, so that it marks what is resent."""
        absent: list[int] = []
        ids = list(sent_ns)
        for at, (trade_id, times) in enumerate(sent_ns.items()):
            rows = stored.get(trade_id)
            if rows is None:
                if not self._explain(feed, times):
                    absent.append(at)
            elif rows.rows > len(times):
                self._find(Kind.DOUBLED, feed, f"trade {trade_id}: sent {len(times)} times, {rows.rows} rows")
            elif rows.live > 1 and is_marked_alone:
                self._find(Kind.DOUBLED, feed, f"trade {trade_id}: {rows.live} rows are not marked as resent")
        for run in _runs(absent):
            first, last = ids[run[0]], ids[run[-1]]
            text = f"{len(run)} trades, {first} to {last}, sent from {sent_ns[first][0]} to {sent_ns[last][0]} (ns)"
            self._find(Kind.MISSING, feed, f"{text} are not in Parquet, and in no hole")
        for trade_id in sorted(stored.keys() - sent_ns.keys()):
            self._find(Kind.UNKNOWN, feed, f"trade {trade_id} was never sent")

    def _explain(self, feed: FeedName, times: Sequence[int]) -> bool:
        """Return whether all these times lie in holes of a feed, and count the event of the last one."""
        events = [self._hole_at(feed, at_ns) for at_ns in times]
        if None in events:
            return False
        event = str(events[-1])
        self._explained[event] = self._explained.get(event, 0) + 1
        return True

    def _hole_at(self, feed: FeedName, at_ns: int) -> str | None:
        holes = self._holes.get(feed, ())
        return next((hole.event for hole in holes if hole.from_ns - LATENCY_NS <= at_ns <= hole.to_ns), None)

    def _find(self, kind: Kind, feed: FeedName, detail: str) -> None:
        _, channel, symbol = feed
        self._findings.append(Finding(kind, self._lane_of.get(feed), detail, channel=channel, symbol=symbol))


def unmatched_frames(sent_ns: Sequence[int], captured_ns: Sequence[int]) -> tuple[list[int], int]:
    """Return which frames no row was made of, by position, rising; and how many rows are left without a frame."""
    unmatched = []
    at, rows = len(sent_ns) - 1, len(captured_ns)
    while rows and at >= 0:
        if sent_ns[at] > captured_ns[rows - 1]:
            unmatched.append(at)
        else:
            rows -= 1
        at -= 1
    unmatched += range(at, -1, -1)
    return unmatched[::-1], rows


def _runs(positions: Iterable[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for at in positions:
        if run and at != run[-1] + 1:
            yield run
            run = []
        run.append(at)
    if run:
        yield run
