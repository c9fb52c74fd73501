"""Attempts: the parts of one segment written aside, committed once, and put in their place.

The first commit record that stands is the truth; whoever meets it puts its parts in place, so a worker may die at any
step and any other goes on. Temps of an attempt that lost are its own to delete; temps of a commit are moved, never
deleted, until `.placed` stands.
"""

import contextlib
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final

from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.errors import (
    ManifestError,
    ObjectExistsError,
    ObjectNotFoundError,
    PermanentError,
    SegmentCorruptError,
)
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import TMP, Layout
from fluxforge.domain.partition import dataset_root, part_name
from fluxforge.domain.segment import Manifest, SegmentIdentity
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals
from fluxforge_etl_worker.features.registry import FEATURE_VERSION
from fluxforge_etl_worker.parts import PartFile
from fluxforge_etl_worker.schemas import SCHEMA_VERSION, has_fixed_schema
from fluxforge_etl_worker.standing import agrees, fitting

SOFTWARE: Final = f"fluxforge-etl-worker {version('fluxforge-etl-worker')}"
_ATTEMPTS_MAX: Final = 1_000
_PLACED: Final = b"{}\n"
_TOKEN: Final = re.compile(r"\d+-[0-9a-f]+")


class CommitMismatchError(PermanentError):
    """A commit record that cannot be of this segment; nothing was deleted."""

    def __init__(self, key: str, expected: str, was: str) -> None:
        super().__init__(f"commit {key!r}: expected {expected}, was {was}")
        self.key = key


class PartLostError(Exception):
    """A committed part cannot stand in its place: its rows are made again from the segment.

    It is neither there nor beside it, or what stands there by now has other columns.
    """

    def __init__(self, lost: Sequence[Part]) -> None:
        super().__init__(f"{len(lost)} committed parts are lost, the first {lost[0].final_key!r}")
        self.lost = tuple(lost)


@dataclass(frozen=True, slots=True)
class Attempts:
    """The commits of segments on the segments' store (`raw`) and their parts on the output store (`output`)."""

    raw: Store
    output: Store
    layout: Layout

    def committed(self, lane: Lane, segment: str) -> CommitRecord | None:
        """Return the commit record that counts: the last recomputation's, else the first one's.

        Raises:
            ManifestError: It cannot be read.
        """
        newest = None
        for attempt in range(1, _ATTEMPTS_MAX):
            key = self.layout.commit_key(lane, segment, attempt)
            try:
                newest = CommitRecord.from_json(self.raw.read(key), what=key)
            except ObjectNotFoundError:
                break
        return newest

    def is_placed(self, lane: Lane, segment: str) -> bool:
        """Return whether every part of a segment stands in its place."""
        return self.raw.size(self.layout.placed_key(lane, segment)) is not None

    def check_identity(self, commit: CommitRecord, identity: SegmentIdentity, lane: Lane) -> None:
        """Refuse a commit record of another segment of the same name.

        Raises:
            CommitMismatchError: The identities differ.
        """
        if commit.identity != identity:
            key = self.layout.commit_key(lane, commit.segment, commit.attempt)
            raise CommitMismatchError(key, str(identity), str(commit.identity))

    def fitting(self, manifest: Manifest, files: Sequence[PartFile], compression: str) -> list[PartFile]:
        """Return the parts as they may join what stands in their partitions; nothing is written.

        Raises:
            PartitionSchemaError: One would break its partition's schema.
        """
        return [fitting(file, self.output, self._place(manifest, file), compression) for file in files]

    def write(self, manifest: Manifest, files: Sequence[PartFile], attempt: str) -> tuple[Part, ...]:
        """Write the parts of an attempt aside and return what its commit record says of them."""
        prefix = self.layout.attempt_prefix(manifest.lane, manifest.name, attempt)
        parts = []
        for number, file in enumerate(files, start=1):
            temp_key = f"{prefix}/{number:05d}.parquet"
            self.output.create(temp_key, file.body)
            parts.append(
                Part(
                    dataset=str(file.dataset),
                    temp_key=temp_key,
                    final_key=f"{self._place(manifest, file)}/{part_name(manifest.lane, manifest.name)}",
                    rows=file.rows,
                    size_bytes=len(file.body),
                    sha256=hashlib.sha256(file.body).hexdigest(),
                )
            )
        return tuple(parts)

    def first(self, manifest: Manifest, files: Sequence[PartFile], created_ns: int) -> CommitRecord:
        """Write the parts of a first attempt aside and return its commit record, which tells of no records yet."""
        return CommitRecord(
            lane=str(manifest.lane),
            segment=manifest.name,
            identity=manifest.identity,
            attempt=1,
            parts=self.write(manifest, files, f"1-{secrets.token_hex(4)}"),
            records=0,
            quarantined=0,
            feeds=(),
            schema_version=SCHEMA_VERSION,
            feature_version=FEATURE_VERSION,
            software=SOFTWARE,
            created_ns=created_ns,
        )

    def standing(self, manifest: Manifest) -> CommitRecord:
        """Return the commit record that counts of a segment that has one.

        Raises:
            PermanentError: It has none any more.
        """
        commit = self.committed(manifest.lane, manifest.name)
        if commit is None:
            raise PermanentError(f"commit of {manifest.lane} {manifest.name} was there and is gone")
        return commit

    def commit(self, lane: Lane, commit: CommitRecord) -> bool:
        """Enter a commit record; return whether it is now the truth. Another's stands: its temps are deleted."""
        try:
            self.raw.create(self.layout.commit_key(lane, commit.segment, commit.attempt), commit.to_json())
        except ObjectExistsError:
            for part in commit.parts:
                self.output.delete(part.temp_key)
            return False
        return True

    def place(self, lane: Lane, commit: CommitRecord) -> None:
        """Put every part of a commit in its place, mark it so, and sweep what other attempts left.

        Raises:
            PartLostError: Some stand nowhere; the others are in place.
            SegmentCorruptError: Other bytes stand in a part's place; they are left there.
        """
        lost = [part for part in commit.parts if not self._stands(part)]
        if self.is_placed(lane, commit.segment):
            lost = []  # another worker placed the same commit, since when its parts may have been merged
        if lost:
            raise PartLostError(lost)
        with contextlib.suppress(ObjectExistsError):  # another worker placed the same commit
            self.raw.create(self.layout.placed_key(lane, commit.segment), _PLACED)
        self.sweep(lane, commit.segment)

    def sweep(self, lane: Lane, segment: str) -> None:
        """Delete what attempts at a segment left beside the datasets; of a commit that is not placed yet, nothing."""
        kept: set[str] = set()
        if not self.is_placed(lane, segment):
            commit = self.committed(lane, segment)
            kept = {part.temp_key for part in commit.parts} if commit else kept
        prefix = self.layout.attempt_prefix(lane, segment, "")
        for key in list(self.output.keys(TMP)):
            # Of the attempts at "x" are those at "x.1" none, though their names begin alike.
            is_ours = key.startswith(prefix) and _TOKEN.fullmatch(key.removeprefix(prefix).partition("/")[0])
            if is_ours and key not in kept:
                self.output.delete(key)

    def stand(self, commit: CommitRecord) -> bool:
        """Return whether every part of a commit stands in its place, by its size, or was merged from there."""
        journals = Journals(self.output)
        try:
            return all(journals.holds(part) for part in commit.parts)
        except ManifestError:
            return False  # a journal that nobody can read says nothing

    def recomputed(self, commit: CommitRecord, lost: Sequence[Part], again: Sequence[Part]) -> CommitRecord:
        """Return the commit that supersedes one whose parts were lost: what stands stays, what is lost is made again.

        Raises:
            CommitMismatchError: The rows made again are not those that were committed.
        """
        before = {part.final_key: part.rows for part in commit.parts}
        now = {part.final_key: part.rows for part in again}
        if before != now:
            raise CommitMismatchError(commit.segment, f"rows {before}", f"{now}")
        gone = {part.final_key for part in lost}
        parts = [part for part in commit.parts if part.final_key not in gone]
        parts += [part for part in again if part.final_key in gone]
        return replace(commit, attempt=commit.attempt + 1, parts=tuple(parts))

    def _place(self, manifest: Manifest, file: PartFile) -> str:
        root = dataset_root(self.layout.processed_dir, manifest.lane.dataset_source, file.dataset)
        return f"{root}/{file.partition}" if file.partition else root

    def _stands(self, part: Part) -> bool:
        """Move a part to its place; return whether it stands there, moved now or before.

        One whose partition was begun with other columns since it was written does not: it has to be made again.
        """
        place = part.final_key.rpartition("/")[0]
        if not has_fixed_schema(part.dataset) and not agrees(self.output, part.temp_key, place):
            return False
        try:
            self.output.move(part.temp_key, part.final_key)
        except ObjectNotFoundError:
            return self.output.size(part.final_key) == part.size_bytes
        except ObjectExistsError:
            self._check_same(part)
            self.output.delete(part.temp_key)
        return True

    def _check_same(self, part: Part) -> None:
        found = hashlib.sha256(self.output.read(part.final_key)).hexdigest()
        if found != part.sha256:
            raise SegmentCorruptError(part.final_key, f"the committed sha256 {part.sha256}", found)
