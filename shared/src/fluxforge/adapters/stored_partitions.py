"""Partitions in an object store: outputs stand beside their parents, and the journal tells which of them count.

A reader that does not follow the journal sees rows twice from the upload of the outputs until the parents are cleared.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from typing_extensions import override

from fluxforge.adapters.local_files import locked
from fluxforge.adapters.local_store import directory_id, refusals
from fluxforge.domain.errors import ObjectExistsError, PartitionChangedError
from fluxforge.domain.journal import Claim
from fluxforge.ports.partitions import Partitions
from fluxforge.ports.store import Store


class StoredPartitions(Partitions):
    """The partitions of any store; outputs are made in a local directory first."""

    __slots__ = ("_scratch", "_store")

    def __init__(self, store: Store, scratch: Path) -> None:
        self._store = store
        self._scratch = scratch / "merge"

    @property
    @override
    def are_ours_alone(self) -> bool:
        return False

    @override
    def probe(self) -> None:
        self._store.probe()
        with refusals("probe", str(self._scratch)):
            self._scratch.mkdir(parents=True, exist_ok=True)

    @contextmanager
    @override
    def alone(self, partition: str) -> Iterator[bool]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        with locked(self._scratch / f"{directory_id(partition)}.lock", wait=False) as is_ours:
            yield is_ours

    @override
    def folder(self, partition: str, token: str) -> Path:
        folder = self._scratch / f"{directory_id(partition)}.{token}"
        with refusals("merge", partition):
            folder.mkdir(parents=True)
        return folder

    @override
    def replace(self, claim: Claim, folder: Path) -> None:
        for file in claim.parents:
            if self._store.size(f"{claim.partition}/{file.name}") != file.size_bytes:
                raise PartitionChangedError(claim.partition, f"{file.name} is gone, or is another file")
        for file in claim.outputs:
            with suppress(ObjectExistsError):  # ours: nobody else makes this name
                self._store.adopt(f"{claim.partition}/{file.name}", folder / file.name)
        shutil.rmtree(folder)

    @override
    def stand(self, claim: Claim) -> bool:
        return all(self._store.size(f"{claim.partition}/{file.name}") == file.size_bytes for file in claim.outputs)

    @override
    def finish(self, claim: Claim) -> None:
        pass  # an object stands as soon as its upload is answered

    @override
    def clear(self, claim: Claim, *, merged: bool, listed: Collection[str]) -> None:
        for file in claim.parents if merged else claim.outputs:
            if file.name in listed:
                self._store.delete(f"{claim.partition}/{file.name}")

    @override
    def sweep(self, partition: str, tokens: Collection[str]) -> None:
        prefix = f"{directory_id(partition)}."
        with refusals("sweep", partition):
            for entry in os.scandir(self._scratch):
                if entry.name.startswith(prefix) and entry.is_dir():
                    shutil.rmtree(entry.path)
