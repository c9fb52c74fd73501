"""Retention: what is older than it has to be kept, and that nobody needs any more. Nothing else is ever named.

A segment's data goes when its parts stand for good, whose commit and tail were durable before; not what a person put
there by hand, nor what one gave up, which stand nowhere else. The manifest stays (ADR-0007).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import ManifestError, NameRefusedError, ObjectNotFoundError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import MANIFEST_SUFFIX, Layout
from fluxforge.domain.segment import Manifest
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals

_ATTEMPTS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Ages:
    """How long things are kept, ns; None: for ever. `dead`: marks of segments that are in Parquet by now.

    `with_disabled`: raw data goes even where it holds records of a channel that is disabled, which stand nowhere else.
    """

    raw: int | None
    quarantine: int | None
    dead: int | None
    with_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """An object that may go, and what it is."""

    key: str
    what: str
    size_bytes: int


class Retention:
    """What may go from a segments' store (`raw`); the parts stand in `output`."""

    def __init__(self, raw: Store, output: Store, layout: Layout, ages: Ages) -> None:
        self._raw = raw
        self._journals = Journals(output)
        self._layout = layout
        self._ages = ages

    def expired(self, now_ns: int) -> Iterator[Expired]:
        """Yield what may go now. Whatever cannot be read is left alone: the audit names it."""
        if not any((self._ages.raw, self._ages.quarantine, self._ages.dead)):
            return
        for key in list(self._raw.keys(self._layout.ready_prefix())):
            manifest = self._manifest(key)
            if manifest is not None and self._is_placed(manifest):
                yield from self._of(manifest, now_ns - manifest.last_capture_ns)

    def delete(self, found: Expired) -> None:
        """Delete what may go."""
        self._raw.delete(found.key)

    def _of(self, manifest: Manifest, age_ns: int) -> Iterator[Expired]:
        lane, name = manifest.lane, manifest.name
        if _is_over(self._ages.raw, age_ns) and manifest.epoch and self._is_elsewhere(manifest):
            yield from self._standing(self._layout.segment_key(lane, manifest.file), "raw data")
        if _is_over(self._ages.quarantine, age_ns):
            yield from self._standing(self._layout.quarantine_key(lane, name), "quarantined lines")
        if _is_over(self._ages.dead, age_ns):
            yield from self._standing(self._layout.dead_key(lane, name), "mark of a segment that was dead")

    def _standing(self, key: str, what: str) -> Iterator[Expired]:
        size_bytes = self._raw.size(key)
        if size_bytes is not None:
            yield Expired(key, what, size_bytes)

    def _manifest(self, key: str) -> Manifest | None:
        if not key.endswith(MANIFEST_SUFFIX):
            return None
        try:
            manifest = Manifest.from_json(self._raw.read(key), what=key)
            is_its_own = self._layout.manifest_key(manifest.lane, manifest.name) == key
        except (ManifestError, NameRefusedError, ObjectNotFoundError):
            return None
        return manifest if is_its_own else None

    def _is_placed(self, manifest: Manifest) -> bool:
        return self._raw.size(self._layout.placed_key(manifest.lane, manifest.name)) is not None

    def _is_elsewhere(self, manifest: Manifest) -> bool:
        """Return whether everything in a segment stands in Parquet: not of one that a person gave up."""
        commit = self._commit(manifest.lane, manifest.name)
        if commit is None or commit.dropped or commit.identity != manifest.identity:
            return False
        if commit.disabled_channels and not self._ages.with_disabled:
            return False
        try:
            return all(self._journals.holds(part) for part in commit.parts)
        except ManifestError:
            return False

    def _commit(self, lane: Lane, segment: str) -> CommitRecord | None:
        newest = None
        for attempt in range(1, _ATTEMPTS_MAX):
            key = self._layout.commit_key(lane, segment, attempt)
            try:
                newest = CommitRecord.from_json(self._raw.read(key), what=key)
            except ObjectNotFoundError:
                return newest
            except ManifestError:
                return None
        return newest


def _is_over(kept_ns: int | None, age_ns: int) -> bool:
    return kept_ns is not None and age_ns >= kept_ns
