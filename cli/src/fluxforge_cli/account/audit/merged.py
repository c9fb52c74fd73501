"""Merged parts: what of a part stands in the file that it was merged into. Reads, never writes.

The journal says which file that is. Its rows are those of many segments: a part's are the ones its commit tells of.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.journal import Claim, Entry, File, is_output
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals
from fluxforge_cli.account.audit.books import PartLook, Said, Seqs
from fluxforge_cli.account.audit.findings import FeedId
from fluxforge_cli.account.audit.parts import look
from fluxforge_cli.account.audit.ranges import NONE, Ranges, common, union

_MERGES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Into:
    """The claim by which a file went, the file as it names it, and what it is in now; None: nothing is left of it."""

    claim: Claim
    parent: File
    output: File | None
    is_edited: bool


class MergedParts:
    """Looks up parts that are not in their place any more. Threads may share it."""

    def __init__(self, output: Store, *, deep: bool) -> None:
        self._output = output
        self._deep = deep
        self._journals = Journals(output)
        self._entries: dict[str, list[Entry]] = {}
        self._looks: dict[str, PartLook] = {}
        self._lock = Lock()

    def look(self, part: Part, commit: CommitRecord) -> PartLook | None:
        """Return what stands of a committed part elsewhere; None where it was not merged."""
        partition, _, name = part.final_key.rpartition("/")
        found = self._look(partition, name, part, commit)
        if found is None or found.size_bytes is None:  # the journal may have been read before what merged it
            with self._lock:
                self._entries.pop(partition, None)
            found = self._look(partition, name, part, commit)
        return found

    def _look(self, partition: str, name: str, part: Part, commit: CommitRecord) -> PartLook | None:
        into = self._into(partition, name)
        if into is None:
            return None
        if (into.parent.rows, into.parent.size_bytes) != (part.rows, part.size_bytes):
            was = f"{into.parent.rows} rows in {into.parent.size_bytes} bytes were merged"
            trouble = f"{was} by claim {into.claim.n} of its partition"
            return PartLook(into.parent.size_bytes, into.parent.rows, trouble=trouble)
        if into.output is None:
            return PartLook(part.size_bytes, part.rows, is_edited=True)
        whole = self._whole(partition, into.output, part.dataset)
        if whole.size_bytes is None:
            return PartLook(None)
        trouble_of_all = whole.trouble or self._difference(into.output, whole)
        if trouble_of_all is not None:
            return PartLook(part.size_bytes, part.rows, trouble=f"merged into {into.output.name}: {trouble_of_all}")
        return replace(_share(whole, part, commit), is_edited=into.is_edited)

    def known(self, keys: Collection[str]) -> frozenset[str]:
        """Return which of these files some journal names as what others were, or are to be, merged into."""
        outputs = [key for key in keys if is_output(key.rpartition("/")[2])]
        named = {
            f"{partition}/{file.name}"
            for partition in {key.rpartition("/")[0] for key in outputs}
            for entry in self._journal(partition)
            for file in entry.claim.outputs
        }
        return frozenset(named.intersection(outputs))

    def _into(self, partition: str, name: str) -> _Into | None:
        """Return what became of a file that stands no more; None where no journal tells."""
        first: tuple[Claim, File] | None = None
        is_edited = False
        for _ in range(_MERGES_MAX):
            step = self._step(partition, name)
            if step is None:
                return None
            first, output = first or step, step[0].output
            is_edited = is_edited or step[0].reason is not None
            if output is None or self._output.size(f"{partition}/{output.name}") is not None:
                return _Into(*first, output, is_edited)
            if not self._step(partition, output.name):
                return _Into(*first, output, is_edited)
            name = output.name
        return None

    def _step(self, partition: str, name: str) -> tuple[Claim, File] | None:
        for entry in self._journal(partition):
            if entry.settlement is not None and not entry.settlement.merged:
                continue
            parent = next((file for file in entry.claim.parents if file.name == name), None)
            if parent is not None:
                return entry.claim, parent
        return None

    def _journal(self, partition: str) -> list[Entry]:
        with self._lock:
            if partition not in self._entries:
                self._entries[partition] = self._journals.entries(partition)
            return self._entries[partition]

    def _whole(self, partition: str, output: File, dataset: str) -> PartLook:
        key = f"{partition}/{output.name}"
        with self._lock:
            found = self._looks.get(key)
        if found is None:
            found = look(self._output, key, dataset, deep=self._deep)
            with self._lock:
                self._looks[key] = found
        return found

    @staticmethod
    def _difference(output: File, whole: PartLook) -> str | None:
        if (whole.rows, whole.size_bytes) != (output.rows, output.size_bytes):
            return f"expected {output.rows} rows in {output.size_bytes} bytes, was {whole.rows} in {whole.size_bytes}"
        if whole.sha256 not in {None, output.sha256}:
            return f"expected sha256 {output.sha256}, was {whole.sha256}"
        return None


def _share(whole: PartLook, part: Part, commit: CommitRecord) -> PartLook:
    """Return what of a merged file is one segment's."""
    committed: dict[FeedId, Ranges] = {
        FeedId(one.boot, one.channel, one.symbol): union(one.ranges) for one in commit.feeds
    }
    return replace(
        whole,
        size_bytes=part.size_bytes,
        rows=part.rows,
        seqs=_within(whole.seqs, committed),
        doubled=_within(whole.doubled, committed),
        said=tuple(one for one in whole.said if commit.dropped or _is_of(one, committed)),
        sha256=None,
    )


def _within(seqs: Seqs, committed: Mapping[FeedId, Ranges]) -> dict[FeedId, Ranges]:
    shares = {feed: common(ranges, committed.get(feed, NONE)) for feed, ranges in seqs.items()}
    return {feed: ranges for feed, ranges in shares.items() if ranges}


def _is_of(said: Said, committed: Mapping[FeedId, Ranges]) -> bool:
    ranges = committed.get(FeedId(said.boot, CONTROL_CHANNEL, None), NONE)
    return any(first <= said.seq <= last for first, last in ranges)
