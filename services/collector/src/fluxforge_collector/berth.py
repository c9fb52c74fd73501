"""The berth of a collector on its machine: the spool directories it has for itself, and the name it is known by.

A directory belongs to one living process, by a lock that ends with it; a second collector of the lane on the same
machine takes the next one. The name stays with the directory: whoever has the lock is its only heir, so that a process
that starts again takes the lease of its dead predecessor without waiting for its end.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fluxforge.domain.errors import ConfigurationError
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import make_directory

_NAME_BYTES: Final = 8
_FIRST: Final = 1


class Berth:
    """The directories locked by this process, the one it works in first; held until `leave` or the process' end."""

    def __init__(self, settings: SpoolSettings) -> None:
        """Lock the first directory that is free, and every other one in which a dead process left something.

        Raises:
            ConfigurationError: The directory cannot be written.
        """
        self._locks: list[int] = []
        self.directories: list[Path] = []
        self.name = ""
        """Who holds the first of these directories."""
        try:
            make_directory(settings.directory.parent, sync=settings.fsync)
            for directory in _candidates(settings.directory):
                self._take(directory)
        except OSError as error:
            self.leave()
            raise ConfigurationError(
                f"spool directory {str(settings.directory)!r} cannot be used: {error.strerror or error}; "
                "set ingestion.spool_dir to one that can be written"
            ) from error

    def leave(self) -> None:
        """Give the directories free."""
        while self._locks:
            os.close(self._locks.pop())

    def _take(self, directory: Path) -> None:
        if self.directories and not (directory.is_dir() and any(directory.glob("*.spool"))):
            return
        lock = os.open(directory.with_name(f"{directory.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return
        self._locks.append(lock)
        self.directories.append(directory)
        if not self.name:
            self.name = _name(lock)


def _candidates(directory: Path) -> Iterator[Path]:
    """Yield the lane's directory and those beside it: as many as were ever used, and one more."""
    yield directory
    number = _FIRST + 1
    while True:
        beside = directory.with_name(f"{directory.name}~{number}")
        yield beside
        if not beside.with_name(f"{beside.name}.lock").exists():
            return
        number += 1


def _name(lock: int) -> str:
    known = os.read(lock, 2 * _NAME_BYTES).decode(errors="replace")
    if len(known) == 2 * _NAME_BYTES:
        return known
    name = secrets.token_hex(_NAME_BYTES)
    os.ftruncate(lock, 0)
    os.pwrite(lock, name.encode(), 0)
    return name
