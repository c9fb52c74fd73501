"""DBN files: what they hold and their records, of versions 1 to 3, plain or in zstd frames.

A file is read twice: once for its checksum, which makes its records those of one boot, and once for the records.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import zstandard
from databento_dbn import DBNDecoder, DBNError, Metadata

from fluxforge.domain.errors import InputFileError

_CHUNK_BYTES: Final = 65_536  # a hundred times as much can come out of it
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_DBN: Final = b"DBN"
_BOOT_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class DbnFile:
    """A DBN file that begins as one. `boot`: of its content, the same whether compressed or not."""

    path: Path
    boot: str
    metadata: Metadata

    @property
    def dataset(self) -> str:
        """The dataset as Databento writes it, such as `GLBX.MDP3`."""
        return self.metadata.dataset

    @property
    def schema(self) -> str:
        """The schema of all records.

        Raises:
            InputFileError: It is a mixture, as live streams are.
        """
        if self.metadata.schema is None:
            raise InputFileError(str(self.path), "records of several schemas, as a live stream has; expected one")
        return str(self.metadata.schema)

    def records(self) -> Iterator[object]:
        """Yield the records, all in the layout of the newest version.

        Raises:
            InputFileError: Cut off, damaged, or without any record.
        """
        count = 0
        for item in _decoded(self.path):
            if not isinstance(item, Metadata):
                count += 1
                yield item
        if not count:
            raise InputFileError(str(self.path), "holds no records")


def open_dbn(path: Path) -> DbnFile:
    """Return a file that was read to its end, as far as compression goes.

    Raises:
        InputFileError: Not there, empty, not DBN, of a newer version, or cut off.
    """
    checksum = hashlib.sha256()
    for chunk in _plain(path):
        checksum.update(chunk)
    first = next(_decoded(path), None)
    if not isinstance(first, Metadata):
        raise InputFileError(str(path), "cut off within its header")
    return DbnFile(path, checksum.hexdigest()[:_BOOT_DIGITS], first)


def _decoded(path: Path) -> Iterator[object]:
    decoder = DBNDecoder()
    try:
        for chunk in _plain(path):
            decoder.write(chunk)
            yield from decoder.decode()
    except DBNError as error:
        raise InputFileError(str(path), f"not readable as DBN: {error}") from None
    if left := len(decoder.buffer()):
        raise InputFileError(str(path), f"cut off: it ends within a record, {left} bytes into it")


def _plain(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, decompressed where it begins as a zstd frame."""
    try:
        with path.open("rb") as file:
            chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
            first = next(chunks, b"")
            if not first:
                raise InputFileError(str(path), "empty")
            raw = chain((first,), chunks)
            plain = _decompressed(raw) if first.startswith(_ZSTD) else raw
            begin = next(plain, b"")
            if not begin.startswith(_DBN):
                raise InputFileError(str(path), "not a DBN file: it does not begin with a DBN header")
            yield begin
            yield from plain
    except OSError as error:
        raise InputFileError(str(path), error.strerror or str(error)) from error
    except zstandard.ZstdError as error:
        raise InputFileError(str(path), f"damaged: {error}") from error
    except EOFError:
        raise InputFileError(str(path), "cut off: it ends within a zstd frame") from None


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what is in one zstd frame after another.

    Raises:
        EOFError: The last one has no end.
    """
    frame, is_within = zstandard.ZstdDecompressor().decompressobj(), False
    for chunk in chunks:
        rest = chunk
        while rest:
            is_within = True
            if plain := frame.decompress(rest):
                yield plain
            rest = b""
            if frame.eof:
                rest = frame.unused_data
                frame, is_within = zstandard.ZstdDecompressor().decompressobj(), False
    if is_within:
        raise EOFError
