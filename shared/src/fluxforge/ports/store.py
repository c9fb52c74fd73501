"""The store port: immutable objects under relative keys, on a directory or on S3.

Every write is durable when the call returns (local: file and directories fsynced). No call overwrites an object.
The calls block; a service runs them off its event loop.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fluxforge.domain.errors import NameRefusedError
from fluxforge.domain.layout import TMP


class Store(Protocol):
    """Immutable objects under keys such as `raw/ready/ccxt/binance-0of1/segment_20261122T10_00001.ndjson`.

    Every method may raise `StoreUnavailableError` (nothing changed, or, for writes, an unknown outcome that a repeat
    settles) and, for a failed fsync, `DurabilityError`.
    """

    @property
    def place(self) -> str:
        """Where the store is, for a message."""
        ...

    def probe(self) -> None:
        """Make sure that the store can be written and keeps what this port promises; sweep what killed writers left.

        Raises:
            ConfigurationError: It cannot; the message says where it is and what would be right.
            StoreUnavailableError: It is full, or does not answer.
        """
        ...

    def create(self, key: str, body: bytes) -> None:
        """Create a whole object; readers never see a part of it.

        Raises:
            ObjectExistsError: The key is taken; its object is untouched.
        """
        ...

    def adopt(self, key: str, path: Path) -> None:
        """Enter a finished, fsynced local file as an object; the file may stay where it was.

        Raises:
            ObjectExistsError: The key is taken; its object is untouched.
        """
        ...

    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes from `offset`, or fewer at the end.

        Raises:
            ObjectNotFoundError: No such object.
        """
        ...

    def size(self, key: str) -> int | None:
        """Return the size in bytes, or None where there is no such object."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield, sorted, the keys below `prefix/` at any depth. What is half-written is never listed."""
        ...

    def move(self, key: str, target: str) -> None:
        """Give an object another key.

        Raises:
            ObjectNotFoundError: No object under `key`.
            ObjectExistsError: `target` is taken; both objects are untouched.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object, durably; one that is not there is no error."""
        ...


def check_key(key: str) -> None:
    """Refuse a key that could leave the store or meet what is half-written there.

    Raises:
        NameRefusedError: Empty, absolute, with an empty, `.` or `..` component or NUL, or directly below `.tmp/`.
    """
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\0" in key:
        raise NameRefusedError("key", key, "expected names joined by '/', none of them empty, '.' or '..'")
    if parts[0] == TMP and len(parts) <= 2:  # noqa: PLR2004 - .tmp/<name>
        raise NameRefusedError("key", key, f"{TMP}/<name> is where stores keep what is half-written")


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that could leave the store; "" is the whole store.

    Raises:
        NameRefusedError: See `check_key`; `.tmp` and what is below may be listed.
    """
    if prefix and prefix != TMP and not (prefix.startswith(f"{TMP}/") and prefix.count("/") == 1):
        check_key(prefix)
