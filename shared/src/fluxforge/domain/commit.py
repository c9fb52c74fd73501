"""Commit records: which parts a segment became; the first one written is the truth."""

from dataclasses import asdict, dataclass
from typing import Final, Self

import orjson

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.segment import FeedSeqs, SegmentIdentity

COMMIT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of a commit: where it was written, where it belongs (output store keys), what it holds."""

    dataset: str
    temp_key: str
    final_key: str
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """All parts of one segment. `attempt` counts recomputations from 1; `feeds` are the records found in the raw bytes.

    `records` = lines read, `quarantined` of them were no records. `disabled_channels` were captured but are left out.
    `dropped`: a person gave the segment up, nothing of it was read, and its coverage rows name what it held.
    """

    lane: str
    segment: str
    identity: SegmentIdentity
    attempt: int
    parts: tuple[Part, ...]
    records: int
    quarantined: int
    feeds: tuple[FeedSeqs, ...]
    schema_version: int
    feature_version: int
    software: str
    created_ns: int
    disabled_channels: tuple[str, ...] = ()
    dropped: bool = False
    v: int = COMMIT_VERSION

    def to_json(self) -> bytes:
        """Return the record as one JSON object, ending in a newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, text: bytes, *, what: str = "commit record") -> Self:
        """Return the commit record of its JSON.

        Raises:
            ManifestError: Unreadable, of an unknown version, or lacking a field; `what` names the object.
        """
        try:
            raw = orjson.loads(text)
            if raw.get("v") != COMMIT_VERSION:
                raise ManifestError(what, f"expected version {COMMIT_VERSION}, was {raw.get('v')!r}")
            return cls(
                identity=SegmentIdentity(**raw.pop("identity")),
                parts=tuple(Part(**p) for p in raw.pop("parts")),
                feeds=tuple(
                    FeedSeqs(**{**f, "ranges": tuple((a, b) for a, b in f["ranges"])}) for f in raw.pop("feeds")
                ),
                disabled_channels=tuple(raw.pop("disabled_channels")),
                **raw,
            )
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ManifestError(what, f"unreadable: {error}") from error
