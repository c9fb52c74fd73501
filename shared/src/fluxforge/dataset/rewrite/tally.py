"""The tally of a set of rows: how many, and which, in whatever order they come; and whether each has its own key.

Two sets with the same tally hold the same rows: the sum of the rows' hashes does not depend on their order, and a row
that is missing, added or changed changes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from fluxforge.dataset.rewrite.merge import decoded
from fluxforge.domain.record import FILE_BOOT

_U64 = npt.NDArray[np.uint64]
_SEED: Final = 0x5EED
_ODD: Final = np.uint64(0xFF51AFD7ED558CCD)
_BOOT: Final = "boot"
_RISING: Final = ("capture_ns", "seq", "idx")


@dataclass(slots=True)
class Tally:
    """What was counted so far. `keys`: the columns that make a row's key; none: keys are not looked at.

    `repeated` rows have the key of another in the same table: rows of one key are of one moment, and whoever counts
    keys adds all rows of a moment at once. Files of other recorders number their records each by itself.
    """

    keys: Sequence[str] = ()
    rows: int = 0
    total: int = 0
    repeated: int = 0

    def add(self, table: pa.Table) -> None:
        """Count the rows of a table."""
        hashes = _hashes(table)
        self.rows += len(hashes)
        self.total = (self.total + int(np.add.reduce(hashes, dtype=np.uint64))) % 2**64
        if self.keys and not _rises(table):
            self.repeated += _repeated(table, self.keys)

    def agrees(self, other: "Tally") -> bool:
        """Return whether both counted the same rows."""
        return (self.rows, self.total) == (other.rows, other.total)


def _hashes(table: pa.Table) -> _U64:
    """Return the hash of each row, whether a text comes as it is or as a code of a dictionary."""
    texts = [field.name for field in table.schema if _is_text(field.type)]
    others = table.drop_columns(texts)
    found = np.zeros(table.num_rows, np.uint64)
    if others.num_columns:
        frame = pl.from_arrow(others, rechunk=False)
        assert isinstance(frame, pl.DataFrame)
        found += frame.hash_rows(seed=_SEED).to_numpy()
    for position, name in enumerate(texts):
        found = _mixed(found + _text_hashes(table.column(name)) * np.uint64(2 * position + 1))
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind))


def _text_hashes(column: pa.ChunkedArray) -> _U64:
    if not pa.types.is_dictionary(column.type):
        texts = pl.from_arrow(column, rechunk=False)
        assert isinstance(texts, pl.Series)
        return texts.hash(seed=_SEED).to_numpy()
    coded = column.unify_dictionaries().combine_chunks()
    values = pa.chunked_array([coded.dictionary, pa.nulls(1, coded.dictionary.type)])
    codes = coded.indices.fill_null(len(coded.dictionary)) if coded.null_count else coded.indices
    hashes: _U64 = _text_hashes(values)[codes.to_numpy(zero_copy_only=False)]
    return hashes


def _mixed(hashes: _U64) -> _U64:
    """Spread every bit over all others: a sum of rows must tell which values stood together."""
    mixed = (hashes ^ (hashes >> np.uint64(33))) * _ODD
    return mixed ^ (mixed >> np.uint64(29))


def _repeated(table: pa.Table, keys: Sequence[str]) -> int:
    frame = pl.from_arrow(decoded(table.select(keys)), rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    own = frame.filter(pl.col(_BOOT) != FILE_BOOT) if _BOOT in keys else frame
    hashes = np.sort(own.hash_rows(seed=_SEED).to_numpy())
    return int(np.count_nonzero(hashes[1:] == hashes[:-1]))


def _rises(table: pa.Table) -> bool:
    """Return whether each row is of a later moment or number than the one before: then no key can stand twice."""
    order = [name for name in _RISING if name in table.column_names]
    if "capture_ns" not in order or any(table.column(name).null_count for name in order):
        return False
    later, same = np.zeros(max(table.num_rows - 1, 0), np.bool_), np.True_
    for name in order:
        steps = np.diff(table.column(name).to_numpy())
        later |= same & (steps > 0)
        same = same & (steps == 0)
    return bool(later.all())
