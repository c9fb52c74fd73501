"""Seqs: what every boot gave a seq, and where it is: sealed, named, in flight, or nowhere. Pure.

A boot's seqs are counted over its lane and the rescue lanes of it, for a boot may have ended up in one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fluxforge.domain.control import Event
from fluxforge.domain.record import FILE_BOOT
from fluxforge_cli.account.audit.books import LaneBooks, Segment
from fluxforge_cli.account.audit.findings import FeedId, Finding, Kind, of_ranges
from fluxforge_cli.account.audit.ranges import NONE, Ranges, common, minus, repeated, size, top, union

Place = tuple[int, Ranges]
"""Position of a segment in its lane, and what it holds of a feed."""


@dataclass(slots=True)
class FeedAccount:
    """What became of the seqs of one feed and boot. `lost`: in a named hole that names no seqs."""

    captured: Ranges = NONE
    sealed: Ranges = NONE
    named: Ranges = NONE
    lost: Ranges = NONE
    in_flight: Ranges = NONE


@dataclass(slots=True)
class _Evidence:
    """Everything in which a feed and boot occurs."""

    places: list[Place] = field(default_factory=list)
    named: list[tuple[int, int]] = field(default_factory=list)
    in_flight: list[tuple[int, int]] = field(default_factory=list)
    aside: list[tuple[int, int]] = field(default_factory=list)
    known: int = 0


def names_of(lanes: Iterable[LaneBooks]) -> dict[FeedId, Ranges]:
    """Return the seqs that control records name as lost."""
    named: dict[FeedId, list[tuple[int, int]]] = {}
    for lane in lanes:
        for one in lane.said():
            if one.feed is not None and one.lost:
                named.setdefault(one.feed, []).extend(one.lost)
    return {feed: union(ranges) for feed, ranges in named.items()}


def adopted_boots(lanes: Iterable[LaneBooks]) -> frozenset[str]:
    """Return the boots that stand in files put there by hand, and nowhere else: what they captured is not known."""
    by_hand: set[str] = set()
    sealed: set[str] = set()
    for lane in lanes:
        sealed |= {feed.boot for feed in lane.in_flight.seqs}
        for segment in lane.segments:
            (by_hand if segment.manifest.epoch == 0 else sealed).update(one.boot for one in segment.manifest.feeds)
    return frozenset(by_hand - sealed)


def accounts(
    lanes: Sequence[LaneBooks], named: Mapping[FeedId, Ranges]
) -> tuple[dict[FeedId, FeedAccount], list[Finding]]:
    """Return the account of every feed and boot of a lane and its rescue lanes, and what is missing or doubled."""
    adopted = adopted_boots(lanes)
    lane = str(lanes[0].lane)
    told = _told(lanes)
    marks = [mark for one in lanes for mark in _marks(one, told)]
    found: dict[FeedId, FeedAccount] = {}
    findings: list[Finding] = []
    for feed, evidence in _evidence(lanes, named).items():
        sealed = [ranges for _, ranges in evidence.places]
        account = FeedAccount(sealed=union(*sealed))
        account.named = minus(union(evidence.named), account.sealed)
        account.in_flight = minus(union(evidence.in_flight), union(account.sealed, account.named))
        if feed.boot in adopted:
            account.captured = account.sealed
        else:
            highest = max(evidence.known, top(account.sealed), top(account.named), top(account.in_flight))
            account.captured = ((1, max(highest, top(union(evidence.aside)))),)
        twice = repeated(one for ranges in sealed for one in ranges)
        if feed.boot != FILE_BOOT:
            findings += of_ranges(Kind.DOUBLED, lane, feed, twice, "sealed in more than one segment")
        missing = minus(account.captured, union(account.sealed, account.named, account.in_flight))
        account.lost = union(one for one in missing if _is_marked(one, evidence.places, marks))
        findings += _missing(lane, feed, minus(missing, account.lost), union(evidence.aside))
        found[feed] = account
    return found, findings


def _missing(lane: str, feed: FeedId, missing: Ranges, aside: Ranges) -> Iterator[Finding]:
    kept = common(missing, aside)
    yield from of_ranges(Kind.MISSING, lane, feed, kept, "in spool files put aside, in no manifest")
    yield from of_ranges(Kind.MISSING, lane, feed, minus(missing, kept), "in no manifest and not named")


def _evidence(lanes: Iterable[LaneBooks], named: Mapping[FeedId, Ranges]) -> dict[FeedId, _Evidence]:
    found: dict[FeedId, _Evidence] = {}
    for lane in lanes:
        for position, segment in enumerate(lane.segments):
            for feed, ranges in sealed_seqs(segment, named).items():
                found.setdefault(feed, _Evidence()).places.append((position, ranges))
            for last in segment.manifest.last_seqs:
                one = found.setdefault(FeedId(last.boot, last.channel, last.symbol), _Evidence())
                one.known = max(one.known, last.seq)
        for stray in lane.strays:
            for seqs in stray.feeds:
                one = found.setdefault(FeedId(seqs.boot, seqs.channel, seqs.symbol), _Evidence())
                one.known = max(one.known, top(seqs.ranges))
        for feed, ranges in lane.in_flight.seqs.items():
            found.setdefault(feed, _Evidence()).in_flight += ranges
        for feed, ranges in lane.in_flight.aside.items():
            found.setdefault(feed, _Evidence()).aside += ranges
    for feed, ranges in named.items():
        found.setdefault(feed, _Evidence()).named += ranges
    return found


def sealed_seqs(segment: Segment, named: Mapping[FeedId, Ranges]) -> dict[FeedId, Ranges]:
    """Return what a segment holds.

    A manifest is made of block headers, which name the first and last seq of a block: what was left out between them
    does not stand there, and the manifest's count tells that something was. It is what is named; where that does not
    add up, the commit has read every line.
    """
    exact = segment.commit.feeds if segment.commit else ()
    read = {FeedId(one.boot, one.channel, one.symbol): union(one.ranges) for one in exact}
    sealed: dict[FeedId, Ranges] = {}
    for one in segment.manifest.feeds:
        feed, ranges = FeedId(one.boot, one.channel, one.symbol), union(one.ranges)
        if size(ranges) > one.count:
            left = minus(ranges, named.get(feed, NONE))
            ranges = left if size(left) == one.count or feed not in read else common(ranges, read[feed])
        sealed[feed] = ranges
    return sealed


def _told(lanes: Iterable[LaneBooks]) -> dict[str, int]:
    """Return the record that first told of each hole of dropped records; others repeat that it is open."""
    told: dict[str, int] = {}
    for lane in lanes:
        for one in lane.said():
            if one.event == Event.DROPPED and one.hole is not None:
                told[one.hole] = min(one.seq, told.get(one.hole, one.seq))
    return told


def _marks(lane: LaneBooks, told: Mapping[str, int]) -> Iterator[int]:
    """Yield the positions of segments that name a loss without seqs: a hole of the stream, blocks the bus lost."""
    for position, segment in enumerate(lane.segments):
        unnamed = (one for one in segment.said if one.event == Event.DROPPED and not one.lost)
        if segment.manifest.holes or any(one.hole is None or told[one.hole] == one.seq for one in unnamed):
            yield position


def _is_marked(missing: tuple[int, int], places: Sequence[Place], marks: Sequence[int]) -> bool:
    """Return whether a loss that names no seqs lies between the records around a missing range."""
    first, last = missing
    before = max((at for at, ranges in places if ranges and ranges[0][0] < first), default=-1)
    after = min((at for at, ranges in places if ranges and ranges[-1][1] > last), default=None)
    return any(before <= mark and (after is None or mark <= after) for mark in marks)
