"""The layout: where everything stands below the stores; the only builder of these keys.

On the segments' store: raw/, commits/, tails/, quarantine/, dead/, and the latter four again for each recomputation
below recomputed/<processed_dir>/. On the output store: processed/, .tmp/, .locks/, journal/. Keys are relative,
separated by `/`.
"""

from dataclasses import dataclass, replace
from typing import Final

from fluxforge.domain.instrument import encode_component
from fluxforge.domain.lane import Lane

TMP: Final = ".tmp"
JOURNAL: Final = "journal"
SETTLED_SUFFIX: Final = ".settled.json"
MANIFEST_SUFFIX: Final = ".manifest.json"
DATA_SUFFIXES: Final = (".ndjson", ".ndjson.zst")
PLACED_SUFFIX: Final = ".placed"
_RECOMPUTED: Final = "recomputed"


@dataclass(frozen=True, slots=True)
class Layout:
    """The configurable directory names, and every key built from them.

    `is_recomputation`: everything that says what became of a segment stands apart, under the name of `processed_dir`.
    """

    raw_dir: str = "raw"
    active_subdir: str = "active"
    ready_subdir: str = "ready"
    processed_dir: str = "processed"
    is_recomputation: bool = False

    def recomputation(self) -> "Layout":
        """Return the layout of a recomputation into `processed_dir`: the same segments, other commits and marks."""
        return replace(self, is_recomputation=True)

    @property
    def directories(self) -> frozenset[str]:
        """The names directly below a store that are taken by something else than datasets."""
        own = {"commits", "tails", "quarantine", "dead", _RECOMPUTED, TMP, JOURNAL}
        return frozenset({self.raw_dir.partition("/")[0], *own})

    @property
    def _apart(self) -> str:
        return f"{_RECOMPUTED}/{encode_component(self.processed_dir)}/" if self.is_recomputation else ""

    def active_prefix(self, lane: Lane) -> str:
        """Return where open segments of a lane stand, below the scratch directory; one folder per owner inside."""
        return f"{self.raw_dir}/{self.active_subdir}/{lane.folder}"

    def ready_prefix(self, lane: Lane | None = None) -> str:
        """Return where sealed segments stand: of one lane, or of all."""
        root = f"{self.raw_dir}/{self.ready_subdir}"
        return f"{root}/{lane.folder}" if lane else root

    def segment_key(self, lane: Lane, file: str) -> str:
        """Return the key of a sealed segment; `file` is its name with suffix."""
        return f"{self.ready_prefix(lane)}/{file}"

    def manifest_key(self, lane: Lane, segment: str) -> str:
        """Return the key of a segment's manifest."""
        return f"{self.ready_prefix(lane)}/{segment}{MANIFEST_SUFFIX}"

    def commit_prefix(self, lane: Lane | None = None) -> str:
        """Return where commit records stand: of one lane, or of all."""
        root = f"{self._apart}commits"
        return f"{root}/{lane}" if lane else root

    def commit_key(self, lane: Lane, segment: str, attempt: int = 1) -> str:
        """Return the key of a segment's commit record; recomputations from attempt 2 on supersede the one before."""
        suffix = "" if attempt == 1 else f".r{attempt}"
        return f"{self.commit_prefix(lane)}/{segment}{suffix}.json"

    def placed_key(self, lane: Lane, segment: str) -> str:
        """Return the key of the mark that all parts of a segment stand in their place."""
        return f"{self.commit_prefix(lane)}/{segment}{PLACED_SUFFIX}"

    def quarantine_key(self, lane: Lane, segment: str) -> str:
        """Return the key of the lines of a segment that were no records."""
        return f"{self._apart}quarantine/{lane}/{segment}.ndjson"

    def dead_key(self, lane: Lane, segment: str) -> str:
        """Return the key of the mark of a segment that cannot be processed."""
        return f"{self.dead_prefix(lane)}/{segment}.json"

    def dead_prefix(self, lane: Lane | None = None) -> str:
        """Return where the marks of segments that cannot be processed stand: of one lane, or of all."""
        root = f"{self._apart}dead"
        return f"{root}/{lane}" if lane else root

    def tail_key(self, lane: Lane, segment: str) -> str:
        """Return the key of a segment's tail sidecar."""
        return f"{self._apart}tails/{lane}/{segment}.tail.arrow"

    def tail_dead_key(self, lane: Lane, segment: str) -> str:
        """Return the key of the mark that nobody will ever know a segment's tail."""
        return f"{self._apart}tails/{lane}/{segment}.tail.dead"

    def attempt_prefix(self, lane: Lane, segment: str, attempt: str) -> str:
        """Return where one attempt at a segment writes its parts before they are placed."""
        apart = f"{encode_component(self.processed_dir)}+" if self.is_recomputation else ""
        return f"{TMP}/{apart}{lane}_{segment}.{attempt}"


def journal_prefix(partition: str) -> str:
    """Return where the journal of a partition stands; `partition` is its key prefix."""
    return f"{JOURNAL}/{partition}"


def claim_key(partition: str, n: int) -> str:
    """Return the key of the n-th claim in a partition's journal, n from 1."""
    return f"{journal_prefix(partition)}/{n:06d}.json"


def settlement_key(partition: str, n: int) -> str:
    """Return the key of what became of the n-th claim."""
    return f"{journal_prefix(partition)}/{n:06d}{SETTLED_SUFFIX}"


def repartitioned_prefix(root: str) -> str:
    """Return where the records stand of what was repartitioned into a root of datasets; no partition is named so."""
    return f"{journal_prefix(root)}/repartitioned"


def repartitioned_key(root: str, unit: str) -> str:
    """Return the key of the record of one unit, by its id."""
    return f"{repartitioned_prefix(root)}/{unit}.json"


def repartitioning_prefix(root: str) -> str:
    """Return where it stands which units are being placed in a root of datasets."""
    return f"{journal_prefix(root)}/repartitioning"


def repartitioning_key(root: str, unit: str) -> str:
    """Return the key of the mark that a unit is being placed, by its id."""
    return f"{repartitioning_prefix(root)}/{unit}.json"


def segment_of_file(file: str) -> str | None:
    """Return the segment id of a file name such as `x.ndjson` or `x.ndjson.zst`; None for any other file."""
    for suffix in DATA_SUFFIXES:
        if file.endswith(suffix) and len(file) > len(suffix):
            return file[: -len(suffix)]
    return None
