"""Retention: what is older than it has to be kept, and that nobody needs any more. Nothing else is ever named.

A segment's data goes when its parts stand for good, whose commit and tail were durable before; not what a person put
there by hand, nor what one gave up, which stand nowhere else. Manifest and commit stay (ADR-0007) as the account.
A partition goes when its day is over for long enough, as a whole, and its journal says so. Coverage stays: it tells why
records are in no dataset.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from fluxforge.dataset.edit import Editor
from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import ManifestError, NameRefusedError, ObjectNotFoundError
from fluxforge.domain.instrument import decode_component
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import MANIFEST_SUFFIX, Layout
from fluxforge.domain.partition import Dataset
from fluxforge.domain.segment import Manifest
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals
from fluxforge.runtime.live import live_keys

_ATTEMPTS_MAX: Final = 1_000
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ages:
    """How long things are kept, ns; None: for ever. `dead`: marks of segments that are in Parquet by now.

    `raw` counts from the last record of a segment, `committed` from its commit: whichever comes first. `parquet` counts
    from the end of a partition's day. `with_disabled`: raw data goes even where it holds records of a channel that is
    disabled, which stand nowhere else.
    """

    raw: int | None = None
    committed: int | None = None
    quarantine: int | None = None
    dead: int | None = None
    parquet: int | None = None
    with_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """An object that may go, or a partition with everything in it, and what it is."""

    key: str
    what: str
    size_bytes: int
    is_partition: bool = False


class Retention:
    """What may go from a segments' store (`raw`), and of the datasets in `output`, which the editor changes."""

    def __init__(self, raw: Store, output: Store, layout: Layout, ages: Ages, editor: Editor) -> None:
        self._raw = raw
        self._output = output
        self._journals = Journals(output)
        self._layout = layout
        self._ages = ages
        self._editor = editor

    def expired(self, now_ns: int) -> Iterator[Expired]:
        """Yield what may go now. Whatever cannot be read is left alone: the audit names it."""
        ages = self._ages
        if any(age is not None for age in (ages.raw, ages.committed, ages.quarantine, ages.dead)):
            for key in list(self._raw.keys(self._layout.ready_prefix())):
                manifest = self._manifest(key)
                if manifest is not None and self._is_placed(manifest):
                    yield from self._of(manifest, now_ns)
        if ages.parquet is not None:
            yield from self._partitions(now_ns - ages.parquet)

    def delete(self, found: Expired) -> None:
        """Delete what may go.

        Raises:
            EditRefusedError: Somebody is at work on the partition.
            PartitionChangedError: Somebody was; nothing was changed.
        """
        if found.is_partition:
            self._editor.delete(found.key, None, reason="retention")
        else:
            self._raw.delete(found.key)

    def _partitions(self, before_ns: int) -> Iterator[Expired]:
        """Yield the partitions whose day ended before a time."""

        def is_outdated(partition: str) -> bool:
            end_ns = _day_end_ns(partition)
            return end_ns is not None and end_ns <= before_ns and not self._is_coverage(partition)

        sizes: dict[str, int] = {}
        follows_journal = self._editor.follows_journal
        for key in live_keys(
            self._output, self._layout.processed_dir, follows_journal=follows_journal, wanted=is_outdated
        ):
            partition = key.rpartition("/")[0]
            sizes[partition] = sizes.get(partition, 0) + (self._output.size(key) or 0)
        for partition, size_bytes in sizes.items():
            yield Expired(partition, "partition", size_bytes, is_partition=True)

    def _is_coverage(self, partition: str) -> bool:
        return partition.removeprefix(f"{self._layout.processed_dir}/").split("/")[1:2] == [Dataset.COVERAGE.value]

    def _of(self, manifest: Manifest, now_ns: int) -> Iterator[Expired]:
        lane, name = manifest.lane, manifest.name
        age_ns = now_ns - manifest.last_capture_ns
        if manifest.epoch and self._may_go(manifest, now_ns):
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

    def _may_go(self, manifest: Manifest, now_ns: int) -> bool:
        """Return whether a segment is old enough, and everything in it stands in Parquet."""
        is_old = _is_over(self._ages.raw, now_ns - manifest.last_capture_ns)
        if not is_old and self._ages.committed is None:
            return False
        if self._raw.size(self._layout.segment_key(manifest.lane, manifest.file)) is None:
            return False
        commit = self._commit(manifest.lane, manifest.name)
        if commit is None or not (is_old or _is_over(self._ages.committed, now_ns - commit.created_ns)):
            return False
        return self._is_elsewhere(manifest, commit)

    def _is_elsewhere(self, manifest: Manifest, commit: CommitRecord) -> bool:
        """Return whether everything in a segment stands in Parquet: not of one that a person gave up."""
        if commit.dropped or commit.identity != manifest.identity:
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


def _day_end_ns(partition: str) -> int | None:
    """Return when the day of a partition was over, ns UTC; None where its path names none."""
    days = [name.removeprefix("date=") for name in partition.split("/") if name.startswith("date=")]
    try:
        (day,) = days
        end = datetime.combine(date.fromisoformat(decode_component(day)), time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return int(end.timestamp()) * _NS
