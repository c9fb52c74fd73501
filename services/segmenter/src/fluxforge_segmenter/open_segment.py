"""The segment being written: a local file that takes blocks in and becomes a finished file with its manifest.

Blocks are buffered; `write` brings them to the file in one piece, `finish` to the disk. A write that failed spoils the
file: whoever owns it discards it. Unfinished, the file is worth nothing: the stream holds the same.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from fluxforge.domain.errors import DurabilityError, StoreUnavailableError
from fluxforge.domain.layout import MANIFEST_SUFFIX
from fluxforge.domain.segment import Manifest
from fluxforge.ports.lanes import StoredBlock
from fluxforge_segmenter.compression import Compression, compression_of, digest_of
from fluxforge_segmenter.contents import Contents, Digest

_CHUNK_BYTES: Final = 4 << 20

Sync = Callable[[int, Path], None]
"""Brings an open file to disk; raises DurabilityError."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished file and its manifest, ready to enter storage."""

    path: Path
    manifest: Manifest

    def renamed(self, name: str) -> "Finished":
        """Return the same segment under another name."""
        manifest = self.manifest
        file = manifest.file.replace(manifest.name, name)
        return Finished(self.path, replace(manifest, name=name, file=file))

    def is_whole(self) -> bool:
        """Read the file and return whether it holds what its manifest says; false where it cannot be read."""
        try:
            with self.path.open("rb") as file:
                found = digest_of(iter(partial(file.read, _CHUNK_BYTES), b""), compression_of(self.path.name))
        except OSError:
            return False
        return found == Digest(self.manifest.size_bytes, self.manifest.sha256)

    def check(self) -> None:
        """Read the file and see that it is whole.

        Raises:
            DurabilityError: It is not; the stream has its bytes.
        """
        if not self.is_whole():
            raise DurabilityError(f"{self.path} does not hold what was written to it: the disk cannot be trusted")


def stem(epoch: int, first: int) -> str:
    """Return the name of a lane's open file, without suffix: where in the stream it begins."""
    return f"{epoch}_{first}"


class OpenSegment:
    """One open segment file. Not for two threads at once."""

    __slots__ = (
        "_buffer",
        "_compression",
        "_fd",
        "_is_finished",
        "_offset",
        "_sha",
        "_sync",
        "buffered_bytes",
        "contents",
        "path",
    )

    def __init__(self, folder: Path, contents: Contents, compression: Compression, sync: Sync) -> None:
        self.contents = contents
        self.path = folder / f"{stem(contents.epoch, contents.first)}{compression.suffix}"
        self.buffered_bytes = 0
        self._compression = compression
        self._sync = sync
        self._buffer: list[bytes] = []
        self._sha = hashlib.sha256()
        self._offset = 0
        self._fd: int | None = None
        self._is_finished = False

    def add(self, stored: StoredBlock) -> None:
        """Take in a checked block; no I/O."""
        self.contents.add(stored)
        if stored.block.payload:
            self._buffer.append(stored.block.payload)
            self.buffered_bytes += len(stored.block.payload)

    def write(self) -> None:
        """Bring what is buffered to the file.

        Raises:
            StoreUnavailableError: Not all of it was written; the file is to be discarded.
        """
        if self._buffer:
            self._append()

    def finish(self) -> Digest:
        """Write the rest, bring the file to disk and return what it holds; one of no records is empty.

        Raises:
            StoreUnavailableError: Not everything was written; the file is to be discarded.
            DurabilityError: The fsync failed.
        """
        if self._buffer or self._fd is None:
            self._append()
        assert self._fd is not None
        self._sync(self._fd, self.path)
        self._is_finished = True
        return Digest(self.contents.size_bytes, self._sha.hexdigest())

    def close(self) -> None:
        """Give the file descriptor back; the file stays."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def abandon(self) -> None:
        """Remove the file unless it is finished, and leave it open: a thread may be writing while its process ends."""
        if not self._is_finished:
            self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _append(self) -> None:
        lines = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        body = self._compression.pack(lines)
        try:
            if self._fd is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            view = memoryview(body)
            written = 0
            while written < len(view):
                written += os.pwrite(self._fd, view[written:], self._offset + written)
        except OSError as error:
            raise StoreUnavailableError("write", str(self.path), error.strerror or str(error)) from error
        self._offset += len(body)
        self._sha.update(lines)
        self._buffer.clear()
        self.buffered_bytes = 0


def keep_manifest(finished: Finished, sync: Sync) -> None:
    """Put the manifest beside its finished file, durably, so that a successor finds both.

    Raises:
        StoreUnavailableError: It was not written.
        DurabilityError: The fsync failed.
    """
    path = _manifest_path(finished.path)
    try:
        with path.open("wb", buffering=0) as file:
            file.write(finished.manifest.to_json())
            sync(file.fileno(), path)
    except OSError as error:
        raise StoreUnavailableError("write", str(path), error.strerror or str(error)) from error


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest beside a file, or None where there is none.

    Raises:
        ManifestError: It is torn.
    """
    beside = _manifest_path(path)
    return Manifest.from_json(beside.read_bytes(), what=str(beside)) if beside.is_file() else None


def remove(finished: Finished) -> None:
    """Remove a finished file that stands in storage, and its manifest."""
    finished.path.unlink(missing_ok=True)
    _manifest_path(finished.path).unlink(missing_ok=True)


def _manifest_path(path: Path) -> Path:
    return path.with_name(path.name + MANIFEST_SUFFIX)
