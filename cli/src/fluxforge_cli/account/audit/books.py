"""Books: everything an audit compares, as it was read; nothing here decides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest
from fluxforge_cli.account.audit.findings import FeedId, Finding
from fluxforge_cli.account.audit.ranges import Ranges

Seqs = Mapping[FeedId, Ranges]


@dataclass(frozen=True, slots=True)
class Said:
    """What a control record or a coverage row says of one feed, or of the lane (`feed` None). Times ns UTC.

    `lost` are the seqs that a `dropped` or `rejected` names; `seq` is that of the record.
    """

    event: str
    boot: str
    feed: FeedId | None
    lost: Ranges
    from_ns: int | None
    to_ns: int | None
    hole: str | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class PartLook:
    """What stands under the key of a part. `size_bytes` None: nothing; `trouble`: why it cannot be read.

    `seqs` and `doubled` are by feed and boot, where the dataset has seqs; `sha256` where it was asked for. `is_edited`:
    its rows were changed on purpose since, as the journal says: what lacks was removed.
    """

    size_bytes: int | None
    rows: int | None = None
    seqs: Seqs = field(default_factory=dict)
    doubled: Seqs = field(default_factory=dict)
    said: tuple[Said, ...] = ()
    names_seqs: bool = False
    sha256: str | None = None
    trouble: str | None = None
    is_edited: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed segment and what became of it. `size_bytes`: of the object as it stands; None: it does not.

    `dead`: why it cannot be processed; `trouble`: where its bytes differ from what was sealed; `parts` are by key.
    """

    manifest: Manifest
    size_bytes: int | None
    commit: CommitRecord | None
    placed: bool
    dead: str | None
    parts: Mapping[str, PartLook]
    said: tuple[Said, ...]
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """What of a lane stands on the bus or in the spool. `sealing`: a seal of this name is on its way.

    `aside` are the seqs in spool files that nobody will send any more.
    """

    seqs: Seqs = field(default_factory=dict)
    aside: Seqs = field(default_factory=dict)
    said: tuple[Said, ...] = ()
    sealing: str | None = None
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class LaneBooks:
    """One lane; `segments` in order of epoch and stream.

    `strays` are commits without a manifest, `unsealed` the keys of data without one.
    """

    lane: Lane
    segments: tuple[Segment, ...]
    strays: tuple[CommitRecord, ...]
    unsealed: tuple[str, ...]
    in_flight: InFlight

    def said(self) -> Iterator[Said]:
        """Yield everything that is said in the lane, in flight or not."""
        for segment in self.segments:
            yield from segment.said
        yield from self.in_flight.said


@dataclass(frozen=True, slots=True)
class Books:
    """All lanes that were asked for. `findings`: what could not be read; `unknown_parts` are listed in no commit.

    `bus` and `spool`: whether these were looked at; `keeps_books`: as the ETL is configured now.
    """

    lanes: tuple[LaneBooks, ...]
    unknown_parts: tuple[str, ...]
    findings: tuple[Finding, ...]
    bus: bool
    spool: bool
    keeps_books: bool
