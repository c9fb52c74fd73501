"""Closing: the books of all lanes compared stage by stage, counted, and every finding put in order. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fluxforge.domain.control import LOST
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import FILE_BOOT
from fluxforge_cli.account.audit.books import Books, LaneBooks
from fluxforge_cli.account.audit.boots import Boot, Hole, boots_of
from fluxforge_cli.account.audit.chain import chain
from fluxforge_cli.account.audit.findings import FeedId, Finding, Kind, in_order
from fluxforge_cli.account.audit.processed import SegmentAccount, processed
from fluxforge_cli.account.audit.ranges import Ranges, size
from fluxforge_cli.account.audit.seqs import FeedAccount, accounts, adopted_boots, names_of


@dataclass(slots=True)
class LaneAccount:
    """The books of a lane and its rescue lanes, in records. What the fields mean stands in docs/audit.md."""

    lane: str
    rescue: tuple[str, ...] = ()
    boots: tuple[Boot, ...] = ()
    holes: tuple[Hole, ...] = ()
    feeds: int = 0
    segments: int = 0
    parts: int = 0
    captured: int = 0
    sealed: int = 0
    named: int = 0
    lost: int = 0
    in_flight: int = 0
    in_parquet: int = 0
    quarantined: int = 0
    off: int = 0
    rowless: int = 0
    unprocessed: int = 0
    dead: int = 0
    given_up: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. `bus` and `spool`: whether these were looked at."""

    lanes: tuple[LaneAccount, ...]
    findings: tuple[Finding, ...]
    bus: bool
    spool: bool
    explained: Mapping[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether the books close."""
        return not self.findings


def close(books: Books) -> Audit:
    """Return the account of every lane and what keeps the books open."""
    lanes, findings = [], list(books.findings)
    for family in _families(books.lanes):
        account, found = _close_lane(family, books)
        lanes.append(account)
        findings += found
    findings += [Finding(Kind.PART_UNKNOWN, None, f"{key}: no commit lists it") for key in books.unknown_parts]
    return Audit(tuple(lanes), in_order(findings), books.bus, books.spool)


def home(lane: Lane) -> Lane:
    """Return the lane that a rescue lane belongs to; any other is its own."""
    return Lane(lane.source, lane.exchange, lane.shard.partition("r")[0]) if lane.is_rescue else lane


def _families(lanes: Iterable[LaneBooks]) -> list[list[LaneBooks]]:
    families: dict[Lane, list[LaneBooks]] = {}
    for lane in sorted(lanes, key=lambda one: (home(one.lane), one.lane.is_rescue, one.lane)):
        families.setdefault(home(lane.lane), []).append(lane)
    return list(families.values())


def _close_lane(lanes: Sequence[LaneBooks], books: Books) -> tuple[LaneAccount, list[Finding]]:
    named = names_of(lanes)
    feeds, findings = accounts(lanes, named)
    boots, holes = boots_of(lanes, adopted=adopted_boots(lanes))
    holes += [hole for lane in lanes for hole in _lost(lane)]
    account = LaneAccount(
        lane=str(home(lanes[0].lane)),
        rescue=tuple(str(lane.lane) for lane in lanes if lane.lane.is_rescue),
        boots=tuple(boots),
        holes=tuple(holes),
        feeds=len({(feed.channel, feed.symbol) for feed in feeds}),
        segments=sum(len(lane.segments) for lane in lanes),
        parts=sum(len(one.commit.parts) for lane in lanes for one in lane.segments if one.commit),
    )
    _count_seqs(account, feeds, lanes)
    for lane in lanes:
        findings += chain(lane)
        findings += _process(lane, named, account, books)
    return account, findings


def _process(lane: LaneBooks, named: Mapping[FeedId, Ranges], account: LaneAccount, books: Books) -> Iterable[Finding]:
    for segment in lane.segments:
        one: SegmentAccount = processed(lane, segment, named, keeps_books=books.keeps_books)
        account.in_parquet += one.in_parquet
        account.quarantined += one.quarantined
        account.off += one.off
        account.rowless += one.rowless
        account.unprocessed += one.unprocessed
        account.dead += one.dead
        account.given_up += one.given_up
        account.removed += one.removed
        yield from one.findings


def _count_seqs(account: LaneAccount, feeds: Mapping[FeedId, FeedAccount], lanes: Iterable[LaneBooks]) -> None:
    for feed, one in feeds.items():
        if feed.boot == FILE_BOOT:  # every file counts from 1
            continue
        account.captured += size(one.captured)
        account.sealed += size(one.sealed)
        account.named += size(one.named)
        account.lost += size(one.lost)
        account.in_flight += size(one.in_flight)
    for lane in lanes:
        for segment in lane.segments:
            by_line = sum(feed.count for feed in segment.manifest.feeds if feed.boot == FILE_BOOT)
            account.captured += by_line
            account.sealed += by_line


def _lost(lane: LaneBooks) -> Iterable[Hole]:
    for segment in lane.segments:
        manifest = segment.manifest
        times = manifest.hole_ns if len(manifest.hole_ns) == len(manifest.holes) else ((0, 0),) * len(manifest.holes)
        for (first, last), (from_ns, to_ns) in zip(manifest.holes, times, strict=True):
            yield Hole(
                LOST,
                str(lane.lane),
                from_ns or manifest.after_ns,
                to_ns or None,
                epoch=manifest.epoch,
                first=first,
                last=last,
            )
