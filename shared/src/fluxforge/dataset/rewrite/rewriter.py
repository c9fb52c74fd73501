"""Rewriting files of one partition: settled what was begun, written aside, claimed, replaced, settled; safe to kill.

Whoever comes after a death in between finds the claim, and settles it by what stands.
"""

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from fluxforge.dataset.rewrite.candidates import Candidate, Found, Left, Looker
from fluxforge.dataset.rewrite.merge import Sorted
from fluxforge.dataset.rewrite.output import Change, Output, write_output
from fluxforge.domain.errors import PartitionChangedError
from fluxforge.domain.journal import Claim, Entry, File, Settlement, live, output_name
from fluxforge.domain.partition import key_columns
from fluxforge.ports.clock import Clock
from fluxforge.ports.partitions import Partitions
from fluxforge.runtime.journals import Journals

_CLAIM_STALE_NS: Final = 900 * 1_000_000_000
"""A claim of another machine that is older is abandoned; one that lives on then loses its work, and nothing else."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A rewriting that changes rows on purpose: why, what becomes of each, and rows that come in beside them."""

    reason: str
    change: Change
    added: Sequence[Sorted] = ()
    added_rows: int = 0


class Rewriter:
    """Rewrites files of the partitions of one output store. `software`: whose name stands in the journal."""

    def __init__(
        self, looker: Looker, partitions: Partitions, clock: Clock, *, compression: str, software: str
    ) -> None:
        self.looker = looker
        self.journals = Journals(looker.output)
        self._partitions = partitions
        self._clock = clock
        self._compression = compression
        self._software = software

    def probe(self) -> None:
        """Make sure that files can be replaced here.

        Raises:
            ConfigurationError: They cannot; the message says why and what would be right.
        """
        self._partitions.probe()

    @property
    def follows_journal(self) -> bool:
        """Whether the journal tells which files count, and not the directory alone."""
        return not self._partitions.are_ours_alone

    def alone(self, partition: str) -> AbstractContextManager[bool]:
        """Keep every other process of this machine from rewriting a partition; false: one is at it."""
        return self._partitions.alone(partition)

    def found(self, partition: str, entries: Sequence[Entry]) -> Found:
        """Return the files of a partition that count."""
        return self.looker.look(partition, self.names(partition, entries))

    def names(self, partition: str, entries: Sequence[Entry]) -> frozenset[str]:
        """Return the names of the files that count: on a disk all that stand, else as the journal says."""
        names = self.looker.listed(partition)
        return live(names, entries) if self.follows_journal else names

    def settled(self, partition: str) -> tuple[list[Entry], bool]:
        """Settle every claim that can be; return the journal, and whether another machine may still be at one.

        Raises:
            ManifestError: The journal cannot be read.
        """
        entries, is_busy = self.journals.entries(partition), False
        for position, entry in enumerate(entries):
            if entry.settlement is not None:
                continue
            stands = self._partitions.stand(entry.claim)
            age_ns = self._clock.wall_ns() - entry.claim.created_ns
            if not stands and not self._partitions.are_ours_alone and age_ns < _CLAIM_STALE_NS:
                is_busy = True
                continue
            if stands:
                self._partitions.finish(entry.claim)
            settlement = self.journals.settle(entry.claim, Settlement(stands, self._clock.wall_ns()))
            entries[position] = Entry(entry.claim, settlement)
        self._partitions.sweep(partition, {entry.claim.token for entry in entries})
        return entries, is_busy

    def clear(self, partition: str, entries: Sequence[Entry], *, grace_ns: int) -> bool:
        """Delete what settled claims left, once nobody reads it any more; return whether something has to wait."""
        listed = self.looker.listed(partition)
        waits = False
        for entry in entries:
            if entry.settlement is None:
                continue
            age_ns = self._clock.wall_ns() - entry.settlement.created_ns
            if not entry.settlement.merged or age_ns >= grace_ns:
                self._partitions.clear(entry.claim, merged=entry.settlement.merged, listed=listed)
            else:
                waits = True
        return waits

    def rewrite(self, partition: str, n: int, group: Sequence[Candidate], edit: Edit | None = None) -> File | None:
        """Make one file of a group of one kind, and return it; None where an edit left no row. `n`: of the claim.

        Raises:
            PartitionChangedError: Somebody else was at work here; nothing was changed.
            RowsDifferError: The rows are not what they should be; nothing was changed.
            FileUnreadableError: One of them is damaged; nothing was changed.
        """
        token = secrets.token_hex(6)
        folder = self._partitions.folder(partition, token)
        footer = self.looker.footer(partition, group[0].name)
        if isinstance(footer, Left):
            raise PartitionChangedError(partition, f"{footer.name}: {footer.reason}")
        sources = [
            Sorted(
                f"{partition}/{file.name}",
                file.first_us,
                partial(self.looker.open, partition, file, coded=edit is None),
            )
            for file in group
        ]
        made = write_output(
            [*sources, *(edit.added if edit else ())],
            Output(
                partition=partition,
                path=folder / output_name(token, 1),
                keys=key_columns(footer.metadata["fluxforge.dataset"]),
                compression=self._compression,
                metadata={**footer.metadata, "fluxforge.merged": str(len(group))},
                schema=footer.schema,
            ),
            rows=sum(file.rows for file in group) + (edit.added_rows if edit else 0),
            change=edit.change if edit else None,
        )
        self._replace(self._claim(partition, n, token, group, made, edit.reason if edit else None), folder)
        return made

    def remove(self, partition: str, n: int, files: Sequence[Candidate], reason: str) -> None:
        """Let files go, unread. `n`: of the claim.

        Raises:
            PartitionChangedError: Somebody else was at work here; nothing was changed.
        """
        token = secrets.token_hex(6)
        folder = self._partitions.folder(partition, token)
        self._replace(self._claim(partition, n, token, files, None, reason), folder)

    def _claim(
        self, partition: str, n: int, token: str, group: Sequence[Candidate], made: File | None, reason: str | None
    ) -> Claim:
        return Claim(
            partition=partition,
            n=n,
            token=token,
            parents=tuple(File(file.name, file.rows, file.size_bytes) for file in group),
            outputs=(made,) if made else (),
            created_ns=self._clock.wall_ns(),
            software=self._software,
            reason=reason,
        )

    def _replace(self, claim: Claim, folder: Path) -> None:
        if not self.journals.claim(claim):
            raise PartitionChangedError(claim.partition, f"claim {claim.n} is another's")
        self._partitions.replace(claim, folder)
        settlement = self.journals.settle(claim, Settlement(merged=True, created_ns=self._clock.wall_ns()))
        if not settlement.merged:
            raise PartitionChangedError(claim.partition, f"claim {claim.n} was abandoned by another")
