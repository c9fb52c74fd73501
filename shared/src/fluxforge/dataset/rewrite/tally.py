"""The tally of a set of rows: how many, and which, in whatever order they come; and whether each has its own key.

Two sets with the same tally hold the same rows: the sum of the rows' hashes does not depend on their order, and a row
that is missing, added or changed changes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from fluxforge.dataset.rewrite.merge import decoded
from fluxforge.domain.record import FILE_BOOT

_SEED: Final = 0x5EED
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
        frame = pl.from_arrow(decoded(table), rechunk=False)
        assert isinstance(frame, pl.DataFrame)
        hashes = frame.hash_rows(seed=_SEED).to_numpy()
        self.rows += len(hashes)
        self.total = (self.total + int(np.add.reduce(hashes, dtype=np.uint64))) % 2**64
        if self.keys and not _rises(table):
            own = frame.filter(pl.col(_BOOT) != FILE_BOOT) if _BOOT in self.keys else frame
            keys = np.sort(own.select(self.keys).hash_rows(seed=_SEED).to_numpy())
            self.repeated += int(np.count_nonzero(keys[1:] == keys[:-1]))

    def agrees(self, other: "Tally") -> bool:
        """Return whether both counted the same rows."""
        return (self.rows, self.total) == (other.rows, other.total)


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
