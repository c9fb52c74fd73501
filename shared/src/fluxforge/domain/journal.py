"""The journal of a partition: which of its files were merged into which, numbered from 1; nothing in it ever changes.

A merge is claimed before its outputs stand, and settled once: merged, or abandoned. A claim that is not settled may
become either, by anybody, at any time: its outputs and its parents hold the same rows, or those before and after an
edit that nobody was told of yet.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import orjson

from fluxforge.domain.errors import ManifestError

JOURNAL_VERSION: Final = 1
_OUTPUT: Final = "merged_"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a partition: its name in there, and what it holds. `sha256` of outputs alone."""

    name: str
    rows: int
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One merge: `parents` become one output, row for row. `partition`: the key prefix of both.

    `reason`: why rows were changed on the way; None: they were not. An edit may leave no row, and no output.
    `token` is random, of this merge alone, and stands in the name of its output.
    """

    partition: str
    n: int
    token: str
    parents: tuple[File, ...]
    outputs: tuple[File, ...]
    created_ns: int
    software: str
    reason: str | None = None
    v: int = JOURNAL_VERSION

    @property
    def output(self) -> File | None:
        """What the parents became; None: nothing was left of them."""
        return self.outputs[0] if self.outputs else None

    @property
    def rows(self) -> int:
        """How many rows the output has."""
        return sum(file.rows for file in self.outputs)

    def to_json(self) -> bytes:
        """Return the claim as one JSON object, ending in a newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, text: bytes, *, what: str = "journal claim") -> Self:
        """Return the claim of its JSON.

        Raises:
            ManifestError: Unreadable, of an unknown version, or a merge whose output has not the rows of its parents.
        """
        raw = _read(text, what)
        try:
            parents, outputs = (tuple(File(**file) for file in raw.pop(name)) for name in ("parents", "outputs"))
            claim = cls(parents=parents, outputs=outputs, **raw)
            merged = sum(file.rows for file in claim.parents)
            rows = claim.rows
        except (AttributeError, KeyError, TypeError) as error:
            raise ManifestError(what, f"unreadable: {error}") from error
        if len(claim.outputs) > 1 or not (claim.outputs or claim.reason):
            raise ManifestError(what, f"expected one output, was {len(claim.outputs)}")
        if claim.reason is None and merged != rows:
            raise ManifestError(what, f"expected outputs of {merged} rows, was {rows}")
        return claim


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a claim: its outputs count from now on and its parents do not, or the other way round."""

    merged: bool
    created_ns: int
    v: int = JOURNAL_VERSION

    def to_json(self) -> bytes:
        """Return the settlement as one JSON object, ending in a newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, text: bytes, *, what: str = "journal settlement") -> Self:
        """Return the settlement of its JSON.

        Raises:
            ManifestError: Unreadable, or of an unknown version.
        """
        try:
            return cls(**_read(text, what))
        except TypeError as error:
            raise ManifestError(what, f"unreadable: {error}") from error


@dataclass(frozen=True, slots=True)
class Entry:
    """A claim and what became of it; None: nobody has said yet."""

    claim: Claim
    settlement: Settlement | None

    @property
    def is_merged(self) -> bool:
        """Whether the outputs count and the parents do not."""
        return self.settlement is not None and self.settlement.merged


def _read(text: bytes, what: str) -> dict[str, Any]:
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ManifestError(what, f"unreadable: {error}") from error
    if not isinstance(raw, dict):
        raise ManifestError(what, "unreadable: expected an object")
    if raw.get("v") != JOURNAL_VERSION:
        raise ManifestError(what, f"expected version {JOURNAL_VERSION}, was {raw.get('v')!r}")
    return raw


def retired(entries: Iterable[Entry]) -> frozenset[str]:
    """Return the names that were merged into others: whatever stands under them is not part of the dataset."""
    return frozenset(file.name for entry in entries if entry.is_merged for file in entry.claim.parents)


def live(listed: Collection[str], entries: Collection[Entry]) -> frozenset[str]:
    """Return the names of a partition's files that are its rows, where the journal alone tells.

    `entries` must be read after `listed`: an output that counts since then is among them, its parents are left out.
    """
    gone = retired(entries)
    named = {file.name for entry in entries if entry.is_merged for file in entry.claim.outputs}
    return frozenset(name for name in (*listed, *named) if name not in gone and (name in named or not is_output(name)))


def output_name(token: str, number: int) -> str:
    """Return the name of an output; `token` is random, so that no name comes twice."""
    return f"{_OUTPUT}{token}_{number:05d}.parquet"


def is_output(name: str) -> bool:
    """Return whether a file was made by merging others."""
    return name.startswith(_OUTPUT)
