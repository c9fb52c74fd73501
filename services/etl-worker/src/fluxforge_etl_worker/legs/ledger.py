"""The ledger of two legs: which hours of an exchange are over in both, and what they were made of.

It reads manifests and marks, which stay when data goes (ADR-0007).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fluxforge.domain.control import FeedKey
from fluxforge.domain.errors import ManifestError
from fluxforge.domain.lane import Lane, Leg
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge.domain.segment import Manifest, SegmentName, hour_of
from fluxforge_etl_worker.legs.hour import HOUR_NS
from fluxforge_etl_worker.listing import listed
from fluxforge_etl_worker.work import Worker


@dataclass(frozen=True, slots=True, order=True)
class Venue:
    """An exchange of a source that two legs capture."""

    source: str
    exchange: str


@dataclass(frozen=True, slots=True)
class Delays:
    """How long until it is known what a leg says, ns, while bus and segmenter run.

    `told_ns`: from the begin of a hole until it is told of; `sealed_ns`: from a record's capture until it is sealed.
    """

    told_ns: int
    sealed_ns: int


@dataclass(slots=True)
class LegsLedger:
    """The lanes of both legs of one exchange, rescue lanes among them, by their segments' names in order."""

    worker: Worker
    delays: Delays
    segments: dict[Lane, list[str]]
    _manifests: dict[tuple[Lane, str], Manifest] = field(default_factory=dict)

    def first_ns(self) -> int:
        """Return the begin of the hour in which leg B begins."""
        first = [
            self._manifest(lane, name)
            for lane, names in self.segments.items()
            for n, name in enumerate(names)
            if lane.leg is Leg.B and (n == 0 or not _hour(name))
        ]
        return min(manifest.first_capture_ns for manifest in first) // HOUR_NS * HOUR_NS

    def waits_for(self, after_ns: int, until_ns: int, stopped_ns: Callable[[Leg], set[int]] | None) -> list[str]:
        """Return what an hour waits for. `stopped_ns`: when a leg's collectors ended in order; None: nobody asks.

        A hole that begins in the hour may be told of behind it: a crash by what follows it in the lane, a stall when
        the silence was long enough. What tells of it is waited for as well.
        """
        waits = [f"{lane}: nothing of it is sealed yet" for lane in self._unborn()] if stopped_ns else []
        told_ns = until_ns + self.delays.told_ns
        for lane in sorted(self.segments):
            known = self._some(lane, after_ns)
            waits += [
                self._unplaced(lane, manifest.name)
                for manifest in _telling(known, after_ns, told_ns)
                if not self.worker.attempts.is_placed(lane, manifest.name)
            ]
            if stopped_ns and not lane.is_rescue and not self._has_passed(lane, told_ns, stopped_ns):
                came = known[-1].last_capture_ns if known else 0
                waits.append(f"{lane}: sealed up to {_said(came)}, wanted beyond {_said(told_ns)}")
        return waits

    def overlapping(self, after_ns: int, until_ns: int) -> list[Manifest]:
        """Return the segments with records in a stretch of time."""
        return [
            manifest
            for lane in sorted(self.segments)
            for manifest in self._some(lane, after_ns)
            if _overlaps(manifest, after_ns, until_ns)
        ]

    def traded_before(self, time_ns: int) -> frozenset[str]:
        """Return the symbols whose trades feed had a record by a time, as far as segments that end there tell."""
        found: set[str] = set()
        for lane in self.segments:
            ended = [one for one in self._some(lane, time_ns) if one.last_capture_ns <= time_ns]
            last_seqs = ended[-1].last_seqs if ended else ()
            found.update(last.symbol for last in last_seqs if last.symbol and last.channel == "trades")
        return frozenset(found)

    def _unborn(self) -> list[Lane]:
        """Return the lanes that are missing: each leg has one for every shard of the set it wrote last."""
        newest = {leg: self._newest_of(leg) for leg in (Leg.A, Leg.B)}
        one = next(lane for lane in newest.values() if lane)
        sets = {leg: (lane or one).shards for leg, lane in newest.items()}
        wanted = (f"{index}of{shards}{leg}" for leg, shards in sets.items() for index in range(shards))
        lanes = (Lane(one.source, one.exchange, shard) for shard in wanted)
        return [lane for lane in lanes if lane not in self.segments]

    def _newest_of(self, leg: Leg) -> Lane | None:
        its = [lane for lane in self.segments if lane.leg is leg]
        return max(its, key=lambda lane: self._manifest(lane, self.segments[lane][-1]).last_capture_ns, default=None)

    def _has_passed(self, lane: Lane, until_ns: int, stopped_ns: Callable[[Leg], set[int]]) -> bool:
        """Return whether nothing of a lane can lie before a time any more: it went on, or it ended in order."""
        known = self._some(lane, until_ns)
        if not known:
            return False
        newest = known[-1]
        if newest.last_capture_ns > until_ns or newest.final:
            return True
        return newest.last_capture_ns in stopped_ns(lane.leg)

    def _unplaced(self, lane: Lane, segment: str) -> str:
        if self.worker.is_dead(lane, segment):
            return f"{lane} {segment}: it cannot be processed; see `fluxforge dead ls`"
        return f"{lane} {segment}: it is sealed, and not in Parquet yet"

    def _some(self, lane: Lane, after_ns: int) -> list[Manifest]:
        """Return the manifests of a lane from the last one that begins an hour before a time on, in their order.

        A name that tells no hour says nothing of those before it: its manifest is always among them.
        """
        names = self.segments[lane]
        begin = hour_of(max(after_ns - HOUR_NS, 0))
        first = max((n for n, name in enumerate(names) if "" < _hour(name) < begin), default=0)
        chosen = [name for n, name in enumerate(names) if n >= first or not _hour(name)]
        return sorted((self._manifest(lane, name) for name in chosen), key=lambda one: one.last_capture_ns)

    def _manifest(self, lane: Lane, segment: str) -> Manifest:
        key = (lane, segment)
        if key not in self._manifests:
            self._manifests[key] = self.worker.manifest(lane, segment)
        return self._manifests[key]


def ledgers(worker: Worker, delays: Delays) -> dict[Venue, LegsLedger]:
    """Return the ledger of every exchange that has a leg B."""
    lanes = {
        lane: [segment.name for segment in segments if segment.has_manifest]
        for lane, segments in listed(worker.raw, worker.options.layout).items()
    }
    venues = {Venue(lane.source, lane.exchange) for lane, names in lanes.items() if lane.leg is Leg.B and names}
    return {
        venue: LegsLedger(
            worker,
            delays,
            {lane: names for lane, names in lanes.items() if Venue(lane.source, lane.exchange) == venue and names},
        )
        for venue in sorted(venues)
    }


def _overlaps(manifest: Manifest, after_ns: int, until_ns: int) -> bool:
    return bool(manifest.records) and manifest.last_capture_ns > after_ns and manifest.first_capture_ns <= until_ns


def _telling(known: Sequence[Manifest], after_ns: int, told_ns: int) -> Iterator[Manifest]:
    """Yield the segments of a lane that end after a time, until one goes on beyond another time."""
    for manifest in known:
        if manifest.records and manifest.last_capture_ns > after_ns:
            yield manifest
            if manifest.last_capture_ns > told_ns:
                return


def feeds_of(manifests: Sequence[Manifest]) -> frozenset[FeedKey]:
    """Return the feeds of which segments hold records."""
    return frozenset(
        FeedKey(feed.channel, feed.symbol)
        for manifest in manifests
        for feed in manifest.feeds
        if feed.symbol is not None and feed.channel != CONTROL_CHANNEL
    )


def hour_name(begin_ns: int) -> str:
    """Return the name of the hour that begins at a time, such as `hour_20261122T10`."""
    return f"hour_{hour_of(begin_ns)}"


def _hour(segment: str) -> str:
    try:
        return SegmentName.parse(segment).hour
    except ManifestError:
        return ""  # put there by hand: nobody knows when it is of


def _said(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // 10**9, tz=UTC):%Y-%m-%d %H:%M:%S}"
