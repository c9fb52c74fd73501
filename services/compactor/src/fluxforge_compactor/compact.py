"""Compaction of one partition: settle what was begun, clear what is over, merge what can be; safe to kill anywhere.

A merge writes its outputs aside and checks them, claims, lets them take their parents' place, and settles. Whoever
comes after a death in between finds the claim, and settles it by what stands.
"""

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import pyarrow as pa

from fluxforge.domain.errors import FileUnreadableError, PartitionChangedError, PermanentError
from fluxforge.domain.journal import Claim, Entry, File, Settlement, is_output, live, output_name
from fluxforge.domain.partition import key_columns
from fluxforge.ports.clock import Clock
from fluxforge.ports.partitions import Partitions
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals
from fluxforge_compactor.candidates import Footer, Found, Left, Looker
from fluxforge_compactor.merge import Sorted
from fluxforge_compactor.output import SOFTWARE, write_output
from fluxforge_compactor.plan import Candidate, MergePolicy, plan

_NS: Final = 1_000_000_000
_US: Final = 1_000
_CLAIM_STALE_NS: Final = 900 * _NS
"""A claim of another machine that is older is abandoned; one that lives on then loses its work, and nothing else."""


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
        self._partitions = partitions
        self._policy = policy
        self._clock = clock
        self._journals = Journals(looker.output)

    @property
    def output(self) -> Store:
        """The store of the datasets."""
        return self._looker.output

    def partitions(self, prefix: str, *, at_least: int = 1) -> list[str]:
        """Return the partitions at or below a key prefix that hold at least so many files."""
        return [partition for partition, count in self._looker.partitions(prefix).items() if count >= at_least]

    def preview(self, partition: str) -> Result:
        """Return what `compact` would merge now; nothing is changed."""
        result = Result(partition)
        self._look(result, self._journals.entries(partition))
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
        names = self._looker.listed(partition)
        if not self._partitions.are_ours_alone:
            names = live(names, self._journals.entries(partition))
        found = self._looker.look(partition, names)
        return found.candidates

    def compact(self, partition: str) -> Result:
        """Merge what can be merged of a partition.

        Raises:
            StoreUnavailableError: A store refused; a repeat goes on from where this ended.
            ManifestError: The journal of the partition cannot be read.
        """
        result = Result(partition)
        with self._partitions.alone(partition) as is_ours:
            if not is_ours:
                result.busy = result.is_pending = True
                return result
            entries = self._settled(partition, result)
            self._partitions.sweep(partition, {entry.claim.token for entry in entries})
            if result.busy:
                return result
            self._clear(partition, entries, result)
            self._look(result, entries)
            with contextlib.suppress(PartitionChangedError):  # the next round sees what there is now
                for group in self._groups(result):
                    try:
                        result.merges.append(self._merge(partition, len(entries) + len(result.merges) + 1, group))
                    except PermanentError as error:
                        result.failures.append(error)
        result.is_pending |= bool(result.merges)
        return result

    def _settled(self, partition: str, result: Result) -> list[Entry]:
        """Return the journal with every claim settled that can be."""
        entries = self._journals.entries(partition)
        for position, entry in enumerate(entries):
            if entry.settlement is not None:
                continue
            merged = self._partitions.stand(entry.claim)
            age_ns = self._clock.wall_ns() - entry.claim.created_ns
            if not merged and not self._partitions.are_ours_alone and age_ns < _CLAIM_STALE_NS:
                result.busy = result.is_pending = True
                continue
            if merged:
                self._partitions.finish(entry.claim)
            settlement = self._journals.settle(entry.claim, Settlement(merged, self._clock.wall_ns()))
            entries[position] = Entry(entry.claim, settlement)
        return entries

    def _clear(self, partition: str, entries: Sequence[Entry], result: Result) -> None:
        """Delete what settled claims left, once nobody reads it any more."""
        listed = self._looker.listed(partition)
        for entry in entries:
            if entry.settlement is None:
                continue
            age_ns = self._clock.wall_ns() - entry.settlement.created_ns
            if not entry.settlement.merged or age_ns >= self._policy.grace_ns:
                self._partitions.clear(entry.claim, merged=entry.settlement.merged, listed=listed)
            else:
                result.is_pending = True

    def _look(self, result: Result, entries: Sequence[Entry]) -> None:
        names = self._looker.listed(result.partition)
        if not self._partitions.are_ours_alone:
            names = live(names, entries)
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

    def _merge(self, partition: str, n: int, group: Sequence[Candidate]) -> Merge:
        token = secrets.token_hex(6)
        folder = self._partitions.folder(partition, token)
        footer = self._looker.footer(partition, group[0].name)
        if isinstance(footer, Left):
            raise PartitionChangedError(partition, f"{footer.name}: {footer.reason}")
        output = write_output(
            [
                Sorted(f"{partition}/{file.name}", file.first_us, partial(self._looker.open, partition, file))
                for file in group
            ],
            folder / output_name(token, 1),
            partition=partition,
            rows=sum(file.rows for file in group),
            keys=key_columns(footer.metadata["fluxforge.dataset"]),
            compression=self._policy.compression,
            metadata={**footer.metadata, "fluxforge.merged": str(len(group))},
        )
        claim = Claim(
            partition=partition,
            n=n,
            token=token,
            parents=tuple(File(file.name, file.rows, file.size_bytes) for file in group),
            outputs=(output,),
            created_ns=self._clock.wall_ns(),
            software=SOFTWARE,
        )
        if not self._journals.claim(claim):
            raise PartitionChangedError(partition, f"claim {n} is another compactor's")
        self._partitions.replace(claim, folder)
        settlement = self._journals.settle(claim, Settlement(merged=True, created_ns=self._clock.wall_ns()))
        if not settlement.merged:
            raise PartitionChangedError(partition, f"claim {n} was abandoned by another compactor")
        return Merge(tuple(group), output)
