"""Dead segments: which there are, and what a person may decide of each: to try it again, or to give it up.

A segment that is given up gets a commit record like any other, of coverage rows alone that name what it held. Each
decision may be repeated after a kill at any step.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import orjson

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import ManifestError, NameRefusedError, ObjectNotFoundError, UsageError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import DATA_SUFFIXES
from fluxforge.domain.segment import Manifest, SealedEvent
from fluxforge_etl_worker.listing import checked_name
from fluxforge_etl_worker.pipeline import given_up
from fluxforge_etl_worker.work import Worker

_SUFFIX: Final = ".json"


class DeadSegmentError(UsageError):
    """A decision that cannot be made of this segment; nothing was changed."""

    def __init__(self, lane: str, segment: str, reason: str) -> None:
        super().__init__(f"{lane} {segment}: {reason}")
        self.lane = lane
        self.segment = segment


@dataclass(frozen=True, slots=True)
class DeadMark:
    """The mark of a segment that cannot be processed, and what stands of it. `created_ns` 0: the mark is unreadable."""

    lane: Lane
    segment: str
    created_ns: int
    error: str
    reason: str
    has_data: bool
    has_manifest: bool
    is_committed: bool


def dead_marks(worker: Worker) -> Iterator[DeadMark]:
    """Yield every mark, in order of lane and segment."""
    prefix = worker.options.layout.dead_prefix()
    for key in worker.raw.keys(prefix):
        lane, _, name = key[len(prefix) + 1 :].partition("/")
        if name.endswith(_SUFFIX):
            yield dead_mark(worker, Lane.parse(lane), name.removesuffix(_SUFFIX))


def given_up_count(worker: Worker) -> int:
    """Return how many segments are marked and not in Parquet: they wait for a person. Marks are not read."""
    prefix = worker.options.layout.dead_prefix()
    count = 0
    for key in worker.raw.keys(prefix):
        lane, _, name = key[len(prefix) + 1 :].partition("/")
        with contextlib.suppress(NameRefusedError):  # somebody else's file: no worker put it there
            if name.endswith(_SUFFIX):
                count += not worker.attempts.is_placed(Lane.parse(lane), name.removesuffix(_SUFFIX))
    return count


def dead_mark(worker: Worker, lane: Lane, segment: str) -> DeadMark:
    """Return the mark of one segment.

    Raises:
        DeadSegmentError: It has none.
    """
    mark = worker.mark(lane, checked_name(segment))
    if mark is None:
        raise DeadSegmentError(
            str(lane), segment, "no mark says that it is dead; `fluxforge dead ls` lists those that are"
        )
    try:
        said = orjson.loads(mark)
        created_ns, error, reason = int(said["created_ns"]), str(said["error"]), str(said["reason"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as trouble:
        created_ns, error, reason = 0, "", f"its mark cannot be read: {type(trouble).__name__}: {trouble}"
    return DeadMark(
        lane,
        segment,
        created_ns,
        error,
        reason,
        has_data=_has_data(worker, lane, segment),
        has_manifest=worker.raw.size(worker.options.layout.manifest_key(lane, segment)) is not None,
        is_committed=worker.raw.size(worker.options.layout.commit_key(lane, segment)) is not None,
    )


def retry(worker: Worker, mark: DeadMark) -> SealedEvent | None:
    """Take the mark away; return the event that makes workers take the segment, None where `etl run` has to adopt it.

    Raises:
        DeadSegmentError: Trying again is of no use as long as what is missing is not put back.
    """
    lane, segment, layout = mark.lane, mark.segment, worker.options.layout
    if not mark.has_data and not mark.is_committed:
        raise DeadSegmentError(str(lane), segment, f"its data is gone; put it back below {layout.ready_prefix(lane)}/")
    manifest = _manifest(worker, mark) if mark.has_manifest else None
    # The mark goes last: as long as it stands, this can be repeated.
    worker.raw.delete(layout.tail_dead_key(lane, segment))
    worker.unmark(lane, segment)
    return SealedEvent.of(manifest) if manifest else None


def drop(worker: Worker, mark: DeadMark) -> CommitRecord:
    """Give a segment up: commit coverage rows that name what it held, and take the mark away. Its files stay.

    Raises:
        DeadSegmentError: Its manifest is gone or unreadable, so that nobody knows what it held; or it is committed.
    """
    lane, segment, attempts = mark.lane, mark.segment, worker.attempts
    manifest = _manifest(worker, mark)
    commit = attempts.committed(lane, segment)
    if commit is None:
        worker.mark_tail_dead(lane, segment, DeadSegmentError(str(lane), segment, "given up"))
        commit = _commit(worker, manifest, mark)
    if not commit.dropped:
        raise DeadSegmentError(
            str(lane),
            segment,
            "it is committed, its rows are in Parquet or beside it; `fluxforge dead retry` places them",
        )
    attempts.check_identity(commit, manifest.identity, lane)
    attempts.place(lane, commit)
    worker.unmark(lane, segment)
    return commit


def _commit(worker: Worker, manifest: Manifest, mark: DeadMark) -> CommitRecord:
    attempts = worker.attempts
    files = given_up(manifest, worker.options, f"given up by a person, after {mark.error or 'an error'}: {mark.reason}")
    fitting = attempts.fitting(manifest, files, worker.options.compression)
    attempts.commit(manifest.lane, replace(attempts.first(manifest, fitting, worker.clock.wall_ns()), dropped=True))
    return attempts.standing(manifest)


def _manifest(worker: Worker, mark: DeadMark) -> Manifest:
    try:
        return worker.manifest(mark.lane, mark.segment)
    except (ObjectNotFoundError, ManifestError) as error:
        reason = f"nobody knows what it held without its manifest, put that right first: {error}"
        raise DeadSegmentError(str(mark.lane), mark.segment, reason) from error


def _has_data(worker: Worker, lane: Lane, segment: str) -> bool:
    layout = worker.options.layout
    keys = (layout.segment_key(lane, f"{segment}{suffix}") for suffix in DATA_SUFFIXES)
    return any(worker.raw.size(key) is not None for key in keys)
