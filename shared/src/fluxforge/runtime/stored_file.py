"""Stored files: an object of a store as a file, of which only what is asked for is read."""

import io

from typing_extensions import Buffer, override

from fluxforge.domain.errors import ObjectNotFoundError
from fluxforge.ports.store import Store


class StoredFile(io.RawIOBase):
    """Reads ranges of an object; one that is not there raises ObjectNotFoundError at the first of them."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._offset = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = 0
        if whence == io.SEEK_CUR:
            base = self._offset
        elif whence == io.SEEK_END:
            size_bytes = self._store.size(self._key)
            if size_bytes is None:
                raise ObjectNotFoundError(self._key)
            base = size_bytes
        self._offset = base + offset
        return self._offset

    @override
    def tell(self) -> int:
        return self._offset

    @override
    def read(self, size: int = -1, /) -> bytes:
        body = self._store.read(self._key, offset=self._offset, length=None if size < 0 else size)
        self._offset += len(body)
        return body

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        body = self.read(view.nbytes)
        view[: len(body)] = body
        return len(body)
