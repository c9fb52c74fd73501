"""A stored object as a file that libraries can read and seek in; each read that leaves its buffer asks the store."""

import io
from typing import Final

from typing_extensions import Buffer, override

from fluxforge.domain.errors import ObjectNotFoundError
from fluxforge.ports.store import Store

_BUFFER_BYTES: Final = 2**20


class _Ranges(io.RawIOBase):
    def __init__(self, store: Store, key: str, size_bytes: int) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._size_bytes = size_bytes
        self._at = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = begin + offset
        return self._at

    @override
    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._size_bytes or not view.nbytes:
            return 0
        body = self._store.read(self._key, offset=self._at, length=view.nbytes)
        view[: len(body)] = body
        self._at += len(body)
        return len(body)


def stored_file(store: Store, key: str) -> io.BufferedReader:
    """Open an object for reading.

    Raises:
        ObjectNotFoundError: No such object.
    """
    size_bytes = store.size(key)
    if size_bytes is None:
        raise ObjectNotFoundError(key)
    return io.BufferedReader(_Ranges(store, key, size_bytes), _BUFFER_BYTES)
