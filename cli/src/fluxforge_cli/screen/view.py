"""The view: what the newest statuses of all processes say, as rows to show. Pure."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fluxforge.domain.lane import Lane
from fluxforge.domain.status import CollectorStatus, EtlStatus, LaneStatus, SegmenterStatus, Status

_RATE_WINDOW_NS: Final = 3_000_000_000
_STALE_NS: Final = 5_000_000_000


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One feed: records so far, records per second of late (None: too early to say), and what its status says."""

    exchange: str
    channel: str
    symbol: str
    records: int
    rate_hz: float | None
    lag_ms: int | None
    last_price: float | None
    sound: bool


@dataclass(frozen=True, slots=True)
class EtlRow:
    """All ETL workers together."""

    backlog: int
    segments: int
    records: int
    quarantined: int
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class View:
    """The whole system at one moment. `silent` names processes that have not been heard for a while.

    Feeds are those of the collectors that run; the counts are of those that have ended, too.
    """

    feeds: tuple[FeedRow, ...] = ()
    lanes: tuple[LaneStatus, ...] = ()
    etl: EtlRow | None = None
    captured: int = 0
    waiting: int = 0
    dropped: int = 0
    silent: tuple[str, ...] = ()

    @property
    def rate_hz(self) -> float:
        """Records per second of all feeds."""
        return sum(feed.rate_hz or 0.0 for feed in self.feeds)


@dataclass(slots=True)
class History:
    """The statuses of the last seconds, from which rates are read. The newest of each subject is the state."""

    newest: dict[str, Status] = field(default_factory=dict)
    _past: dict[str, deque[CollectorStatus]] = field(default_factory=dict)
    _former: list[CollectorStatus] = field(default_factory=list)
    _ended: dict[type[Status], Sequence[Status]] = field(default_factory=dict)

    def hear(self, statuses: Mapping[str, Status]) -> None:
        """Take in the newest status of each subject that was heard."""
        for subject, status in statuses.items():
            if type(status) in self._ended:
                continue  # said before its last word, and heard after
            self.newest[subject] = status
            if isinstance(status, CollectorStatus):
                past = self._past.setdefault(subject, deque())
                if past and past[-1].boot != status.boot:
                    self._former.append(past[-1])  # what a former life captured stays captured
                    past.clear()
                past.append(status)
                while len(past) > 2 and status.at_ns - past[1].at_ns >= _RATE_WINDOW_NS:  # noqa: PLR2004 - two ends
                    past.popleft()

    def end(self, kind: type[Status], last: Sequence[Status]) -> None:
        """Put the last words of all processes of a kind in the place of all that they said before and after."""
        self.newest = {subject: status for subject, status in self.newest.items() if not isinstance(status, kind)}
        if kind is CollectorStatus:
            self._past.clear()
            self._former.clear()
        self._ended[kind] = last

    def view(self, now_ns: int) -> View:
        """Return what there is to show at `now_ns` (ns UTC)."""
        statuses = [*self.newest.values(), *(status for last in self._ended.values() for status in last)]
        collectors = [s for s in statuses if isinstance(s, CollectorStatus)]
        segmenters = [s for s in statuses if isinstance(s, SegmenterStatus)]
        workers = [s for s in statuses if isinstance(s, EtlStatus)]
        feeds = [row for subject, past in self._past.items() if past for row in _feed_rows(past[0], past[-1])]
        return View(
            feeds=tuple(sorted(feeds, key=lambda row: (row.exchange, row.symbol, row.channel))),
            lanes=tuple(lane for status in segmenters for lane in status.lanes),
            etl=_etl_row(workers) if workers else None,
            captured=sum(status.captured for status in (*self._former, *collectors)),
            waiting=sum(status.waiting for status in collectors),
            dropped=sum(status.dropped for status in collectors),
            silent=tuple(sorted(s for s, status in self.newest.items() if now_ns - status.at_ns > _STALE_NS)),
        )


def _feed_rows(old: CollectorStatus, new: CollectorStatus) -> Iterable[FeedRow]:
    elapsed_s = (new.at_ns - old.at_ns) / 1e9
    before = {(feed.channel, feed.symbol): feed.records for feed in old.feeds}
    exchange = Lane.parse(new.lane).exchange
    for feed in new.feeds:
        gained = feed.records - before.get((feed.channel, feed.symbol), 0)
        yield FeedRow(
            exchange=exchange,
            channel=feed.channel,
            symbol=feed.symbol,
            records=feed.records,
            rate_hz=gained / elapsed_s if elapsed_s > 0 else None,
            lag_ms=feed.lag_ms,
            last_price=feed.last_price,
            sound=feed.sound,
        )


def _etl_row(workers: Iterable[EtlStatus]) -> EtlRow:
    workers = list(workers)
    rows: dict[str, int] = {}
    for worker in workers:
        for dataset, count in worker.rows.items():
            rows[dataset] = rows.get(dataset, 0) + count
    return EtlRow(
        backlog=max(worker.backlog for worker in workers),
        segments=sum(worker.segments for worker in workers),
        records=sum(worker.records for worker in workers),
        quarantined=sum(worker.quarantined for worker in workers),
        rows=rows,
    )
