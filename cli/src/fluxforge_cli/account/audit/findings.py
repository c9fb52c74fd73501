"""Findings: what keeps the books open, in words that scripts may rely on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fluxforge_cli.account.audit.ranges import Ranges


class Kind(StrEnum):
    """What is wrong. The words are stable."""

    MISSING = "missing"
    """Seqs that were given and stand nowhere, nor are they named."""
    DOUBLED = "doubled"
    """Seqs that stand more than once."""
    UNKNOWN = "unknown"
    """Seqs that stand in a later stage and in none before."""
    CHAIN = "chain"
    """Manifests that do not follow one another."""
    NOT_STORED = "not_stored"
    """A manifest without data and without a commit."""
    NOT_SEALED = "not_sealed"
    """Data or a commit without a manifest."""
    UNPROCESSED = "unprocessed"
    """A sealed segment whose parts do not stand in their place yet."""
    DEAD = "dead"
    """A segment that cannot be processed."""
    COMMIT_DIFFERS = "commit_differs"
    """A commit of other bytes than the manifest's."""
    PART_MISSING = "part_missing"
    """A committed part that does not stand."""
    PART_DIFFERS = "part_differs"
    """A part of another size or checksum than committed, or one that cannot be read."""
    PART_UNKNOWN = "part_unknown"
    """A file among the datasets that no commit lists."""
    ROWS_DIFFER = "rows_differ"
    """Counts that do not agree with what was committed or sealed."""
    BYTES_DIFFER = "bytes_differ"
    """A segment whose bytes are not those that were sealed."""
    UNREADABLE = "unreadable"
    """A manifest, commit or mark that cannot be read."""


@dataclass(frozen=True, slots=True)
class FeedId:
    """One feed of one boot; control records have no symbol."""

    boot: str
    channel: str
    symbol: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `first` and `last`: seqs of the feed and boot, inclusive; None where it has none."""

    kind: Kind
    lane: str | None
    detail: str
    boot: str | None = None
    channel: str | None = None
    symbol: str | None = None
    first: int | None = None
    last: int | None = None


def of_ranges(kind: Kind, lane: str, feed: FeedId, ranges: Ranges, detail: str) -> Iterator[Finding]:
    """Yield a finding for each range of seqs of a feed."""
    for first, last in ranges:
        yield Finding(kind, lane, detail, feed.boot, feed.channel, feed.symbol, first, last)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without repeats: by lane, then as they were found."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: one.lane or ""))
