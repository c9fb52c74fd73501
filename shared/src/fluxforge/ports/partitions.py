"""The partitions port: how files of a partition are replaced by others without a reader ever getting a wrong answer.

The calls block. On a disk outputs appear and parents go in one step. In an object store outputs stand beside their
parents, and the journal tells readers which of them count.
"""

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from fluxforge.domain.journal import Claim


class Partitions(Protocol):
    """The partitions of one output store. A partition is known by its key prefix.

    Every method may raise `StoreUnavailableError`, after which a repeat settles what happened.
    """

    @property
    def are_ours_alone(self) -> bool:
        """Whether nobody else can be at work on a partition while `alone` is held, on no machine."""
        ...

    def probe(self) -> None:
        """Make sure that files can be replaced here.

        Raises:
            ConfigurationError: They cannot; the message says why and what would be right.
        """
        ...

    def alone(self, partition: str) -> AbstractContextManager[bool]:
        """Keep every other process of this machine from working on a partition; false: one is."""
        ...

    def folder(self, partition: str, token: str) -> Path:
        """Return a new, empty, local directory in which the outputs of a merge are written and fsynced."""
        ...

    def replace(self, claim: Claim, folder: Path) -> None:
        """Let the outputs of a claim, which stand in `folder`, take the place of its parents.

        Raises:
            PartitionChangedError: A parent stands no more, or is another file; nothing was changed.
        """
        ...

    def stand(self, claim: Claim) -> bool:
        """Return whether the output of a claim stands in its place; where it has none, whether no parent does."""
        ...

    def finish(self, claim: Claim) -> None:
        """Complete, durably, a replacement whose outputs stand and of which its maker may have died. Hold `alone`."""
        ...

    def clear(self, claim: Claim, *, merged: bool, listed: Collection[str]) -> None:
        """Delete what a settled claim left: its parents, or, where it was abandoned, its outputs.

        `listed`: the names that stand in the partition.
        """
        ...

    def sweep(self, partition: str, tokens: Collection[str]) -> None:
        """Delete what merges left that never claimed anything: all but those of these tokens. Hold `alone`."""
        ...
