"""Writing a unit aside: its files, by other partition columns, held row by row against what was read."""

import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from fluxforge.adapters.local_store import refusals
from fluxforge.dataset.rewrite.candidates import Candidate, Footer, Left, Looker
from fluxforge.dataset.rewrite.merge import Sorted
from fluxforge.dataset.rewrite.output import RowsDifferError
from fluxforge.dataset.rewrite.spread import Sheet, Spread, Written
from fluxforge.dataset.rewrite.staged import Span, staged
from fluxforge.dataset.rewrite.tally import Tally
from fluxforge.domain.errors import PartitionChangedError, PermanentError, StoreUnavailableError
from fluxforge.domain.layout import Layout
from fluxforge.domain.repartition import Course, Unit, output_prefix
from fluxforge.ports.store import Store

REPARTITIONED: Final = "fluxforge.repartitioned"
"""In the metadata of a file: of which root its rows are."""
_NAMED_MAX: Final = 5


class UnitRefusedError(PermanentError):
    """A unit that cannot be repartitioned as it is; nothing of it was changed."""

    def __init__(self, unit: str, what: str) -> None:
        super().__init__(f"{unit}: {what}; nothing of it was changed")
        self.unit = unit


@dataclass(frozen=True, slots=True)
class Aside:
    """Writes units of a course into a local folder, which it empties before each."""

    store: Store
    course: Course
    folder: Path
    compression: str

    def footers(self, unit: Unit, sizes: Mapping[str, int]) -> dict[str, Footer]:
        """Return what every file of a unit says of itself, by key. `sizes`: their bytes.

        Raises:
            UnitRefusedError: One is not ours, or cannot be read.
            PartitionChangedError: One is gone.
        """
        footers: dict[str, Footer] = {}
        refused = []
        for key in sizes:
            partition, _, name = key.rpartition("/")
            footer = self._looker.footer(partition, name)
            if isinstance(footer, Footer) and footer.metadata.get(REPARTITIONED) != self.course.target:
                footers[key] = footer
            elif self.store.size(key) is None:
                raise PartitionChangedError(partition, f"{name} is gone")
            else:
                reason = footer.reason if isinstance(footer, Left) else f"its rows are from {self.course.target!r}"
                refused.append(f"{key}: {reason}")
        if refused:
            more = f" and {len(refused) - _NAMED_MAX} more" if len(refused) > _NAMED_MAX else ""
            raise UnitRefusedError(str(unit), "; ".join(refused[:_NAMED_MAX]) + more)
        return footers

    def write(self, unit: Unit, sizes: Mapping[str, int]) -> tuple[list[Written], dict[str, int]]:
        """Write a unit; return the files, on disk and checked, and how many rows each of the unit's files has.

        Files of different columns or versions do not become one.

        Raises:
            UnitRefusedError: A file is not ours, or cannot be read.
            RowsDifferError: What was written is not what was read.
            FileUnreadableError: A file is damaged.
            PartitionChangedError, ObjectNotFoundError: A file is gone.
            SchemaMismatchError: A row has no exchange or symbol.
        """
        footers = self.footers(unit, sizes)
        numbers = itertools.count(1)
        written: list[Written] = []
        with refusals("write", str(self.folder)):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        for kind in sorted({footer.kind for footer in footers.values()}):
            of_kind = {key: footer for key, footer in footers.items() if footer.kind == kind}
            try:
                written += self._write_kind(unit, sizes, of_kind, numbers)
            except OSError as error:
                reason = error.strerror or str(error)
                raise StoreUnavailableError("write", str(self.folder), reason) from error
        return written, {key: footer.rows for key, footer in footers.items()}

    def _write_kind(
        self, unit: Unit, sizes: Mapping[str, int], footers: Mapping[str, Footer], numbers: Iterator[int]
    ) -> list[Written]:
        metadata = next(iter(footers.values())).metadata
        sheet = Sheet(
            source=unit.source,
            cols=self.course.cols,
            folder=self.folder,
            prefix=output_prefix(sizes),
            compression=self.compression,
            metadata={**metadata, REPARTITIONED: self.course.root},
        )
        read = Tally()
        spans = [self._span(key, sizes[key], footer) for key, footer in footers.items()]
        with Spread(sheet, numbers) as spread:
            for table in staged(spans, self.folder, read.add):
                spread.add(table)
            spread.finish()
        said = sum(footer.rows for footer in footers.values())
        if read.rows != said:
            raise RowsDifferError(str(unit), f"its files say {said} rows, {read.rows} were read")
        if not spread.tally.agrees(read):
            raise RowsDifferError(
                str(unit), f"{read.rows} rows were read; what was written, {spread.tally.rows}, are not the same"
            )
        return spread.written

    def _span(self, key: str, size_bytes: int, footer: Footer) -> Span:
        partition, _, name = key.rpartition("/")
        candidate = Candidate(name, size_bytes, footer.rows, footer.first_us, footer.last_us, footer.kind)
        file = Sorted(key, footer.first_us, partial(self._looker.open, partition, candidate))
        return Span.of(file, footer.last_us, size_bytes)

    @property
    def _looker(self) -> Looker:
        return Looker(self.store, self.store, Layout())
