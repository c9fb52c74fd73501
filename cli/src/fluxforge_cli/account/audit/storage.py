"""Storage: manifests, commits, marks and parts as they stand; reads, never writes. What cannot be read is a finding.

What is written last is listed first, so that a system that works meanwhile makes no findings: parts, then commits,
then manifests; a commit is read after its manifest.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import orjson

from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.errors import ManifestError, NameRefusedError, ObjectNotFoundError, SegmentCorruptError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import MANIFEST_SUFFIX, PLACED_SUFFIX, Layout, segment_of_file
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge.domain.segment import Manifest
from fluxforge.ports.store import Store
from fluxforge_cli.account.audit.books import PartLook, Said, Segment
from fluxforge_cli.account.audit.findings import Finding, Kind
from fluxforge_cli.account.audit.merged import MergedParts
from fluxforge_cli.account.audit.parts import look
from fluxforge_cli.account.audit.said import said_in_lines
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.source import sealed_chunks, segment_chunks

_PARQUET: Final = ".parquet"
_JSON: Final = ".json"


@dataclass(slots=True)
class StoredLane:
    """What stands of one lane: manifests by segment, commits without one, data files by segment."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What stands of a segment beside its manifest."""

    size_bytes: int | None
    commit: CommitRecord | None
    placed: bool


class Storage:
    """The two stores of a configuration, as an audit reads them."""

    def __init__(self, raw: Store, output: Store, layout: Layout) -> None:
        self._raw = raw
        self._output = output
        self._layout = layout
        self.findings: list[Finding] = []

    def parts_standing(self) -> tuple[str, ...]:
        """Return the keys of all files among the datasets; whatever is no part is one, too."""
        return tuple(self._output.keys(self._layout.processed_dir))

    def outputs(self, keys: Collection[str]) -> frozenset[str]:
        """Return which of these files are, by their journals, what parts were merged into."""
        return MergedParts(self._output, deep=False).known(keys)

    def lanes(self) -> dict[Lane, StoredLane]:
        """Return every lane that storage knows."""
        lanes: dict[Lane, StoredLane] = {}
        for key in self._raw.keys(self._layout.commit_prefix()):
            lane, name = self._commit_of(key)
            if lane is not None:
                lanes.setdefault(lane, StoredLane()).committed.add(name)
        for key in self._raw.keys(self._layout.ready_prefix()):
            lane, file = self._ready_of(key)
            if lane is None:
                continue
            one, segment = lanes.setdefault(lane, StoredLane()), segment_of_file(file)
            if segment is not None:
                one.files[segment] = file
            elif file.endswith(MANIFEST_SUFFIX):
                self._enter_manifest(one, lane, key, file.removesuffix(MANIFEST_SUFFIX))
        return lanes

    def commit(self, lane: Lane, segment: str) -> CommitRecord | None:
        """Return the commit that counts for the datasets at hand: the newest, or that of their recomputation."""
        commit = self._newest(self._layout, lane, segment)
        here = f"{self._layout.processed_dir}/"
        if commit and (not commit.parts or any(part.final_key.startswith(here) for part in commit.parts)):
            return commit
        return self._newest(self._layout.recomputation(), lane, segment)

    def segments(
        self, lane: Lane, stored: StoredLane, *, deep: bool, workers: ThreadPoolExecutor
    ) -> tuple[Segment, ...]:
        """Return the segments of a lane in order, each with all that stands of it."""
        manifests = sorted(
            stored.manifests.values(), key=lambda one: (one.epoch, one.first if one.epoch else 0, one.name)
        )
        standing = [self._standing(one) for one in manifests]
        parts = [(part, one.commit) for one in standing if one.commit for part in one.commit.parts]
        looker = self._looker(deep=deep)
        looks = dict(
            zip((part.final_key for part, _ in parts), workers.map(lambda one: looker(*one), parts), strict=True)
        )
        found = []
        for manifest, one in zip(manifests, standing, strict=True):
            try:
                found.append(self._segment(manifest, one, looks, deep=deep))
            except ObjectNotFoundError:  # processed and deleted since: look again
                found += self.segments(lane, StoredLane({manifest.name: manifest}), deep=deep, workers=workers)
        return tuple(found)

    def _looker(self, *, deep: bool) -> Callable[[Part, CommitRecord], PartLook]:
        merged = MergedParts(self._output, deep=deep)

        def looked(part: Part, commit: CommitRecord) -> PartLook:
            found = look(self._output, part.final_key, part.dataset, deep=deep)
            return found if found.size_bytes is not None else merged.look(part, commit) or found

        return looked

    def _standing(self, manifest: Manifest) -> _Standing:
        """Look for data, commit and mark in the order in which they go and come: data goes after all others came."""
        lane, segment = manifest.lane, manifest.name
        size_bytes = self._raw.size(self._layout.segment_key(lane, manifest.file))
        commit = self.commit(lane, segment)
        layouts = (self._layout, self._layout.recomputation())
        is_placed = any(self._raw.size(one.placed_key(lane, segment)) is not None for one in layouts)
        return _Standing(size_bytes, commit, commit is not None and is_placed)

    def _segment(
        self, manifest: Manifest, standing: _Standing, looks: Mapping[str, PartLook], *, deep: bool
    ) -> Segment:
        size_bytes, commit = standing.size_bytes, standing.commit
        parts = {part.final_key: looks[part.final_key] for part in commit.parts} if commit else {}
        return Segment(
            manifest=manifest,
            size_bytes=size_bytes,
            commit=commit,
            placed=standing.placed,
            dead=self._dead(manifest.lane, manifest.name),
            parts=parts,
            said=self._said(manifest, commit, parts, has_data=size_bytes is not None),
            trouble=None if size_bytes is None else self._bytes_trouble(manifest, size_bytes, deep=deep),
        )

    def _bytes_trouble(self, manifest: Manifest, size_bytes: int, *, deep: bool) -> str | None:
        if not manifest.compressed and size_bytes != manifest.size_bytes:
            return f"{manifest.size_bytes} bytes were sealed, {size_bytes} stand"
        if deep:
            try:
                for _ in sealed_chunks(self._raw, self._layout, manifest):
                    pass
            except SegmentCorruptError as error:
                return f"expected {error.expected}, was {error.was}"
            except ObjectNotFoundError:
                return None  # processed meanwhile, and deleted
        return None

    def _said(
        self, manifest: Manifest, commit: CommitRecord | None, parts: Mapping[str, PartLook], *, has_data: bool
    ) -> tuple[Said, ...]:
        """Return what is said in a segment: by its coverage rows, or where they do not name seqs, by its raw lines."""
        if not any(feed.channel == CONTROL_CHANNEL for feed in manifest.feeds):
            return ()
        coverage = [parts[one.final_key] for one in commit.parts if one.dataset == "coverage"] if commit else []
        is_read = commit is not None and not commit.dropped and all(one.names_seqs for one in coverage)
        if has_data and not (coverage and is_read):
            try:
                chunks = segment_chunks(self._raw, self._layout.segment_key(manifest.lane, manifest.file))
                return tuple(said_in_lines(line for piece in line_slices(chunks) for line in piece.lines))
            except SegmentCorruptError:
                pass  # which is found when all bytes are read; the rows are what is left
            except ObjectNotFoundError:
                if commit is None:
                    raise
        return tuple(one for part in coverage for one in part.said)

    def _dead(self, lane: Lane, segment: str) -> str | None:
        key = self._layout.dead_key(lane, segment)
        try:
            return str(orjson.loads(self._raw.read(key))["reason"])
        except ObjectNotFoundError:
            return None
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            self._find(lane, f"{key}: {type(error).__name__}: {error}")
            return "its mark cannot be read"

    def _newest(self, layout: Layout, lane: Lane, segment: str) -> CommitRecord | None:
        newest, attempt = None, 1
        while True:
            key = layout.commit_key(lane, segment, attempt)
            try:
                newest = CommitRecord.from_json(self._raw.read(key), what=key)
            except ObjectNotFoundError:
                return newest
            except ManifestError as error:
                self._find(lane, str(error))
            attempt += 1

    def _enter_manifest(self, stored: StoredLane, lane: Lane, key: str, segment: str) -> None:
        try:
            manifest = Manifest.from_json(self._raw.read(key), what=key)
            is_its_own = (manifest.lane, manifest.name) == (lane, segment)
            trouble = None if is_its_own else f"{key}: it is of {manifest.lane} {manifest.name}"
        except (ManifestError, NameRefusedError) as error:
            trouble = str(error)
        else:
            stored.manifests[segment] = manifest
        if trouble is not None:
            stored.manifests.pop(segment, None)
            stored.unreadable.add(segment)
            self._find(lane, trouble)

    def _commit_of(self, key: str) -> tuple[Lane | None, str]:
        folder, _, file = key.removeprefix(f"{self._layout.commit_prefix()}/").rpartition("/")
        stem = file.removesuffix(_JSON).removesuffix(PLACED_SUFFIX)
        base, dot, attempt = stem.rpartition(".r")
        return self._lane(key, lambda: Lane.parse(folder)), base if dot and attempt.isdigit() else stem

    def _ready_of(self, key: str) -> tuple[Lane | None, str]:
        folder, _, file = key.removeprefix(f"{self._layout.ready_prefix()}/").rpartition("/")
        return self._lane(key, lambda: Lane.parse(folder.replace("/", "-", 1))), file

    def _lane(self, key: str, parse: Callable[[], Lane]) -> Lane | None:
        try:
            return parse()
        except NameRefusedError as error:
            self.findings.append(Finding(Kind.UNREADABLE, None, f"{key}: {error}"))
            return None

    def _find(self, lane: Lane, detail: str) -> None:
        self.findings.append(Finding(Kind.UNREADABLE, str(lane), detail))


def unknown_parts(standing: Iterable[str], segments: Iterable[Segment], others: Iterable[CommitRecord]) -> list[str]:
    """Return the files among the datasets that no commit lists."""
    listed = {part.final_key for commit in _commits(segments, others) for part in commit.parts}
    return [key for key in standing if key not in listed]


def _commits(segments: Iterable[Segment], others: Iterable[CommitRecord]) -> Iterator[CommitRecord]:
    yield from (segment.commit for segment in segments if segment.commit)
    yield from others


def pool() -> ThreadPoolExecutor:
    """Return the threads that look at parts: reading a footer lets go of the interpreter."""
    return ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="parts")
