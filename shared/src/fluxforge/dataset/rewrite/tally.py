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

from fluxforge.dataset.rewrite.merge import plain
from fluxforge.domain.record import FILE_BOOT

_SEED: Final = 0x5EED
_BOOT: Final = "boot"


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
        frame = pl.from_arrow(table.cast(plain(table.schema)), rechunk=False)
        assert isinstance(frame, pl.DataFrame)
        hashes = frame.hash_rows(seed=_SEED).to_numpy()
        self.rows += len(hashes)
        self.total = (self.total + int(np.add.reduce(hashes, dtype=np.uint64))) % 2**64
        if self.keys:
            own = frame.filter(pl.col(_BOOT) != FILE_BOOT) if _BOOT in self.keys else frame
            keys = np.sort(own.select(self.keys).hash_rows(seed=_SEED).to_numpy())
            self.repeated += int(np.count_nonzero(keys[1:] == keys[:-1]))

    def agrees(self, other: "Tally") -> bool:
        """Return whether both counted the same rows."""
        return (self.rows, self.total) == (other.rows, other.total)
