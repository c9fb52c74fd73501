"""Repartitioning: which files of a dataset are laid out anew at once, and the record of what became of them."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import orjson
from typing_extensions import override

from fluxforge.domain.errors import ManifestError, UsageError
from fluxforge.domain.instrument import decode_component
from fluxforge.domain.journal import File
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import check_partition_cols, partition_path

RECORD_VERSION: Final = 1
_ID_LENGTH: Final = 16
_ROOT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Course:
    """From where to where: files at or below `prefix`, of the datasets of `root`, into the root `target` by `cols`."""

    prefix: str
    root: str
    target: str
    cols: tuple[str, ...]

    @classmethod
    def of(cls, prefix: str, target: str, cols: Sequence[str], layout: Layout) -> Self:
        """Return the course from a root of datasets, or a directory of a source or a dataset in it, to another root.

        Raises:
            UsageError: The target is no name of its own, or a directory of something else; a column that is none.
        """
        is_processed = f"{prefix}/".startswith(f"{layout.processed_dir}/")
        root = layout.processed_dir if is_processed else prefix.partition("/")[0]
        if "=" in prefix:
            raise UsageError(
                f"repartition: expected a root of datasets, or a source or a dataset in it, such as {root!r} or "
                f"'{root}/ccxt/trades', was {prefix!r}, which is a part of a dataset"
            )
        if not _ROOT.fullmatch(target):
            raise UsageError(
                f"repartition: expected one name for the new root, such as 'processed_by_day', which stands beside "
                f"{root!r} in the same store, was {target!r}"
            )
        if target in layout.directories or target == root.partition("/")[0]:
            raise UsageError(f"repartition: expected a name of its own for the new root, {target!r} is taken")
        return cls(prefix, root, target, check_partition_cols(cols))


@dataclass(frozen=True, slots=True)
class Unit:
    """Files of one source and dataset that are repartitioned together.

    `dataset`: its directories below the source's. `values`: those of the new partition columns that the paths of the
    files tell already, by column; rows of two units share a new partition only where a path tells less than its rows.
    """

    source: str
    dataset: str
    values: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, key: str, root: str, cols: Sequence[str]) -> Self | None:
        """Return the unit of a file below the root of the datasets; None: no file of a dataset has such a key."""
        source, *directories = key.removeprefix(f"{root}/").split("/")[:-1] or [""]
        names = list(itertools.takewhile(lambda name: "=" not in name, directories))
        pairs = [name.split("=", 1) for name in directories[len(names) :]]
        if not names or "=" in source or any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004 - col=value
            return None
        told = {"source": source, **{col: decode_component(value) for col, value in pairs}}
        return cls(source, "/".join(names), tuple((col, told[col]) for col in cols if col in told))

    @property
    def id(self) -> str:
        """The name of its record."""
        return _digest([self.source, self.dataset, *(text for pair in self.values for text in pair)])

    @override
    def __str__(self) -> str:
        """Return `ccxt/trades exchange=binance/date=2026-11-22`."""
        path = partition_path([col for col, _ in self.values], dict(self.values))
        return f"{self.source}/{self.dataset} {path}".rstrip()


@dataclass(frozen=True, slots=True)
class Record:
    """What became of a unit. Its existence is the commit.

    `root`: of the datasets that were read. `inputs`, `outputs`: the files by their keys, outputs with `sha256`.
    """

    root: str
    source: str
    dataset: str
    values: Mapping[str, str]
    partition_cols: tuple[str, ...]
    inputs: tuple[File, ...]
    outputs: tuple[File, ...]
    created_ns: int
    v: int = RECORD_VERSION

    @property
    def rows(self) -> int:
        """How many rows the outputs hold."""
        return sum(file.rows for file in self.outputs)

    def is_of(self, sizes: Mapping[str, int]) -> bool:
        """Return whether these files, bytes by key, are the inputs."""
        return {file.name: file.size_bytes for file in self.inputs} == dict(sizes)

    def to_json(self) -> bytes:
        """Return the record as one JSON object, ending in a newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, text: bytes, *, what: str) -> Self:
        """Return the record of its JSON.

        Raises:
            ManifestError: Unreadable, of an unknown version, or outputs that have not the rows of the inputs.
        """
        raw = _read(text, what)
        try:
            inputs, outputs = (tuple(File(**file) for file in raw.pop(name)) for name in ("inputs", "outputs"))
            record = cls(partition_cols=tuple(raw.pop("partition_cols")), inputs=inputs, outputs=outputs, **raw)
        except (AttributeError, KeyError, TypeError) as error:
            raise ManifestError(what, f"unreadable: {error}") from error
        if sum(file.rows for file in inputs) != record.rows:
            raise ManifestError(what, f"expected outputs of as many rows as the inputs have, was {record.rows}")
        return record


@dataclass(frozen=True, slots=True)
class Begun:
    """That a unit is being placed. `outputs`: every key that may stand then, new ones and those they replace.

    Those that no record names are left from a run that was killed; nothing else is ever deleted for one.
    """

    outputs: tuple[str, ...]
    v: int = RECORD_VERSION

    def to_json(self) -> bytes:
        """Return it as one JSON object, ending in a newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, text: bytes, *, what: str) -> Self:
        """Return what a JSON says was begun.

        Raises:
            ManifestError: Unreadable, or of an unknown version.
        """
        raw = _read(text, what)
        try:
            return cls(tuple(raw["outputs"]))
        except (KeyError, TypeError) as error:
            raise ManifestError(what, f"unreadable: {error}") from error


def output_prefix(sizes: Mapping[str, int]) -> str:
    """Return how the names of the outputs begin that are made of these files, bytes by key."""
    return f"part_{_digest(f'{key} {sizes[key]}' for key in sorted(sizes))}_"


def _read(text: bytes, what: str) -> dict[str, Any]:
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ManifestError(what, f"unreadable: {error}") from error
    if not isinstance(raw, dict):
        raise ManifestError(what, "unreadable: expected an object")
    if raw.get("v") != RECORD_VERSION:
        raise ManifestError(what, f"expected version {RECORD_VERSION}, was {raw.get('v')!r}")
    return raw


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:_ID_LENGTH]
