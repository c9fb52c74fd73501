"""Compaction of one partition: settle what was begun, clear what is over, merge what can be; safe to kill anywhere."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

import pyarrow as pa

from fluxforge.dataset.edit import Editor
from fluxforge.dataset.rewrite.candidates import Candidate, Footer, Found, Left, Looker
from fluxforge.dataset.rewrite.rewriter import Rewriter
from fluxforge.domain.errors import FileUnreadableError, PartitionChangedError, PermanentError
from fluxforge.domain.journal import Entry, File, is_output
from fluxforge.ports.clock import Clock
from fluxforge.ports.partitions import Partitions
from fluxforge.ports.store import Store
from fluxforge_compactor.plan import MergePolicy, plan

_SOFTWARE: Final = f"fluxforge-compactor {version('fluxforge-compactor')}"
_US: Final = 1_000


@dataclass(frozen=True, slots=True)
class Policy:
    """What is merged, and when. `grace_ns`: how long parents stay for readers that still have their names."""

    merge: MergePolicy
    quiet_ns: int
    grace_ns: int
    compression: str


@dataclass(frozen=True, slots=True)
class Merge:
    """One merge that was carried out, or would be."""

    parents: tuple[Candidate, ...]
    output: File | None = None


@dataclass(slots=True)
class Result:
    """What became of a partition. `busy`: another compactor is at work on it; `quiet`: nothing new came for a while."""

    partition: str
    found: Found | None = None
    busy: bool = False
    quiet: bool = True
    is_pending: bool = False
    """Whether something is to be cleared or settled later on."""
    merges: list[Merge] = field(default_factory=list)
    failures: list[PermanentError] = field(default_factory=list)
    """Why groups could not be merged; they stay as they are."""

    @property
    def left(self) -> Sequence[Left]:
        """Files that were left alone, and why."""
        return self.found.left if self.found else ()


class Compactor:
    """Compacts the partitions of one output store."""

    def __init__(self, looker: Looker, partitions: Partitions, policy: Policy, clock: Clock) -> None:
        self._looker = looker
        self._policy = policy
        self._clock = clock
        self._rewriter = Rewriter(looker, partitions, clock, compression=policy.compression, software=_SOFTWARE)

    @property
    def output(self) -> Store:
        """The store of the datasets."""
        return self._looker.output

    @property
    def editor(self) -> Editor:
        """What changes the same partitions on purpose."""
        return Editor(self._rewriter)

    def partitions(self, prefix: str, *, at_least: int = 1) -> list[str]:
        """Return the partitions at or below a key prefix that hold at least so many files."""
        return [partition for partition, count in self._looker.partitions(prefix).items() if count >= at_least]

    def journaled(self, prefix: str) -> dict[str, int]:
        """Return the partitions at or below a key prefix that have a journal, and how many objects it has."""
        return self._looker.journals(prefix)

    def preview(self, partition: str) -> Result:
        """Return what `compact` would merge now; nothing is changed."""
        result = Result(partition)
        self._look(result, self._rewriter.journals.entries(partition))
        result.merges = [Merge(group) for group in self._groups(result)]
        return result

    def read_times(self, partition: str) -> list[int]:
        """Read the times of all rows of a partition, as any reader has to; return the size of each file."""
        sizes = []
        for file in self._everything(partition):
            # What is damaged or gone meanwhile is no time to measure; a merge names it.
            with contextlib.suppress(PartitionChangedError, FileUnreadableError, pa.ArrowException, OSError):
                with self._looker.open(partition, file) as opened:
                    for batch in opened.iter_batches(columns=["ts"]):
                        del batch
                sizes.append(file.size_bytes)
        return sizes

    def _everything(self, partition: str) -> Sequence[Candidate]:
        return self._rewriter.found(partition, self._rewriter.journals.entries(partition)).candidates

    def compact(self, partition: str) -> Result:
        """Merge what can be merged of a partition.

        Raises:
            StoreUnavailableError: A store refused; a repeat goes on from where this ended.
            ManifestError: The journal of the partition cannot be read.
        """
        result = Result(partition)
        with self._rewriter.alone(partition) as is_ours:
            if not is_ours:
                result.busy = result.is_pending = True
                return result
            entries, result.busy = self._rewriter.settled(partition)
            if result.busy:
                result.is_pending = True
                return result
            result.is_pending = self._rewriter.clear(partition, entries, grace_ns=self._policy.grace_ns)
            self._look(result, entries)
            with contextlib.suppress(PartitionChangedError):  # the next round sees what there is now
                for group in self._groups(result):
                    try:
                        n = len(entries) + len(result.merges) + 1
                        result.merges.append(Merge(group, self._rewriter.rewrite(partition, n, group)))
                    except PermanentError as error:
                        result.failures.append(error)
        result.is_pending |= bool(result.merges)
        return result

    def _look(self, result: Result, entries: Sequence[Entry]) -> None:
        names = self._rewriter.names(result.partition, entries)
        parts = sorted(name for name in names if not is_output(name))
        if parts and not self._is_quiet(self._looker.footer(result.partition, parts[-1])):
            result.quiet = False  # its newest part says so: no need to look at the others
            return
        result.found = self._looker.look(result.partition, names)
        newest_us = max((file.last_us for file in result.found.candidates if not is_output(file.name)), default=0)
        result.quiet = self._clock.wall_ns() - newest_us * _US >= self._policy.quiet_ns

    def _is_quiet(self, footer: Footer | Left) -> bool:
        return isinstance(footer, Left) or self._clock.wall_ns() - footer.last_us * _US >= self._policy.quiet_ns

    def _groups(self, result: Result) -> list[tuple[Candidate, ...]]:
        if result.found is None or not result.quiet:
            return []
        return plan(result.found.candidates, self._policy.merge)
