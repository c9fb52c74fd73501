"""How segment files are written: plain NDJSON, or zstd frames of whole lines; and how either is checked."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import zstandard

from fluxforge_segmenter.contents import Digest

_LEVEL: Final = 3


class Compression(StrEnum):
    """The forms of a segment file."""

    NONE = "none"
    ZSTD = "zstd"

    @property
    def suffix(self) -> str:
        """What the file's name ends in."""
        return ".ndjson.zst" if self is Compression.ZSTD else ".ndjson"

    def pack(self, lines: bytes) -> bytes:
        """Return whole lines as they stand in the file: for zstd one frame that states its content size."""
        return zstandard.ZstdCompressor(level=_LEVEL).compress(lines) if self is Compression.ZSTD else lines


def compression_of(file: str) -> Compression:
    """Return the form a file name tells."""
    return Compression.ZSTD if file.endswith(".zst") else Compression.NONE


def digest_of(chunks: Iterable[bytes], compression: Compression) -> Digest | None:
    """Return size and checksum of the NDJSON inside a file read in chunks; None where it cannot be decompressed."""
    sha = hashlib.sha256()
    size = 0
    decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    for chunk in chunks:
        try:
            lines = decompressor.decompress(chunk) if compression is Compression.ZSTD else chunk
        except zstandard.ZstdError:
            return None
        sha.update(lines)
        size += len(lines)
    return Digest(size, sha.hexdigest())
