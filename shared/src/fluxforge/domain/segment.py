"""Segments: the contiguous ranges of a lane's stream that the segmenter seals, and the manifest that describes each.

A sealed segment is immutable. Its manifest says what it holds without anybody reading it: the stream range, the
sequence ranges of every feed and boot, the checksum of the uncompressed NDJSON, and the segment before it.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import orjson
from typing_extensions import override

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.lane import Lane

MANIFEST_VERSION: Final = 1
_NS: Final = 1_000_000_000
_COUNTER_DIGITS: Final = 5


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """`segment_<YYYYMMDDTHH>_<COUNTER>`: UTC hour and a counter from 1 within the hour. Names of a lane only rise."""

    hour: str
    counter: int

    @override
    def __str__(self) -> str:
        """Return the name, without suffix: the segment's id within its lane."""
        return f"segment_{self.hour}_{self.counter:0{_COUNTER_DIGITS}d}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name written as text.

        Raises:
            ManifestError: Not a segment name.
        """
        parts = text.split("_")
        if len(parts) != 3 or parts[0] != "segment" or not parts[2].isdigit():  # noqa: PLR2004 - three parts
            raise ManifestError(f"segment name {text!r}", "expected segment_<YYYYMMDDTHH>_<COUNTER>")
        return cls(parts[1], int(parts[2]))

    @classmethod
    def next(cls, *, hour: str, counter: int, first_capture_ns: int) -> Self:
        """Return the name after (hour, counter) for a segment that begins at `first_capture_ns`; hours never fall."""
        begins = hour_of(first_capture_ns)
        return cls(begins, 1) if begins > hour else cls(hour, counter + 1)


def hour_of(ns: int) -> str:
    """Return the UTC hour of a time in ns, as `YYYYMMDDTHH`."""
    return datetime.fromtimestamp(ns // _NS, tz=UTC).strftime("%Y%m%dT%H")


@dataclass(frozen=True, slots=True)
class SealPolicy:
    """When an open segment is due to be sealed. Both limits are inclusive."""

    size_bytes_max: int
    age_ns_max: int

    def is_due(self, *, size_bytes: int, age_ns: int) -> bool:
        """Return whether a segment of this size and age must be sealed now."""
        return size_bytes >= self.size_bytes_max or age_ns >= self.age_ns_max


@dataclass(frozen=True, slots=True)
class SegmentIdentity:
    """What makes two segments of one name the same: stream range (inclusive) and checksum of the NDJSON."""

    epoch: int
    first: int
    last: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FeedSeqs:
    """Which seqs of a feed and boot a segment holds: inclusive ranges in order, `count` records."""

    channel: str
    symbol: str | None
    boot: str
    ranges: tuple[tuple[int, int], ...]
    count: int


@dataclass(frozen=True, slots=True)
class FeedLast:
    """The last record of a feed in the lane up to the end of a segment."""

    channel: str
    symbol: str | None
    boot: str
    seq: int


@dataclass(frozen=True, slots=True)
class PreviousSegment:
    """The segment before this one in the lane; its `last_capture_ns` is this one's lower watermark."""

    name: str
    epoch: int
    last_capture_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known of a sealed segment. `size_bytes` and `sha256` are of the uncompressed NDJSON; times ns UTC.

    `holes` are stream ranges (inclusive) inside first..last that were truly gone, or `(n, n - 1)` where the block at n
    does not follow the one before it; `hole_ns` for each of them the capture_ns of the block before and of the one
    after (0: not known). `last_block` is the id of the lane's last block up to here; `final` tells that a `lane_closed`
    stands at its end. `file` is the object's file name.
    """

    name: str
    file: str
    source: str
    exchange: str
    shard: str
    epoch: int
    first: int
    last: int
    records: int
    size_bytes: int
    sha256: str
    first_capture_ns: int
    last_capture_ns: int
    feeds: tuple[FeedSeqs, ...]
    last_seqs: tuple[FeedLast, ...]
    holes: tuple[tuple[int, int], ...]
    last_block: str | None
    previous: PreviousSegment | None
    final: bool
    created_ns: int
    software: str
    hole_ns: tuple[tuple[int, int], ...] = ()
    v: int = MANIFEST_VERSION

    @property
    def lane(self) -> Lane:
        """The lane the segment belongs to."""
        return Lane(self.source, self.exchange, self.shard)

    @property
    def identity(self) -> SegmentIdentity:
        """What a commit record refers to."""
        return SegmentIdentity(self.epoch, self.first, self.last, self.sha256)

    @property
    def compressed(self) -> bool:
        """Whether the object is zstd frames rather than plain NDJSON."""
        return self.file.endswith(".zst")

    @property
    def after_ns(self) -> int:
        """The watermark before the segment: all its records are later."""
        return self.previous.last_capture_ns if self.previous else self.first_capture_ns - 1

    def to_json(self) -> bytes:
        """Return the manifest as one JSON object, ending in a newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, text: bytes, *, what: str = "manifest") -> Self:
        """Return the manifest of its JSON.

        Raises:
            ManifestError: Unreadable, of an unknown version, or lacking a field; `what` names the object.
        """
        raw = _object(text, what)
        try:
            previous = raw.pop("previous")
            return cls(
                feeds=tuple(
                    FeedSeqs(**{**f, "ranges": tuple((a, b) for a, b in f["ranges"])}) for f in raw.pop("feeds")
                ),
                last_seqs=tuple(FeedLast(**f) for f in raw.pop("last_seqs")),
                holes=tuple((a, b) for a, b in raw.pop("holes")),
                hole_ns=tuple((a, b) for a, b in raw.pop("hole_ns", ())),
                previous=PreviousSegment(**previous) if previous else None,
                **raw,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(what, f"unexpected fields: {error}") from error


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """The payload of a `segments.sealed` message: a hint that a segment stands in storage."""

    lane: str
    segment: str
    size_bytes: int
    records: int
    last_capture_ns: int

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return the event of a segment."""
        return cls(str(manifest.lane), manifest.name, manifest.size_bytes, manifest.records, manifest.last_capture_ns)

    def to_json(self) -> bytes:
        """Return the payload."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the event of a payload.

        Raises:
            ManifestError: Not such a payload.
        """
        raw = _object(text, "segments.sealed event", versioned=False)
        try:
            return cls(**raw)
        except TypeError as error:
            raise ManifestError("segments.sealed event", str(error)) from error


def _object(text: bytes, what: str, *, versioned: bool = True) -> dict[str, Any]:
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ManifestError(what, f"not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ManifestError(what, "expected a JSON object")
    if versioned and raw.get("v") != MANIFEST_VERSION:
        raise ManifestError(what, f"expected version {MANIFEST_VERSION}, was {raw.get('v')!r}")
    return raw
