"""Processed: one sealed segment against its commit, and the commit against the parts that stand. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.instrument import decode_component
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge_cli.account.audit.books import LaneBooks, PartLook, Segment
from fluxforge_cli.account.audit.chain import is_on_its_way
from fluxforge_cli.account.audit.findings import FeedId, Finding, Kind, of_ranges
from fluxforge_cli.account.audit.parts import channel_of
from fluxforge_cli.account.audit.ranges import NONE, Ranges, common, minus, repeated, size, union
from fluxforge_cli.account.audit.seqs import sealed_seqs

_ROW_PER_RECORD = frozenset({"ticker", "orderbook"})
"""Channels whose every record is one row; a record of any other is a list, and may be an empty one."""
_BOOKS = "orderbook"


@dataclass(slots=True)
class SegmentAccount:
    """What became of a segment's records. `of_feeds`: those in Parquet, by feed and boot.

    `rowless` records stand in Parquet with an empty list; `off` are left out. `given_up`: a person did, of a segment
    that was dead. `removed`: on purpose, from Parquet, as a journal says.
    """

    of_feeds: dict[FeedId, int] = field(default_factory=dict)
    quarantined: int = 0
    off: int = 0
    rowless: int = 0
    unprocessed: int = 0
    dead: int = 0
    given_up: int = 0
    removed: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def in_parquet(self) -> int:
        """Records that stand in Parquet."""
        return sum(self.of_feeds.values())


def processed(
    lane: LaneBooks, segment: Segment, named: Mapping[FeedId, Ranges], *, keeps_books: bool
) -> SegmentAccount:
    """Return the account of one segment."""
    account, name = SegmentAccount(), segment.manifest.name
    commit = segment.commit
    if segment.dead and not (commit and segment.placed):
        account.dead = segment.manifest.records
        account.findings.append(Finding(Kind.DEAD, str(lane.lane), f"{name}: {segment.dead}"))
        return account
    if commit is None:
        account.unprocessed = segment.manifest.records
        is_stored = segment.size_bytes is not None or not segment.manifest.records
        if is_stored and not is_on_its_way(lane, segment, is_newest=segment is lane.segments[-1]):
            account.findings.append(Finding(Kind.UNPROCESSED, str(lane.lane), f"{name}: no commit"))
        return account
    if not segment.placed:
        account.findings.append(Finding(Kind.UNPROCESSED, str(lane.lane), f"{name}: committed, not placed"))
    _Comparison(lane, segment, commit, named, keeps_books=keeps_books, account=account).run()
    return account


class _Comparison:
    """A segment, its commit and its parts."""

    def __init__(
        self,
        lane: LaneBooks,
        segment: Segment,
        commit: CommitRecord,
        named: Mapping[FeedId, Ranges],
        *,
        keeps_books: bool,
        account: SegmentAccount,
    ) -> None:
        self._lane = str(lane.lane)
        self._segment = segment
        self._manifest = segment.manifest
        self._commit = commit
        self._named = named
        self._keeps_books = keeps_books
        self._account = account
        self._committed = {FeedId(one.boot, one.channel, one.symbol): union(one.ranges) for one in commit.feeds}
        self._held = _held(commit, segment.parts)
        self._rows = {feed: union(ranges) for feed, ranges in self._held.items()}
        self._unsound = frozenset(_where(commit, segment.parts, _is_unsound))
        self._edited = frozenset(_where(commit, segment.parts, lambda _, look: look.is_edited))

    def run(self) -> None:
        """Compare, and write down what was found."""
        if self._commit.identity != self._manifest.identity:
            self._find(Kind.COMMIT_DIFFERS, f"committed {self._commit.identity}, sealed {self._manifest.identity}")
        if self._commit.dropped:
            self._account.given_up = self._manifest.records
        else:
            self._compare_counts()
            self._compare_sealed()
        for part in self._commit.parts:
            self._compare_part(part, self._segment.parts.get(part.final_key, PartLook(None)))
        for feed, ranges in self._committed.items():
            self._compare_rows(feed, ranges)
        for feed, ranges in self._rows.items():
            unknown = minus(ranges, self._committed.get(feed, NONE))
            self._find_ranges(Kind.UNKNOWN, feed, unknown, "in Parquet, and not in the commit")

    def _compare_counts(self) -> None:
        found = sum(feed.count for feed in self._commit.feeds) + self._commit.quarantined
        if found != self._commit.records:
            self._find(Kind.ROWS_DIFFER, f"{self._commit.records} lines were read, {found} are told of")
        lines = self._manifest.records if self._manifest.epoch else self._manifest.last
        if lines != self._commit.records:
            self._find(Kind.ROWS_DIFFER, f"{lines} records were sealed, {self._commit.records} lines were read")
        self._account.quarantined = self._commit.quarantined

    def _compare_sealed(self) -> None:
        """Hold what was read against what was sealed; what lacks must be in quarantine, line by line."""
        sealed, committed = sealed_seqs(self._segment, self._named), self._committed
        lacking = {feed: minus(ranges, committed.get(feed, NONE)) for feed, ranges in sealed.items()}
        if sum(map(size, lacking.values())) > self._commit.quarantined:
            for feed, ranges in lacking.items():
                self._find_ranges(
                    Kind.MISSING, feed, ranges, f"sealed, not committed; {self._commit.quarantined} lines in quarantine"
                )
        told = {FeedId(one.boot, one.channel, one.symbol): union(one.ranges) for one in self._manifest.feeds}
        for feed, ranges in committed.items():
            self._find_ranges(Kind.UNKNOWN, feed, minus(ranges, told.get(feed, NONE)), "committed, in no manifest")
        for one in self._commit.feeds:
            feed = FeedId(one.boot, one.channel, one.symbol)
            self._find_ranges(Kind.DOUBLED, feed, repeated(one.ranges), "twice in the segment")

    def _compare_part(self, part: Part, look: PartLook) -> None:
        key = part.final_key
        if look.size_bytes is None:
            if self._segment.placed:  # else it may be on its way to its place
                self._find(Kind.PART_MISSING, key)
        elif look.size_bytes != part.size_bytes:
            self._find(Kind.PART_DIFFERS, f"{key}: {part.size_bytes} bytes were committed, {look.size_bytes} stand")
        elif look.trouble:
            self._find(Kind.PART_DIFFERS, f"{key}: {look.trouble}")
        elif look.sha256 not in {None, part.sha256}:
            self._find(Kind.PART_DIFFERS, f"{key}: sha256 {part.sha256} was committed, {look.sha256} stands")
        if look.rows not in {None, part.rows}:
            self._find(Kind.ROWS_DIFFER, f"{key}: {part.rows} rows were committed, {look.rows} stand")
        for feed, ranges in look.doubled.items():
            self._find_ranges(Kind.DOUBLED, feed, ranges, f"twice in {key}")

    def _compare_rows(self, feed: FeedId, committed: Ranges) -> None:
        """Hold the rows of one feed against what was committed of it, and count."""
        if feed.channel == CONTROL_CHANNEL:
            self._account.of_feeds[feed] = size(committed)  # rows of coverage are of feeds, not of records
            return
        if feed.channel in self._commit.disabled_channels or (feed.channel == _BOOKS and self._books_are_off()):
            self._account.off += size(committed)
            return
        rows = self._rows.get(feed, NONE)
        lacking = minus(committed, rows)
        place = {(feed.channel, None), (feed.channel, feed.symbol)}
        lacks_part = not self._unsound.isdisjoint(place)
        if not lacks_part and not self._edited.isdisjoint(place):
            self._account.of_feeds[feed] = size(common(committed, rows))
            self._account.removed += size(lacking)
        elif feed.channel in _ROW_PER_RECORD or lacks_part:
            self._find_ranges(Kind.MISSING, feed, lacking, "committed, not in Parquet")
            self._account.of_feeds[feed] = size(common(committed, rows))
        else:
            self._account.of_feeds[feed] = size(committed)
            self._account.rowless += size(lacking)
        again = repeated(self._held.get(feed, ()))
        self._find_ranges(Kind.DOUBLED, feed, again, "in more than one part of the segment")

    def _books_are_off(self) -> bool:
        return not self._keeps_books and not any(channel_of(part.dataset) == _BOOKS for part in self._commit.parts)

    def _find(self, kind: Kind, detail: str) -> None:
        self._account.findings.append(Finding(kind, self._lane, f"{self._manifest.name}: {detail}"))

    def _find_ranges(self, kind: Kind, feed: FeedId, ranges: Ranges, detail: str) -> None:
        self._account.findings += of_ranges(kind, self._lane, feed, ranges, f"{self._manifest.name}: {detail}")


def _held(commit: CommitRecord, parts: Mapping[str, PartLook]) -> dict[FeedId, list[tuple[int, int]]]:
    """Return what each part of a commit holds, part by part, by feed and boot."""
    found: dict[FeedId, list[tuple[int, int]]] = {}
    for part in commit.parts:
        look = parts.get(part.final_key)
        for feed, ranges in look.seqs.items() if look else ():
            found.setdefault(feed, []).extend(ranges)
    return found


def _where(
    commit: CommitRecord, parts: Mapping[str, PartLook], holds: Callable[[Part, PartLook], bool]
) -> Iterator[tuple[str | None, str | None]]:
    """Yield channel and symbol (None: any) of each part of which something holds."""
    for part in commit.parts:
        if holds(part, parts.get(part.final_key, PartLook(None))):
            yield channel_of(part.dataset), _symbol_in(part.final_key)


def _is_unsound(part: Part, look: PartLook) -> bool:
    """Return whether a part is not there or cannot be trusted."""
    return look.size_bytes is None or look.trouble is not None or look.rows != part.rows


def _symbol_in(key: str) -> str | None:
    """Return the symbol that a part's partition is of; None where its path names none."""
    names = (name.partition("=") for name in key.split("/"))
    return next((decode_component(value) for column, _, value in names if column == "symbol"), None)
