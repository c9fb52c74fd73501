"""Source: the uncompressed bytes of a sealed segment in bounded pieces, checked against its manifest."""

import hashlib
import io
from collections.abc import Iterator
from typing import IO, Final, cast

import zstandard
from typing_extensions import override

from fluxforge.domain.control import Control, Event
from fluxforge.domain.errors import RecordError, SegmentCorruptError
from fluxforge.domain.layout import Layout
from fluxforge.domain.record import CONTROL_CHANNEL, read_data, read_envelope
from fluxforge.domain.segment import Manifest
from fluxforge.ports.store import Store

CHUNK_BYTES: Final = 1_048_576


def segment_chunks(store: Store, key: str) -> Iterator[bytes]:
    """Yield the NDJSON of a segment, decompressed when its name says so.

    Raises:
        ObjectNotFoundError: There is no such segment.
        SegmentCorruptError: Not zstd, though its name says so.
    """
    raw = _StoredObject(store, key)
    if not key.endswith(".zst"):
        while chunk := raw.read(CHUNK_BYTES):
            yield chunk
        return
    reader = zstandard.ZstdDecompressor().stream_reader(cast("IO[bytes]", raw), read_across_frames=True)
    try:
        while chunk := reader.read(CHUNK_BYTES):
            yield chunk
    except zstandard.ZstdError as error:
        raise SegmentCorruptError(key, "zstd frames", str(error)) from error


def sealed_chunks(store: Store, layout: Layout, manifest: Manifest) -> Iterator[bytes]:
    """Yield the NDJSON of a segment; whoever reads to the end knows that it is what was sealed.

    Raises:
        SegmentCorruptError: At the end: size or checksum differ from the manifest's.
    """
    key = layout.segment_key(manifest.lane, manifest.file)
    checksum, size_bytes = hashlib.sha256(), 0
    for chunk in segment_chunks(store, key):
        checksum.update(chunk)
        size_bytes += len(chunk)
        yield chunk
    if size_bytes != manifest.size_bytes:
        raise SegmentCorruptError(key, f"{manifest.size_bytes} bytes", f"{size_bytes}")
    if checksum.hexdigest() != manifest.sha256:
        raise SegmentCorruptError(key, f"sha256 {manifest.sha256}", checksum.hexdigest())


def boots_stopped_at_end(store: Store, key: str) -> frozenset[str]:
    """Return the boots whose `stopped` record stands near the end of a segment.

    Raises:
        ObjectNotFoundError: There is no such segment.
    """
    tail = b""
    for chunk in segment_chunks(store, key):
        tail = (tail + chunk)[-CHUNK_BYTES:]
    return frozenset(boot for line in tail.split(b"\n") if (boot := _stopped_boot(line)))


def _stopped_boot(line: bytes) -> str | None:
    if b'"stopped"' not in line:
        return None
    try:
        envelope = read_envelope(line)
        is_control = envelope.channel == CONTROL_CHANNEL
        return envelope.boot if is_control and Control.from_json(read_data(line)).event is Event.STOPPED else None
    except RecordError:
        return None  # a cut or bad line; the segment's own processing names it


class _StoredObject(io.RawIOBase):
    """An object of a store as a file to be read from front to back."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._offset = 0

    @override
    def read(self, size: int = -1, /) -> bytes:
        body = self._store.read(self._key, offset=self._offset, length=None if size < 0 else size)
        self._offset += len(body)
        return body
