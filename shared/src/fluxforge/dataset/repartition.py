"""Repartitioning: the rows of a root of datasets in a new root, by other partition columns. The source never changes.

Each unit is written aside, held against its source row by row, placed, and recorded in the journal; the record is what
counts. A run that was killed is taken up by the next one, which writes anew what has no record, and what has another
than its files now would have. The new root is whole when a run has ended without a failure.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fluxforge.adapters.local_files import locked
from fluxforge.adapters.local_store import LocalStore, directory_id, refusals
from fluxforge.dataset.rewrite.aside import Aside, UnitRefusedError
from fluxforge.dataset.rewrite.spread import Written
from fluxforge.domain.errors import ConflictError, ObjectNotFoundError, PartitionChangedError, UsageError
from fluxforge.domain.journal import File, retired
from fluxforge.domain.layout import (
    TMP,
    repartitioned_key,
    repartitioned_prefix,
    repartitioning_key,
    repartitioning_prefix,
)
from fluxforge.domain.repartition import Begun, Course, Record, Unit
from fluxforge.ports.clock import Clock
from fluxforge.ports.store import Store
from fluxforge.runtime.journals import Journals
from fluxforge.runtime.live import live_keys

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Bench:
    """Where outputs are made, and the lock of whoever does; for a store on a disk on the same file system."""

    folder: Path
    lock: Path

    @classmethod
    def of(cls, store: Store, scratch_dir: Path, target: str) -> "Bench":
        """Return the place for a target: in a store on a disk out of sight, else in a local directory."""
        name = f"repartition_{directory_id(target)}"
        if isinstance(store, LocalStore):
            return cls(store.base_dir / TMP / name, store.lock_file(f"repartition {target}"))
        return cls(scratch_dir / "repartition" / name, scratch_dir / "repartition" / f"{name}.lock")


@dataclass(frozen=True, slots=True)
class Planned:
    """A unit: its files now, bytes by key, and what is recorded of it; `stands`: that is of these files, and stands."""

    unit: Unit
    sizes: Mapping[str, int]
    record: Record | None
    stands: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The units of a course, in order; `strangers`: files that stand where none of a dataset does."""

    units: tuple[Planned, ...]
    strangers: tuple[str, ...]


class Repartition:
    """One course through one output store.

    `follows_journal`: the journal tells which of the source's files count; on a disk the directory does.
    """

    def __init__(
        self, store: Store, course: Course, bench: Bench, clock: Clock, *, compression: str, follows_journal: bool
    ) -> None:
        self.course = course
        self._store = store
        self._aside = Aside(store, course, bench.folder, compression)
        self._journals = Journals(store)
        self._bench = bench
        self._clock = clock
        self._follows_journal = follows_journal

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process of this machine from the same target; what a killed one left is removed.

        Raises:
            ConflictError: One is at it.
            ConfigurationError: The store cannot be written.
        """
        self._store.probe()
        with refusals("repartition", str(self._bench.folder)):
            self._bench.lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._bench.lock, wait=False) as is_ours:
            if not is_ours:
                raise ConflictError(f"repartition: another process is at work on {self.course.target!r}")
            shutil.rmtree(self._bench.folder, ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(self._bench.folder, ignore_errors=True)

    def plan(self) -> Plan:
        """Return every unit at or below the course's prefix.

        Raises:
            UsageError: The target holds one of its datasets by other columns, or of another root, or no datasets.
            ManifestError: A journal or a record cannot be read.
        """
        self._check_target()
        units, strangers = self._units(self.course.prefix)
        datasets = {(unit.source, unit.dataset) for unit in units}
        records = {}
        for record in self._records():
            if (record.source, record.dataset) in datasets:
                self._check(record)
                records[Unit(record.source, record.dataset, tuple(record.values.items()))] = record
        planned = [self._planned(unit, sizes, records.get(unit)) for unit, sizes in units.items()]
        return Plan(tuple(planned), tuple(strangers))

    def sweep(self) -> None:
        """Delete from the target what a killed run left there: what it began to place, and no record names."""
        recorded = {file.name for record in self._records() for file in record.outputs}
        for key in list(self._store.keys(repartitioning_prefix(self.course.target))):
            for output in Begun.from_json(self._store.read(key), what=key).outputs:
                if output not in recorded:
                    self._store.delete(output)
            self._store.delete(key)

    def preview(self, planned: Planned) -> int:
        """Return how many rows the files of a unit have by their footers.

        Raises:
            UnitRefusedError: It would be refused.
        """
        return sum(footer.rows for footer in self._aside.footers(planned.unit, planned.sizes).values())

    def run(self, planned: Planned) -> Record:
        """Bring a unit into the target, unless it stands there, and return its record.

        Raises:
            UnitRefusedError: A file of it is not ours or cannot be read, or it may not be written again.
            RowsDifferError: What was written is not what was read; nothing was placed.
            FileUnreadableError: A file is damaged; nothing was placed.
            PartitionChangedError: Its files changed again and again.
        """
        if planned.stands and planned.record is not None:
            return planned.record
        for _ in range(_ATTEMPTS):
            try:
                written, rows = self._aside.write(planned.unit, planned.sizes)
            except (ObjectNotFoundError, PartitionChangedError):
                planned = self._again(planned)  # merged meanwhile
            else:
                return self._place(planned, written, rows)
        raise PartitionChangedError(str(planned.unit), f"its files changed {_ATTEMPTS} times while they were read")

    def _units(self, prefix: str) -> tuple[dict[Unit, dict[str, int]], list[str]]:
        """Return the files that count, bytes by key, by their unit; and those that are of none."""
        units: dict[Unit, dict[str, int]] = {}
        strangers = []
        for key in live_keys(self._store, prefix, follows_journal=self._follows_journal):
            unit = Unit.of(key, self.course.root, self.course.cols)
            if unit is None:
                strangers.append(key)
            else:
                units.setdefault(unit, {})[key] = self._store.size(key) or 0
        return dict(sorted(units.items(), key=lambda item: str(item[0]))), strangers

    def _again(self, planned: Planned) -> Planned:
        unit = planned.unit
        sizes = self._units(f"{self.course.root}/{unit.source}/{unit.dataset}")[0].get(unit)
        if not sizes:
            raise UnitRefusedError(str(unit), "its files are gone")
        return Planned(unit, sizes, planned.record, stands=False)

    def _records(self) -> Iterator[Record]:
        for key in self._store.keys(repartitioned_prefix(self.course.target)):
            yield Record.from_json(self._store.read(key), what=key)

    def _check_target(self) -> None:
        other = next((key for key in self._store.keys(self.course.target) if not key.endswith(".parquet")), None)
        if other is not None:
            raise UsageError(f"repartition: expected a new root or one of datasets alone; there is {other!r} already")

    def _check(self, record: Record) -> None:
        if (record.root, record.partition_cols) != (self.course.root, self.course.cols):
            raise UsageError(
                f"repartition: {self.course.target!r} holds {record.source}/{record.dataset} of {record.root!r} by "
                f"{','.join(record.partition_cols)}; expected the same again, was {self.course.root!r} by "
                f"{','.join(self.course.cols)}: choose another name for it"
            )

    def _planned(self, unit: Unit, sizes: Mapping[str, int], record: Record | None) -> Planned:
        stands = record is not None and record.is_of(sizes) and all(map(self._stands, record.outputs))
        return Planned(unit, sizes, record, stands)

    def _stands(self, output: File) -> bool:
        return self._store.size(output.name) == output.size_bytes or self._is_retired(output.name)

    def _is_retired(self, key: str) -> bool:
        """Return whether a file of the target was merged into another, or edited, since."""
        partition, _, name = key.rpartition("/")
        return name in retired(self._journals.entries(partition))

    def _place(self, planned: Planned, written: Sequence[Written], rows: Mapping[str, int]) -> Record:
        unit, target = planned.unit, self.course.target
        record = self._record(planned, written, rows)
        old = planned.record.outputs if planned.record else ()
        for file in old:
            if self._is_retired(file.name):
                reason = f"its files changed, and {file.name} was merged or edited since; choose a new root"
                raise UnitRefusedError(str(unit), reason)
        begun = Begun(tuple(file.name for file in (*old, *record.outputs)))
        self._store.create(repartitioning_key(target, unit.id), begun.to_json())
        self._store.delete(repartitioned_key(target, unit.id))
        for file in old:
            self._store.delete(file.name)
        for one, file in zip(written, record.outputs, strict=True):
            self._store.adopt(file.name, one.path)
        for file in record.outputs:
            if self._store.size(file.name) != file.size_bytes:
                raise ConflictError(f"{file.name!r} was removed or changed by another while {unit} was placed")
        self._store.create(repartitioned_key(target, unit.id), record.to_json())
        self._store.delete(repartitioning_key(target, unit.id))
        return record

    def _record(self, planned: Planned, written: Sequence[Written], rows: Mapping[str, int]) -> Record:
        unit, course = planned.unit, self.course
        root = f"{course.target}/{unit.source}/{unit.dataset}"
        return Record(
            root=course.root,
            source=unit.source,
            dataset=unit.dataset,
            values=dict(unit.values),
            partition_cols=course.cols,
            inputs=tuple(File(key, rows[key], size_bytes) for key, size_bytes in sorted(planned.sizes.items())),
            outputs=tuple(replace(one.file, name=f"{root}/{one.partition}/{one.file.name}") for one in written),
            created_ns=self._clock.wall_ns(),
        )
