"""Work on one segment, from its manifest to its parts in their place; safe to run twice, at once, or after a kill."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import orjson

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import ObjectExistsError, ObjectNotFoundError, PermanentError
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest
from fluxforge.ports.clock import Clock
from fluxforge.ports.store import Store
from fluxforge_etl_worker.attempts import Attempts, PartLostError
from fluxforge_etl_worker.features.registry import FEATURE_VERSION
from fluxforge_etl_worker.pipeline import Forged, forge, quarantine_lines
from fluxforge_etl_worker.schemas import SCHEMA_VERSION
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.source import boots_stopped_at_end, sealed_chunks

SOFTWARE: Final = f"fluxforge-etl-worker {version('fluxforge-etl-worker')}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A segment that is done. `forged` tells whether it was done now, and by us; counts are those of its commit."""

    lane: str
    segment: str
    forged: bool
    records: int
    quarantined: int
    rows: dict[str, int]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Worker:
    """Turns sealed segments into parts. `raw` holds segments and commits, `output` the datasets."""

    raw: Store
    output: Store
    options: EtlOptions
    clock: Clock

    @property
    def attempts(self) -> Attempts:
        """The commits and parts of segments."""
        return Attempts(self.raw, self.output, self.options.layout)

    def manifest(self, lane: Lane, segment: str) -> Manifest:
        """Return the manifest of a segment.

        Raises:
            ObjectNotFoundError: It has none.
            ManifestError: It cannot be read.
        """
        key = self.options.layout.manifest_key(lane, segment)
        return Manifest.from_json(self.raw.read(key), what=key)

    def process(self, lane: Lane, segment: str) -> Outcome:
        """Make the parts of a segment stand in their place, whatever of it was done before.

        Raises:
            PermanentError: Its bytes, its commit or its parts are not what they must be.
            ObjectNotFoundError: Neither it nor a finished commit of it stands.
        """
        attempts = self.attempts
        commit = attempts.committed(lane, segment)
        if commit and attempts.is_placed(lane, segment):
            return _outcome(commit, size_bytes=0, forged=False)
        manifest = self.manifest(lane, segment)
        mine = False
        if commit is None:
            mine, commit = self._commit(manifest)
        attempts.check_identity(commit, manifest.identity, lane)
        while True:
            try:
                attempts.place(lane, commit)
            except PartLostError as error:
                commit = self._commit_again(manifest, commit, error)
            else:
                return _outcome(commit, size_bytes=manifest.size_bytes, forged=mine)

    def mark_dead(self, lane: Lane, segment: str, error: Exception) -> bytes:
        """Mark a segment that cannot be processed, and return the mark; one that stands is left as it is."""
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

    def is_dead(self, lane: Lane, segment: str) -> bool:
        """Return whether a segment is marked as one that cannot be processed."""
        return self.raw.size(self.options.layout.dead_key(lane, segment)) is not None

    def _commit(self, manifest: Manifest) -> tuple[bool, CommitRecord]:
        """Compute and commit; return whether ours is the commit that stands, and that one."""
        forged = self._forge(manifest)
        if forged.bad:
            self._quarantine(manifest, forged)
        commit = CommitRecord(
            lane=str(manifest.lane),
            segment=manifest.name,
            identity=manifest.identity,
            attempt=1,
            parts=self.attempts.write(manifest, forged.parts, f"1-{secrets.token_hex(4)}"),
            records=forged.records,
            quarantined=len(forged.bad),
            feeds=forged.feeds,
            schema_version=SCHEMA_VERSION,
            feature_version=FEATURE_VERSION,
            software=SOFTWARE,
            created_ns=self.clock.wall_ns(),
            disabled_channels=forged.disabled,
        )
        if self.attempts.commit(manifest.lane, commit):
            return True, commit
        return False, self._standing(manifest)

    def _commit_again(self, manifest: Manifest, commit: CommitRecord, error: PartLostError) -> CommitRecord:
        token = f"{commit.attempt + 1}-{secrets.token_hex(4)}"
        parts = self.attempts.write(manifest, self._forge(manifest).parts, token)
        again = self.attempts.recomputed(commit, error.lost, parts)
        kept = {part.temp_key for part in again.parts}
        for part in parts:
            if part.temp_key not in kept:
                self.output.delete(part.temp_key)
        return again if self.attempts.commit(manifest.lane, again) else self._standing(manifest)

    def _standing(self, manifest: Manifest) -> CommitRecord:
        commit = self.attempts.committed(manifest.lane, manifest.name)
        if commit is None:
            raise PermanentError(f"commit of {manifest.lane} {manifest.name} was there and is gone")
        return commit

    def _forge(self, manifest: Manifest) -> Forged:
        return forge(
            manifest,
            self.options,
            lambda: sealed_chunks(self.raw, self.options.layout, manifest),
            lambda: self._stopped_before(manifest),
        )

    def _stopped_before(self, manifest: Manifest) -> Collection[str] | None:
        if manifest.previous is None:
            return None
        layout, lane = self.options.layout, manifest.lane
        try:
            previous = self.manifest(lane, manifest.previous.name)
            return boots_stopped_at_end(self.raw, layout.segment_key(lane, previous.file))
        except ObjectNotFoundError:
            return None

    def _quarantine(self, manifest: Manifest, forged: Forged) -> None:
        key = self.options.layout.quarantine_key(manifest.lane, manifest.name)
        try:
            self.raw.create(key, quarantine_lines(forged.bad))
        except ObjectExistsError:
            return  # the same lines of the same bytes, from an attempt that ended before its commit


def _outcome(commit: CommitRecord, *, size_bytes: int, forged: bool) -> Outcome:
    rows: dict[str, int] = {}
    for part in commit.parts:
        rows[str(part.dataset)] = rows.get(part.dataset, 0) + part.rows
    return Outcome(commit.lane, commit.segment, forged, commit.records, commit.quarantined, rows, size_bytes)
