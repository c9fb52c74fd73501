"""Frames: how a block stands on disk: lengths, checksum, headers, payload. Does no I/O."""

import struct
import zlib
from typing import Final

import orjson

from fluxforge.domain.block import Block

_FRAME: Final = struct.Struct("<III")
"""Bytes of headers, bytes of payload, CRC-32 of both."""


def frame_size_bytes(block: Block) -> int:
    """Return what a block takes on disk."""
    return _FRAME.size + len(orjson.dumps(block.headers())) + len(block.payload)


def frame_of(block: Block) -> bytes:
    """Return a block as it stands on disk."""
    headers = orjson.dumps(block.headers())
    checksum = zlib.crc32(block.payload, zlib.crc32(headers))
    return _FRAME.pack(len(headers), len(block.payload), checksum) + headers + block.payload


def unframe(data: bytes, offset: int) -> tuple[Block, int] | None:
    """Return the block at an offset and where it ends; None where no whole block stands."""
    if offset + _FRAME.size > len(data):
        return None
    headers_size, payload_size, checksum = _FRAME.unpack_from(data, offset)
    if not headers_size:
        return None  # zeros, which a crash may leave behind the last block, have the checksum of nothing
    begin = offset + _FRAME.size
    middle, end = begin + headers_size, begin + headers_size + payload_size
    if end > len(data) or zlib.crc32(data[begin:end]) != checksum:
        return None
    return Block.from_message(orjson.loads(data[begin:middle]), data[middle:end]), end
