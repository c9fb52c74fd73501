"""Partitions on a local disk: a directory with the new files changes places with the old one, in one step.

Whoever lists a directory sees the old files or the new ones, never some of both. What the old directory held stays
readable until it is cleared, out of sight below `.tmp/`.
"""

import os
import secrets
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from typing_extensions import override

from fluxforge.adapters.local_files import exchange, fsync_directory, locked
from fluxforge.adapters.local_store import LocalStore, directory_id, refusals
from fluxforge.domain.errors import ConfigurationError, PartitionChangedError
from fluxforge.domain.journal import Claim
from fluxforge.domain.layout import TMP
from fluxforge.ports.partitions import Partitions

_FOREIGN: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "virtiofs"})
_MOUNTS: Final = Path("/proc/self/mounts")


class LocalPartitions(Partitions):
    """The partitions of a local store."""

    __slots__ = ("_base_dir", "_store")

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._base_dir = store.base_dir

    @property
    @override
    def are_ours_alone(self) -> bool:
        return True

    @override
    def probe(self) -> None:
        self._store.probe()
        kind = _kind_of_mount(self._base_dir)
        if kind in _FOREIGN or (kind or "").startswith("fuse"):
            raise ConfigurationError(
                f"storage base_dir {str(self._base_dir)!r} is on {kind}: files of a partition are replaced on a local "
                "file system alone, where one kernel sees every lock; for several machines use S3"
            )
        one, other = (self._base_dir / TMP / f"probe_{secrets.token_hex(4)}" for _ in range(2))
        try:
            one.mkdir()
            other.mkdir()
            if not exchange(one, other):
                raise ConfigurationError(
                    f"storage base_dir {str(self._base_dir)!r}: two directories cannot change places in one step here "
                    f"({sys.platform}, {kind or 'unknown file system'}); compaction needs Linux and ext4, XFS or btrfs"
                )
        finally:
            for made in (one, other):
                if made.is_dir():
                    made.rmdir()

    @contextmanager
    @override
    def alone(self, partition: str) -> Iterator[bool]:
        with locked(self._store.lock_file(f"merge {partition}"), wait=False) as is_ours:
            yield is_ours

    @override
    def folder(self, partition: str, token: str) -> Path:
        folder = self._home(partition, token) / "new"
        with refusals("merge", partition):
            folder.mkdir(parents=True)
            fsync_directory(self._base_dir / TMP)
        return folder

    @override
    def replace(self, claim: Claim, folder: Path) -> None:
        place = self._base_dir / claim.partition
        with refusals("replace", claim.partition), self._store.holding(claim.partition, shared=False):
            self._check(claim, place)
            parents = {file.name for file in claim.parents}
            _link_others(place, folder, parents)
            shutil.copymode(place, folder)
            owner = place.stat()
            if (owner.st_uid, owner.st_gid) != (os.getuid(), os.getgid()):
                os.chown(folder, owner.st_uid, owner.st_gid)  # else its writers could not write there any more
            fsync_directory(folder)
            if not exchange(folder, place):
                raise ConfigurationError(f"partition {claim.partition!r}: directories cannot change places here")
            self._complete(claim, folder)

    @override
    def finish(self, claim: Claim) -> None:
        folder = self._home(claim.partition, claim.token) / "new"
        with refusals("finish", claim.partition), self._store.holding(claim.partition, shared=False):
            if folder.is_dir():
                self._complete(claim, folder)

    def _complete(self, claim: Claim, folder: Path) -> None:
        """Bring an exchange to disk; `folder` is the old directory now."""
        place = self._base_dir / claim.partition
        if place.is_dir():  # else nothing was left to stand there, and it was removed already
            # What was put there by hand in the very moment, by somebody who knows of no lock.
            _link_others(folder, place, {file.name for file in claim.parents})
            fsync_directory(place)
        for changed in (place.parent, folder.parent):
            fsync_directory(changed)
        if claim.output is None:
            with suppress(OSError):  # others stand there, or it is gone
                place.rmdir()

    @override
    def stand(self, claim: Claim) -> bool:
        if claim.output is None:
            return all(self._size(claim.partition, file.name) is None for file in claim.parents)
        return self._size(claim.partition, claim.output.name) == claim.output.size_bytes

    @override
    def clear(self, claim: Claim, *, merged: bool, listed: Collection[str]) -> None:
        home = self._home(claim.partition, claim.token)
        with refusals("clear", claim.partition):
            if home.is_dir():
                shutil.rmtree(home)
                fsync_directory(home.parent)

    @override
    def sweep(self, partition: str, tokens: Collection[str]) -> None:
        prefix = f"merge_{directory_id(partition)}."
        with refusals("sweep", partition):
            for entry in os.scandir(self._base_dir / TMP):
                if entry.name.startswith(prefix) and entry.is_dir() and entry.name.removeprefix(prefix) not in tokens:
                    shutil.rmtree(entry.path)

    def _home(self, partition: str, token: str) -> Path:
        return self._base_dir / TMP / f"merge_{directory_id(partition)}.{token}"

    def _size(self, partition: str, name: str) -> int | None:
        return self._store.size(f"{partition}/{name}")

    def _check(self, claim: Claim, place: Path) -> None:
        for file in claim.parents:
            found = self._size(claim.partition, file.name)
            if found != file.size_bytes:
                was = "is gone" if found is None else f"has {found} bytes, {file.size_bytes} were merged"
                raise PartitionChangedError(claim.partition, f"{file.name} {was}")
        with os.scandir(place) as listing:
            folder = next((entry.name for entry in listing if entry.is_dir()), None)
        if folder is not None:
            raise PartitionChangedError(claim.partition, f"it holds a directory, {folder}")


def _link_others(source: Path, goal: Path, parents: Collection[str]) -> None:
    """Let every file but the parents stand in the other directory, too."""
    for entry in os.scandir(source):
        if entry.name not in parents and not (goal / entry.name).exists():
            if entry.is_dir():
                Path(entry).rename(goal / entry.name)
            else:
                os.link(entry.path, goal / entry.name)


def _kind_of_mount(path: Path) -> str | None:
    """Return the kind of the file system that holds a directory; None where the system does not tell."""
    if not _MOUNTS.exists():
        return None
    real = path.resolve()
    mounts = [line.split()[1:3] for line in _MOUNTS.read_text().splitlines()]
    holding = [
        (len(at), n, kind) for n, (at, kind) in enumerate(mounts) if real.is_relative_to(at.replace("\\040", " "))
    ]
    return max(holding)[2] if holding else None  # of mounts over one another the last one shows
