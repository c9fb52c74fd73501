"""The merge of two legs: each hour that is over in both becomes parts of `<source>.merged`, once; safe to kill.

An hour is committed and placed as a segment is (ADR-0004): its parts are written aside, the first commit record is the
truth, and whoever meets one that is not placed yet puts its parts in place.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane, Leg
from fluxforge.domain.layout import TMP
from fluxforge.domain.segment import Manifest
from fluxforge_etl_worker.attempts import SOFTWARE, PartLostError
from fluxforge_etl_worker.legs.arrivals import FeedLeads
from fluxforge_etl_worker.legs.hour import HOUR_NS, HourOfLegs, MergedHour, merge_hour
from fluxforge_etl_worker.legs.ledger import Delays, LegsLedger, Venue, feeds_of, hour_name, ledgers
from fluxforge_etl_worker.legs.leg_files import LegFiles
from fluxforge_etl_worker.work import Worker


@dataclass(frozen=True, slots=True)
class HourOutcome:
    """What became of one hour. `waits_for`: what has to happen first. `is_new` false: it was merged before.

    `feeds` tells how the legs did, `rows` how many were written by dataset, both of an hour that is new.
    """

    source: str
    exchange: str
    begin: datetime
    is_new: bool = False
    waits_for: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    feeds: tuple[FeedLeads, ...] = ()


@dataclass(frozen=True, slots=True)
class Merger:
    """Merges the legs of every exchange that has two.

    `follows_journal`: the compactor's journal tells which files count, and not the directory. `is_over`: hours that
    have passed are merged even where nobody knows how far a leg has come; what it brings of them later is left out.
    """

    worker: Worker
    follows_journal: bool
    delays: Delays
    is_over: bool = False

    def run(
        self, *, exchange: str | None = None, first: datetime | None = None, last: datetime | None = None
    ) -> Iterator[HourOutcome]:
        """Merge the hours that begin from `first` to `last`, None: all since leg B began; yield each.

        Raises:
            ConfigurationError: Books are not kept, without which nothing can be made anew.
        """
        if not self.worker.options.keep_books and "orderbook" not in self.worker.options.disabled:
            raise ConfigurationError(
                "merge: features are made anew from the books of both legs; set etl.channels.orderbook.keep_books: true"
            )
        now_ns = self.worker.clock.wall_ns()
        for venue, ledger in ledgers(self.worker, self.delays).items():
            if exchange not in {None, venue.exchange}:
                continue
            lane = Lane.merged(venue.source, venue.exchange)
            placed, files = self._placed(lane), self._files(venue)
            begin_ns = max(ledger.first_ns(), _ns(first) if first else 0)
            end_ns = min(now_ns // HOUR_NS * HOUR_NS, _ns(last) + HOUR_NS if last else now_ns)
            for at_ns in range(begin_ns, end_ns, HOUR_NS):
                begin = datetime.fromtimestamp(at_ns // 10**9, tz=UTC)
                if hour_name(at_ns) in placed:
                    yield HourOutcome(venue.source, venue.exchange, begin)
                else:
                    yield self._hour(venue, ledger, files, begin, now_ns)

    def _placed(self, lane: Lane) -> frozenset[str]:
        """Return the hours that are in place, and delete what somebody who was killed then left beside them."""
        placed = self.worker.placed(lane)
        prefix = self.worker.options.layout.attempt_prefix(lane, "", "").removesuffix(".")
        temps = [key.removeprefix(prefix) for key in self.worker.output.keys(TMP) if key.startswith(prefix)]
        for name in sorted({temp.partition(".")[0] for temp in temps} & placed):
            self.worker.attempts.sweep(lane, name)
        return placed

    def _hour(self, venue: Venue, ledger: LegsLedger, files: LegFiles, begin: datetime, now_ns: int) -> HourOutcome:
        begin_ns, lane = _ns(begin), Lane.merged(venue.source, venue.exchange)
        end_ns, commit = begin_ns + HOUR_NS, self.worker.attempts.committed(lane, hour_name(begin_ns))
        if commit is None:
            since_ns = begin_ns - self.worker.options.lookback.reach_ns
            told_ns = end_ns + self.delays.told_ns

            def stopped_ns(leg: Leg) -> set[int]:
                if now_ns < end_ns + self.delays.sealed_ns:  # one that was started again may not be sealed yet
                    return set()
                return {row.from_ns for row in files.coverage(leg, told_ns) if row.ends_boot}

            waits = ledger.waits_for(since_ns, end_ns, None if self.is_over else stopped_ns)
            if waits:
                return HourOutcome(venue.source, venue.exchange, begin, waits_for=tuple(waits))
        # Files are listed again: everything the hour is made of stands by now.
        merging = _Merging(self.worker, files.anew(), ledger, lane, begin_ns)
        rows: Counter[str] = Counter()
        for part in merging.place(commit).parts:
            rows[str(part.dataset)] += part.rows
        return HourOutcome(venue.source, venue.exchange, begin, is_new=True, rows=dict(rows), feeds=merging.feeds)

    def _files(self, venue: Venue) -> LegFiles:
        worker = self.worker
        return LegFiles(worker.output, worker.options.layout, venue.source, venue.exchange, self.follows_journal)


@dataclass(slots=True)
class _Merging:
    """One hour on its way into its place. It is computed when its rows are wanted, and once."""

    worker: Worker
    files: LegFiles
    ledger: LegsLedger
    lane: Lane
    begin_ns: int
    _made: MergedHour | None = None

    @property
    def feeds(self) -> tuple[FeedLeads, ...]:
        """How the legs did, where that was found out now."""
        return self._made.feeds if self._made else ()

    def place(self, commit: CommitRecord | None) -> CommitRecord:
        """Commit the hour where it is not yet, put its parts in place, and return the commit that stands."""
        worker, attempts = self.worker, self.worker.attempts
        manifest = self._manifest()
        if commit is None:
            files = attempts.fitting(manifest, self._hour(manifest).parts, worker.options.compression)
            attempts.commit(self.lane, attempts.first(manifest, files, worker.clock.wall_ns()))
            commit = attempts.standing(manifest)
        while True:
            try:
                attempts.place(self.lane, commit)
            except PartLostError as error:
                files = attempts.fitting(manifest, self._hour(manifest).parts, worker.options.compression)
                again = attempts.write(manifest, files, f"{commit.attempt + 1}-{secrets.token_hex(4)}")
                attempts.commit(self.lane, attempts.recomputed(commit, error.lost, again))
                commit = attempts.standing(manifest)
            else:
                return commit

    def _hour(self, manifest: Manifest) -> MergedHour:
        if self._made is None:
            options, end_ns = self.worker.options, self.begin_ns + HOUR_NS
            since_ns = self.begin_ns - options.lookback.reach_ns
            hour = HourOfLegs(
                manifest,
                self.ledger.first_ns(),
                self.begin_ns,
                end_ns,
                feeds=frozenset(
                    feed
                    for feed in feeds_of(self.ledger.overlapping(since_ns, end_ns))
                    if feed.channel not in options.disabled
                ),
                coverage=(self.files.coverage(Leg.A, end_ns), self.files.coverage(Leg.B, end_ns)),
                traded=self.ledger.traded_before(since_ns),
            )
            self._made = merge_hour(hour, options, self.files)
        return self._made

    def _manifest(self) -> Manifest:
        """Return what names the hour and says what it was made of; it is not stored: no segment stands behind it."""
        sources = self.ledger.overlapping(self.begin_ns, self.begin_ns + HOUR_NS)
        name = hour_name(self.begin_ns)
        made_of = "\n".join(f"{one.lane} {one.name} {one.sha256}" for one in sources)
        return Manifest(
            name=name,
            file="",
            source=self.lane.source,
            exchange=self.lane.exchange,
            shard=self.lane.shard,
            epoch=0,
            first=0,
            last=0,
            records=0,
            size_bytes=0,
            sha256=hashlib.sha256(made_of.encode()).hexdigest(),
            first_capture_ns=self.begin_ns + 1,
            last_capture_ns=self.begin_ns + HOUR_NS,
            feeds=(),
            last_seqs=(),
            holes=(),
            last_block=None,
            previous=None,
            final=False,
            created_ns=self.worker.clock.wall_ns(),
            software=SOFTWARE,
        )


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9
