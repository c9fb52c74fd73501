"""Work on one segment, from its manifest to its parts in their place; safe to run twice, at once, or after a kill."""

import contextlib
import secrets
from dataclasses import dataclass, field, replace

import orjson

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import (
    ManifestError,
    ObjectExistsError,
    ObjectNotFoundError,
    PermanentError,
    SegmentCorruptError,
)
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import PLACED_SUFFIX, segment_of_file
from fluxforge.domain.segment import Manifest
from fluxforge.ports.clock import Clock
from fluxforge.ports.store import Store
from fluxforge_etl_worker.attempts import Attempts, PartLostError
from fluxforge_etl_worker.contexts import Contexts, Reading
from fluxforge_etl_worker.listing import Listed, is_lost
from fluxforge_etl_worker.pipeline import Forged, Neighbours, forge, quarantine_lines
from fluxforge_etl_worker.retire import Retirement
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.source import sealed_chunks
from fluxforge_etl_worker.upkeep import Upkeep


class SegmentLostError(PermanentError):
    """A segment whose manifest stands, whose data does not, and of which there is no commit record."""

    def __init__(self, lane: Lane, segment: str) -> None:
        super().__init__(
            f"{lane} {segment}: its data is gone from storage and nothing was committed of it; put the file back and "
            "remove its mark under dead/"
        )
        self.segment = segment


@dataclass(frozen=True, slots=True)
class Outcome:
    """A segment that is done. `forged` tells whether it was done now, and by us; counts are those of its commit.

    `sealed_ns`, `last_capture_ns`: when it was sealed and its last record captured; 0 where its manifest is gone.
    """

    lane: str
    segment: str
    forged: bool
    records: int
    quarantined: int
    rows: dict[str, int]
    size_bytes: int
    upkeep: Upkeep
    sealed_ns: int = 0
    last_capture_ns: int = 0


@dataclass(frozen=True, slots=True)
class Worker:
    """Turns sealed segments into parts. `raw` holds segments and commits, `output` the datasets.

    `reading` is told of each earlier segment whose data has to be read.
    """

    raw: Store
    output: Store
    options: EtlOptions
    clock: Clock
    retirement: Retirement = field(default_factory=Retirement)
    reading: Reading | None = None

    def probe(self) -> None:
        """Make sure of both stores before anything is done on them; see `Store.probe`."""
        self.raw.probe()
        self.output.probe()

    def recomputing(self) -> "Worker":
        """Return the worker that recomputes into its `processed_dir`, under commits of its own; it deletes nothing."""
        options = replace(self.options, layout=self.options.layout.recomputation())
        return replace(self, options=options, retirement=Retirement())

    @property
    def attempts(self) -> Attempts:
        """The commits and parts of segments."""
        return Attempts(self.raw, self.output, self.options.layout)

    @property
    def _contexts(self) -> Contexts:
        return Contexts(self.raw, self.options.layout, self.options, self.reading)

    def manifest(self, lane: Lane, segment: str) -> Manifest:
        """Return the manifest of a segment.

        Raises:
            ObjectNotFoundError: It has none.
            ManifestError: It cannot be read, or is another segment's.
        """
        key = self.options.layout.manifest_key(lane, segment)
        manifest = Manifest.from_json(self.raw.read(key), what=key)
        # Its own words build every other key: they must be the ones it was found by.
        its_own = (manifest.source, manifest.exchange, manifest.shard, manifest.name, segment_of_file(manifest.file))
        if its_own != (lane.source, lane.exchange, lane.shard, segment, segment):
            raise ManifestError(key, f"expected to be of {lane} {segment}, was of {its_own!r:.200}")
        return manifest

    def process(self, lane: Lane, segment: str) -> Outcome:
        """Make the parts of a segment stand in their place, whatever of it was done before, and retire its data.

        Raises:
            PermanentError: Its bytes, its commit or its parts are not what they must be.
            ObjectNotFoundError: Neither its manifest nor a finished commit of it stands.
        """
        attempts, contexts = self.attempts, self._contexts
        commit = attempts.committed(lane, segment)
        mine = False
        try:
            manifest = self.manifest(lane, segment)
        except ObjectNotFoundError:
            if commit and attempts.is_placed(lane, segment):
                return _outcome(commit, contexts.upkeep, None, forged=False)
            raise
        if commit is None:
            mine, commit = self._commit(manifest, contexts)
        attempts.check_identity(commit, manifest.identity, lane)
        if attempts.is_placed(lane, segment):
            attempts.sweep(lane, segment)  # whoever placed it may have been killed before
        else:
            commit = self._place(manifest, commit, contexts)
        self._retire(manifest, commit, contexts)
        return _outcome(commit, contexts.upkeep, manifest, forged=mine)

    def _place(self, manifest: Manifest, commit: CommitRecord, contexts: Contexts) -> CommitRecord:
        while True:
            try:
                self.attempts.place(manifest.lane, commit)
            except PartLostError as error:
                commit = self._commit_again(manifest, commit, error, contexts)
            else:
                return commit

    def _retire(self, manifest: Manifest, commit: CommitRecord, contexts: Contexts) -> None:
        """Delete the data of a segment that is placed, where it may go, and the tails that nobody asks for any more.

        The manifest stays (ADR-0007), and the data until the segment's tail stands; where a part is missing that once
        was placed, it stays as well, for whoever finds out.
        """
        key = self.options.layout.segment_key(manifest.lane, manifest.file)
        is_due = self.retirement.allows(manifest, commit) and self.raw.size(key) is not None
        if is_due and self.attempts.stand(commit) and contexts.ensure(manifest):
            self.raw.delete(key)
            contexts.upkeep.raw_deleted += 1
        contexts.sweep(manifest)

    def mark_dead(self, lane: Lane, segment: str, error: Exception) -> bytes:
        """Mark a segment that cannot be processed, and return the mark; one that stands is left as it is.

        What attempts at it left is deleted, unless nobody can tell whether a commit names it.
        """
        with contextlib.suppress(ManifestError):
            self.attempts.sweep(lane, segment)
        mark = orjson.dumps(
            {
                "lane": str(lane),
                "segment": segment,
                "error": type(error).__name__,
                "reason": str(error),
                "created_ns": self.clock.wall_ns(),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        key = self.options.layout.dead_key(lane, segment)
        try:
            self.raw.create(key, mark)
        except ObjectExistsError:
            return self.raw.read(key)
        return mark

    def unmark(self, lane: Lane, segment: str) -> None:
        """Take the mark of a segment away."""
        self.raw.delete(self.options.layout.dead_key(lane, segment))

    def mark_tail_dead(self, lane: Lane, segment: str, error: Exception) -> None:
        """Mark a segment as one whose data nobody should read for its tail; its successors do without."""
        self._contexts.mark_dead(lane, segment, str(error))

    def mark(self, lane: Lane, segment: str) -> bytes | None:
        """Return the mark of a segment that cannot be processed, None where it has none."""
        try:
            return self.raw.read(self.options.layout.dead_key(lane, segment))
        except ObjectNotFoundError:
            return None

    def is_dead(self, lane: Lane, segment: str) -> bool:
        """Return whether a segment is marked as one that cannot be processed."""
        return self.raw.size(self.options.layout.dead_key(lane, segment)) is not None

    def is_on_its_way(self, segment: Listed, newest: Listed) -> bool:
        """Return whether a segmenter is just putting the data of a segment beside its manifest."""
        if segment.file is not None or is_lost(segment, newest):
            return False
        return self.attempts.committed(segment.lane, segment.name) is None

    def placed(self, lane: Lane) -> frozenset[str]:
        """Return the names of all segments of a lane whose parts stand in their place."""
        keys = self.raw.keys(self.options.layout.commit_prefix(lane))
        names = (key.rpartition("/")[2] for key in keys)
        return frozenset(name.removesuffix(PLACED_SUFFIX) for name in names if name.endswith(PLACED_SUFFIX))

    def _commit(self, manifest: Manifest, contexts: Contexts) -> tuple[bool, CommitRecord]:
        """Compute and commit; return whether ours is the commit that stands, and that one."""
        recomputed = self._recomputed(manifest)
        if recomputed is not None:
            with contextlib.suppress(ObjectExistsError):
                self.raw.create(self.options.layout.commit_key(manifest.lane, manifest.name), recomputed.to_json())
            return False, self.attempts.standing(manifest)
        try:
            forged = self._forge(manifest, contexts)
        except ObjectNotFoundError as error:
            commit = self.attempts.committed(manifest.lane, manifest.name)
            if commit is None:
                raise SegmentLostError(manifest.lane, manifest.name) from error
            return False, commit  # another worker was quicker, and deleted the data
        files = self.attempts.fitting(manifest, forged.parts, self.options.compression)
        if forged.bad:
            self._quarantine(manifest, forged)
        commit = replace(
            self.attempts.first(manifest, files, self.clock.wall_ns()),
            records=forged.records,
            quarantined=len(forged.bad),
            feeds=forged.feeds,
            disabled_channels=forged.disabled,
        )
        if self.attempts.commit(manifest.lane, commit):
            contexts.upkeep.resent_trades += forged.resent
            return True, commit
        return False, self.attempts.standing(manifest)

    def _recomputed(self, manifest: Manifest) -> CommitRecord | None:
        """Return what a recomputation into the same `processed_dir` made of a segment: its parts are there already."""
        layout = self.options.layout
        if layout.is_recomputation:
            return None
        commit = Attempts(self.raw, self.output, layout.recomputation()).committed(manifest.lane, manifest.name)
        return replace(commit, attempt=1) if commit and commit.identity == manifest.identity else None

    def _commit_again(
        self, manifest: Manifest, commit: CommitRecord, error: PartLostError, contexts: Contexts
    ) -> CommitRecord:
        token = f"{commit.attempt + 1}-{secrets.token_hex(4)}"
        files = self.attempts.fitting(manifest, self._forge(manifest, contexts).parts, self.options.compression)
        parts = self.attempts.write(manifest, files, token)
        again = self.attempts.recomputed(commit, error.lost, parts)
        kept = {part.temp_key for part in again.parts}
        for part in parts:
            if part.temp_key not in kept:
                self.output.delete(part.temp_key)
        return again if self.attempts.commit(manifest.lane, again) else self.attempts.standing(manifest)

    def _forge(self, manifest: Manifest, contexts: Contexts) -> Forged:
        try:
            return forge(
                manifest,
                self.options,
                lambda: sealed_chunks(self.raw, self.options.layout, manifest),
                Neighbours(lambda: contexts.before(manifest), contexts.store),
            )
        except SegmentCorruptError as error:
            contexts.mark_dead(manifest.lane, manifest.name, str(error))
            raise

    def _quarantine(self, manifest: Manifest, forged: Forged) -> None:
        key = self.options.layout.quarantine_key(manifest.lane, manifest.name)
        try:
            self.raw.create(key, quarantine_lines(forged.bad))
        except ObjectExistsError:
            return  # the same lines of the same bytes, from an attempt that ended before its commit


def _outcome(commit: CommitRecord, upkeep: Upkeep, manifest: Manifest | None, *, forged: bool) -> Outcome:
    rows: dict[str, int] = {}
    for part in commit.parts:
        rows[str(part.dataset)] = rows.get(part.dataset, 0) + part.rows
    return Outcome(
        lane=commit.lane,
        segment=commit.segment,
        forged=forged,
        records=commit.records,
        quarantined=commit.quarantined,
        rows=rows,
        size_bytes=manifest.size_bytes if manifest else 0,
        upkeep=upkeep,
        sealed_ns=manifest.created_ns if manifest else 0,
        last_capture_ns=manifest.last_capture_ns if manifest else 0,
    )
