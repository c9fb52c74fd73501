"""Placing: how a finished segment enters storage under a name, once, whatever stands there already.

Manifest first, segment last: a segment is visible once both stand. What stands under a name is never replaced.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import ObjectExistsError, ObjectNotFoundError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import MANIFEST_SUFFIX, Layout, segment_of_file
from fluxforge.domain.segment import Manifest, SegmentIdentity, SegmentName
from fluxforge.ports.store import Store
from fluxforge_segmenter.compression import Compression, digest_of
from fluxforge_segmenter.contents import Digest
from fluxforge_segmenter.open_segment import Finished

_CHUNK_BYTES: Final = 4 << 20
_NAME: Final = re.compile(r"segment_\d{8}T\d{2}_\d+")


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands under a name; None: nothing. `segments`: file name and what is inside, None if unreadable."""

    commit: SegmentIdentity | None = None
    manifest: Manifest | None = None
    segments: tuple[tuple[str, Digest | None], ...] = ()


class Step(Enum):
    """What is to be done next for a segment to stand under its name."""

    DONE = auto()
    PUT_MANIFEST = auto()
    PUT_SEGMENT = auto()
    NAME_TAKEN = auto()


def next_step(standing: Standing, wanted: Manifest) -> Step:
    """Return the next step; a commit record of the same identity stands for segment and manifest."""
    if standing.commit is not None:
        return Step.DONE if standing.commit == wanted.identity else Step.NAME_TAKEN
    ours = (wanted.file, Digest(wanted.size_bytes, wanted.sha256))
    if any(segment != ours for segment in standing.segments):
        return Step.NAME_TAKEN
    if standing.manifest is None:
        return Step.PUT_MANIFEST
    if standing.manifest.identity != wanted.identity or standing.manifest.file != wanted.file:
        return Step.NAME_TAKEN
    return Step.DONE if standing.segments else Step.PUT_SEGMENT


class Shelf:
    """One lane's place in the segments' store. The calls block."""

    def __init__(self, store: Store, layout: Layout, lane: Lane) -> None:
        self._store = store
        self._layout = layout
        self._lane = lane

    def place(self, finished: Finished) -> bool:
        """Make the segment stand under its name; False where other bytes have that name.

        Repeatable after any interruption. A manifest of ours that meets other bytes is taken back.
        """
        manifest = finished.manifest
        segment_key = self._layout.segment_key(self._lane, manifest.file)
        manifest_key = self._layout.manifest_key(self._lane, manifest.name)
        while True:
            standing = self.standing(manifest.name)
            step = next_step(standing, manifest)
            try:
                match step:
                    case Step.DONE:
                        return True
                    case Step.PUT_MANIFEST:
                        self._store.create(manifest_key, manifest.to_json())
                    case Step.PUT_SEGMENT:
                        self._store.adopt(segment_key, finished.path)
                    case Step.NAME_TAKEN:
                        if standing.manifest == manifest:
                            self._store.delete(manifest_key)
                        return False
            except ObjectExistsError:
                continue  # it came to stand in between: look again

    def standing(self, name: str) -> Standing:
        """Return what stands under a name; reads the whole segment where there is one.

        Raises:
            ManifestError: A manifest or commit record that cannot be read.
        """
        segments = []
        for compression in Compression:
            file = f"{name}{compression.suffix}"
            key = self._layout.segment_key(self._lane, file)
            if self._store.size(key) is not None:
                segments.append((file, digest_of(self._chunks(key), compression)))
        commit = self.commit(name)
        return Standing(commit.identity if commit else None, self.manifest(name), tuple(segments))

    def placed(self, name: str, identity: SegmentIdentity) -> Manifest | None:
        """Return the manifest of the segment of this identity if all of it stands in its place; reads the segment."""
        manifest = self.manifest(name)
        if manifest is None or manifest.identity != identity:
            return None
        return manifest if next_step(self.standing(name), manifest) is Step.DONE else None

    def take_back(self, name: str, identity: SegmentIdentity) -> None:
        """Remove the manifest of a seal that will not be carried out and of which nothing else stands."""
        standing = self.standing(name)
        is_alone = not standing.segments and standing.commit is None
        if is_alone and standing.manifest is not None and standing.manifest.identity == identity:
            self._store.delete(self._layout.manifest_key(self._lane, name))

    def stands(self, name: str, identity: SegmentIdentity) -> bool:
        """Return whether the segment of this identity is visible or committed; does not read its bytes."""
        manifest = self.manifest(name)
        if manifest is not None and manifest.identity == identity:
            size = self._store.size(self._layout.segment_key(self._lane, manifest.file))
            if size is not None and (manifest.compressed or size == manifest.size_bytes):
                return True
        commit = self.commit(name)
        return commit is not None and commit.identity == identity

    def manifest(self, name: str) -> Manifest | None:
        """Return the manifest under a name, whether its segment stands or not."""
        body = self._read(self._layout.manifest_key(self._lane, name))
        return None if body is None else Manifest.from_json(body, what=f"manifest of {self._lane} {name}")

    def commit(self, name: str) -> CommitRecord | None:
        """Return the first commit record of a segment, or None."""
        body = self._read(self._layout.commit_key(self._lane, name))
        return None if body is None else CommitRecord.from_json(body, what=f"commit record of {self._lane} {name}")

    def names(self) -> list[str]:
        """Return the names of all visible segments, in order."""
        return sorted(self._manifests() & {segment_of_file(key.rpartition("/")[2]) for key in self._ready()})

    def sealed(self) -> list[str]:
        """Return the names of all segments that were sealed, in order: visible ones, and those that are committed.

        Data is deleted only of what is committed; a manifest alone is a seal that nobody has carried out.
        """
        return sorted({*self.names(), *self._committed()})

    def names_in_use(self) -> list[SegmentName]:
        """Return every name of a segment under which anything stands."""
        files = {segment_of_file(key.rpartition("/")[2]) for key in self._ready()}
        found = {*files, *self._manifests(), *self._committed()}
        return [SegmentName.parse(name) for name in found if name and _NAME.fullmatch(name)]

    def halves(self) -> list[str]:
        """Return what stands alone, in order: manifests whose data nobody has committed, data without a manifest."""
        keys, manifests, settled = self._ready(), self._manifests(), self.settled()
        files = {key: segment_of_file(key.rpartition("/")[2]) for key in keys}
        alone = [key for key, name in files.items() if name is not None and name not in manifests]
        named = [self._layout.manifest_key(self._lane, name) for name in manifests - set(files.values()) - settled]
        return sorted(alone + named)

    def settled(self) -> set[str]:
        """Return the names of segments that are committed or marked dead."""
        prefixes = (self._layout.commit_prefix(self._lane), self._layout.dead_prefix(self._lane))
        return {_name(key, ".json") for prefix in prefixes for key in self._store.keys(prefix)}

    def _ready(self) -> list[str]:
        return list(self._store.keys(self._layout.ready_prefix(self._lane)))

    def _manifests(self) -> set[str]:
        return {_name(key, MANIFEST_SUFFIX) for key in self._ready() if key.endswith(MANIFEST_SUFFIX)}

    def _committed(self) -> set[str]:
        """Return the names that have a first commit record; recomputations have dots in theirs."""
        keys = self._store.keys(self._layout.commit_prefix(self._lane))
        return {name for key in keys if key.endswith(".json") and "." not in (name := _name(key, ".json"))}

    def _read(self, key: str) -> bytes | None:
        try:
            return self._store.read(key)
        except ObjectNotFoundError:
            return None

    def _chunks(self, key: str) -> Iterator[bytes]:
        offset = 0
        while chunk := self._store.read(key, offset=offset, length=_CHUNK_BYTES):
            yield chunk
            offset += len(chunk)


def _name(key: str, suffix: str) -> str:
    return key.rpartition("/")[2].removesuffix(suffix)
