"""A store in memory, with the contract of the store port and nothing else.

Nothing in it survives the process; "durable" means that it was put here.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from fluxforge.domain.errors import ObjectExistsError, ObjectNotFoundError, StoreUnavailableError
from fluxforge.ports.store import Store, check_key, check_prefix


class MemoryStore(Store):
    """Objects in a dictionary."""

    __slots__ = ("_lock", "_objects")

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    @override
    def place(self) -> str:
        return "memory"

    @override
    def probe(self) -> None:
        """Find nothing that could be wrong."""

    @override
    def create(self, key: str, body: bytes) -> None:
        check_key(key)
        with self._lock:
            if key in self._objects:
                raise ObjectExistsError(key)
            self._objects[key] = bytes(body)

    @override
    def adopt(self, key: str, path: Path) -> None:
        check_key(key)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise StoreUnavailableError("adopt", key, f"{path}: {error.strerror}") from error
        self.create(key, body)

    @override
    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        with self._lock:
            body = self._objects.get(key)
        if body is None:
            raise ObjectNotFoundError(key)
        return body[offset:] if length is None else body[offset : offset + length]

    @override
    def size(self, key: str) -> int | None:
        check_key(key)
        with self._lock:
            body = self._objects.get(key)
        return None if body is None else len(body)

    @override
    def keys(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        below = f"{prefix}/" if prefix else ""
        with self._lock:
            found = sorted(key for key in self._objects if key.startswith(below))
        yield from found

    @override
    def move(self, key: str, target: str) -> None:
        check_key(key)
        check_key(target)
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFoundError(key)
            if target in self._objects:
                raise ObjectExistsError(target)
            self._objects[target] = self._objects.pop(key)

    @override
    def delete(self, key: str) -> None:
        check_key(key)
        with self._lock:
            self._objects.pop(key, None)
