"""The spool: a lane's blocks on the local disk while the bus is away or full; first in, first out, across restarts.

Files of whole blocks, each with its length and checksum, durable before `append` returns. A file goes only when all its
blocks are known to be stored on the bus. A torn tail, which a kill during an append leaves, was never counted as kept
and is cut off.
"""

import errno
import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import ConfigurationError, DurabilityError, TransientError
from fluxforge_collector.frames import frame_of, frame_size_bytes, unframe
from fluxforge_collector.settings import SpoolSettings

_SUFFIX: Final = ".spool"
_FILE_BYTES_MAX: Final = 64 * 2**20
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolFullError(TransientError):
    """The disk is full: none of these blocks is kept, everything kept before still is."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a block stands."""

    path: Path
    offset: int
    size_bytes: int
    id: BlockId
    records: int


class Spool:
    """The spool of one lane. Its calls block; one caller at a time."""

    def __init__(self, settings: SpoolSettings) -> None:
        """Open the spool as the last process left it.

        Raises:
            ConfigurationError: The directory cannot be written.
        """
        self._settings = settings
        self._files: dict[Path, set[BlockId]] = {}
        self._unsent: deque[_Entry] = deque()
        self._number = 0
        self._failure: DurabilityError | None = None
        self.size_bytes = 0
        self.records = 0
        """Records that stand here and were not handed on yet."""
        try:
            make_directory(settings.directory, sync=settings.fsync)
            for path in sorted(settings.directory.glob(f"*{_SUFFIX}")):
                self._adopt(path)
        except OSError as error:
            raise ConfigurationError(
                f"spool directory {str(settings.directory)!r} cannot be used: {error.strerror or error}; "
                "set ingestion.spool_dir to one that can be written"
            ) from error

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands here, sent or not."""
        return not self._files

    def has_room(self, blocks: Sequence[Block]) -> bool:
        """Return whether these blocks, all of them, still fit."""
        return self.size_bytes + sum(map(frame_size_bytes, blocks)) <= self._settings.size_bytes_max

    def ids(self) -> list[BlockId]:
        """Return the ids of the blocks to hand on, oldest first."""
        return [entry.id for entry in self._unsent]

    def first(self) -> Block | None:
        """Return the oldest block to hand on, and leave it here."""
        return _read(self._unsent[0]) if self._unsent else None

    def last(self) -> Block | None:
        """Return the newest block to hand on, and leave it here."""
        return _read(self._unsent[-1]) if self._unsent else None

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks to hand on, oldest first, and leave them here."""
        return map(_read, tuple(self._unsent))

    def append(self, blocks: Sequence[Block], *, sent: int = 0) -> None:
        """Keep blocks, durably; the first `sent` of them were handed on already.

        Raises:
            SpoolFullError: The disk is full; nothing of these blocks is left on it.
            DurabilityError: Writing failed; nothing here can be trusted from now on.
        """
        if not blocks:
            return
        if self._failure:
            raise self._failure
        path = self._file_to_append()
        try:
            entries = self._write(path, blocks)
            self._sync_directory()
        except OSError as error:
            if error.errno in _DISK_FULL and not path.exists():
                raise SpoolFullError(f"spool {str(path)!r}: {error.strerror}") from error
            self._failure = DurabilityError(f"spool {str(path)!r}: {error.strerror or error}")
            raise self._failure from error
        self._files.setdefault(path, set()).update(entry.id for entry in entries)
        self.size_bytes += sum(entry.size_bytes for entry in entries)
        self._unsent.extend(entries[sent:])
        self.records += sum(entry.records for entry in entries[sent:])

    def next(self) -> Block | None:
        """Hand on the oldest block that was not; None where there is none."""
        if not self._unsent:
            return None
        entry = self._unsent.popleft()
        self.records -= entry.records
        return _read(entry)

    def skip_through(self, last: BlockId) -> int:
        """Count blocks up to `last` as stored on the bus; return how many records that were."""
        skipped = 0
        while self._unsent:
            entry = self._unsent.popleft()
            self.records -= entry.records
            skipped += entry.records
            if entry.id == last:
                break
        return skipped

    def retire(self, unacked: Collection[BlockId]) -> None:
        """Remove the files of which every block was handed on and is not among `unacked`, durably.

        Raises:
            DurabilityError: The directory could not be synced.
        """
        held = {entry.path for entry in self._unsent}
        waiting = set(unacked)
        gone = [path for path, ids in self._files.items() if path not in held and not ids & waiting]
        if not gone:
            return
        try:
            for path in gone:
                self.size_bytes -= path.stat().st_size
                path.unlink()
                del self._files[path]
            self._sync_directory()
        except OSError as error:
            raise DurabilityError(f"spool {str(self._settings.directory)!r}: {error.strerror or error}") from error

    def set_aside(self, folder: str) -> Path:
        """Move every file into a folder of its own, durably: nothing stands here then. Return the folder.

        Raises:
            DurabilityError: The files could not be moved.
        """
        aside = self._settings.directory / folder
        try:
            aside.mkdir(exist_ok=True)
            for path in self._files:
                path.rename(aside / path.name)
            self._sync_directory(aside)
            self._sync_directory()
        except OSError as error:
            raise DurabilityError(f"spool {str(aside)!r}: {error.strerror or error}") from error
        self._files.clear()
        self._unsent.clear()
        self.size_bytes = self.records = 0
        return aside

    def _write(self, path: Path, blocks: Sequence[Block]) -> list[_Entry]:
        with path.open("ab", buffering=0) as file:
            end = offset = file.tell()
            entries = []
            try:
                for block in blocks:
                    frame = frame_of(block)
                    entries.append(_Entry(path, offset, len(frame), block.id, block.records))
                    offset += len(frame)
                    left = memoryview(frame)
                    while left:
                        left = left[file.write(left) :]
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                self._cut_off(file, end)
                raise SpoolFullError(f"spool {str(path)!r}: {error.strerror}") from error
            self._sync(file.fileno())
        return entries

    def _cut_off(self, file: FileIO, end: int) -> None:
        """Remove what a failed append left, durably: the next block must not stand behind half of another."""
        file.truncate(end)
        self._sync(file.fileno())

    def _file_to_append(self) -> Path:
        newest = max(self._files, default=None)
        if newest is not None and newest.exists() and newest.stat().st_size < _FILE_BYTES_MAX:
            return newest
        self._number += 1
        return self._settings.directory / f"{self._number:010d}{_SUFFIX}"

    def _adopt(self, path: Path) -> None:
        self._number = max(self._number, int(path.stem))
        with path.open("r+b") as file:
            entries, end = _scan(path, file.read())
            file.truncate(end)
            self._sync(file.fileno())
        if not entries:
            path.unlink()
            return
        self._files[path] = {entry.id for entry in entries}
        self._unsent.extend(entries)
        self.size_bytes += end
        self.records += sum(entry.records for entry in entries)

    def _sync(self, descriptor: int) -> None:
        if self._settings.fsync:
            os.fsync(descriptor)

    def _sync_directory(self, directory: Path | None = None) -> None:
        if self._settings.fsync:
            _fsync_directory(directory or self._settings.directory)


def make_directory(directory: Path, *, sync: bool) -> None:
    """Make a directory and its parents, durably: a file in one that is not synced goes with it in a power cut."""
    if not directory.parent.is_dir():
        make_directory(directory.parent, sync=sync)
    directory.mkdir(exist_ok=True)
    if sync:  # also of one that stands: whoever made it may have been killed before
        _fsync_directory(directory.parent)


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def spooled_blocks(directory: Path) -> Iterator[Block]:
    """Yield the blocks that stand in a spool, oldest first; nothing is changed, and its collector may work on.

    Files that go meanwhile are left out: their blocks are on the bus.
    """
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        offset = 0
        while found := unframe(data, offset):
            block, offset = found
            yield block


def _scan(path: Path, data: bytes) -> tuple[list[_Entry], int]:
    entries: list[_Entry] = []
    offset = 0
    while found := unframe(data, offset):
        block, end = found
        entries.append(_Entry(path, offset, end - offset, block.id, block.records))
        offset = end
    return entries, offset


def _read(entry: _Entry) -> Block:
    with entry.path.open("rb") as file:
        file.seek(entry.offset)
        found = unframe(file.read(entry.size_bytes), 0)
    if found is None:
        raise DurabilityError(
            f"spool {str(entry.path)!r}: block {entry.id} at offset {entry.offset} is not what was written"
        )
    return found[0]
