"""Edits: rows of a partition deleted or corrected on purpose, in one step for every reader; the journal says why.

A partition of which a part is not placed for good yet is refused, for a worker may still put that part there again.
"""

import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.dataset.corrections import DIFFERS, Corrections, shaped
from fluxforge.dataset.rewrite.candidates import Candidate, Found, Left
from fluxforge.dataset.rewrite.merge import Sorted, decoded, in_order
from fluxforge.dataset.rewrite.output import Change
from fluxforge.dataset.rewrite.rewriter import Edit, Rewriter
from fluxforge.domain.errors import FileUnreadableError, FluxForgeError, PermanentError, UsageError
from fluxforge.domain.journal import Entry


class EditRefusedError(PermanentError):
    """A partition cannot be edited now; nothing in it was changed."""

    def __init__(self, partition: str, why: str) -> None:
        super().__init__(f"partition {partition!r}: {why}; nothing in it was changed: run the same command again later")
        self.partition = partition


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of a partition, or would: how many files were rewritten or went, and how many rows.

    `left`: files that were not looked at, for they cannot be read or are none of ours. `refused`: why nothing of the
    partition was changed.
    """

    partition: str
    files: int = 0
    deleted: int = 0
    corrected: int = 0
    added: int = 0
    left: tuple[Left, ...] = ()
    refused: FluxForgeError | None = None


class Editor:
    """Edits the partitions of one output store."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter

    def probe(self) -> None:
        """Make sure that files can be replaced here.

        Raises:
            ConfigurationError: They cannot; the message says why and what would be right.
        """
        self._rewriter.probe()

    @property
    def follows_journal(self) -> bool:
        """Whether the journal tells which files count, and not the directory alone."""
        return self._rewriter.follows_journal

    def delete(self, partition: str, condition: pl.Expr | None, *, reason: str, dry_run: bool = False) -> Edited:
        """Delete the rows of a partition for which a condition holds (null: it does not); None: all of them.

        Raises:
            EditRefusedError: Somebody is at work on the partition.
            UsageError: The condition is none for these columns.
            FileUnreadableError: A file is damaged; nothing was changed.
        """
        with self._at_rest(partition) as (entries, found):
            if condition is None:
                if found.candidates and not dry_run:
                    self._rewriter.remove(partition, len(entries) + 1, found.candidates, reason)
                rows = sum(file.rows for file in found.candidates)
                return Edited(partition, len(found.candidates), deleted=rows, left=found.left)
            counts = {file: self._count(partition, file, condition) for file in found.candidates}
            touched = [file for file, count in counts.items() if count]
            if not dry_run:
                for n, group in enumerate(_alike(touched), len(entries) + 1):
                    change = _without(condition)
                    self._rewriter.rewrite(partition, n, group, Edit(reason, change))
            return Edited(partition, len(touched), deleted=sum(counts.values()), left=found.left)

    def upsert(self, partition: str, corrections: Corrections, *, reason: str, dry_run: bool = False) -> Edited:
        """Let rows of a partition be those of the corrections with the same key, and add those that it has not.

        A file whose rows are as they are to be is not rewritten.

        Raises:
            EditRefusedError: Somebody is at work on the partition, or nothing of ours stands there.
            UsageError: The corrections are none for these columns, or would move a row.
            FileUnreadableError: A file is damaged; nothing was changed.
        """
        with self._at_rest(partition) as (entries, found):
            if not found.candidates:
                raise EditRefusedError(partition, "no file of ours stands there")
            columns, more = corrections.fixed, corrections.rows.columns
            hits = {file: corrections.hits(self._tables(partition, file, columns, more)) for file in found.candidates}
            touched = [file for file, keys in hits.items() if keys[DIFFERS].any()]
            missing = corrections.without(pl.concat(hits.values()))
            groups = _alike(touched or ([min(found.candidates, key=_size)] if missing.height else []))
            if not dry_run:
                for number, group in enumerate(groups):
                    added = self._added(partition, group[0], missing) if missing.height and not number else ()
                    edit = Edit(reason, corrections.change, added, missing.height if added else 0)
                    self._rewriter.rewrite(partition, len(entries) + 1 + number, group, edit)
            return Edited(
                partition,
                sum(map(len, groups)),
                corrected=sum(int(keys[DIFFERS].sum()) for keys in hits.values()),
                added=missing.height,
                left=found.left,
            )

    @contextmanager
    def _at_rest(self, partition: str) -> Iterator[tuple[list[Entry], Found]]:
        """Keep others away; yield the journal and the files, all of whose parts are placed."""
        with self._rewriter.alone(partition) as is_ours:
            if not is_ours:
                raise EditRefusedError(partition, "a compactor or another edit is at work on it")
            entries, is_busy = self._rewriter.settled(partition)
            if is_busy:
                raise EditRefusedError(partition, f"claim {len(entries)} is another machine's, and may be on its way")
            found = self._rewriter.found(partition, entries)
            if found.waiting:
                waiting = f"{len(found.waiting)} parts wait until their segments are placed, such as {found.waiting[0]}"
                raise EditRefusedError(partition, waiting)
            yield entries, found

    def _count(self, partition: str, file: Candidate, condition: pl.Expr) -> int:
        columns = condition.meta.root_names() or ["ts"]
        return sum(int(_mask(table, condition).sum()) for table in self._tables(partition, file, columns))

    def _tables(
        self, partition: str, file: Candidate, columns: Sequence[str], more: Sequence[str] = ()
    ) -> Iterator[pa.Table]:
        """Yield columns of a file, and of `more` those that it has, row group by row group."""
        with self._rewriter.looker.open(partition, file) as opened:
            lacking = [name for name in columns if name not in opened.schema_arrow.names]
            if lacking:
                there = ", ".join(opened.schema_arrow.names)
                raise UsageError(f"column {lacking[0]!r}: expected one of {there}")
            wanted = list(dict.fromkeys([*columns, *(name for name in more if name in opened.schema_arrow.names)]))
            for group in range(opened.metadata.num_row_groups):
                try:
                    yield opened.read_row_group(group, columns=wanted)
                except (pa.ArrowException, OSError) as error:
                    raise FileUnreadableError(f"{partition}/{file.name}", str(error).splitlines()[0]) from error

    def _added(self, partition: str, beside: Candidate, rows: pl.DataFrame) -> tuple[Sorted, ...]:
        """Return rows as a file with the columns of another."""
        with self._rewriter.looker.open(partition, beside) as opened:
            schema = opened.schema_arrow.remove_metadata()
        table = in_order(shaped(rows, schema))
        body = io.BytesIO()
        pq.write_table(table, body)
        first_us = table.column("ts").cast(pa.int64())[0].as_py()
        return (Sorted("corrections", first_us, lambda: pq.ParquetFile(io.BytesIO(body.getvalue()))),)


def _size(file: Candidate) -> int:
    return file.size_bytes


def _alike(files: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return files in groups of one kind, which may become one."""
    ordered = sorted(files, key=lambda file: (file.kind, file.first_us, file.name))
    return [list(group) for _, group in itertools.groupby(ordered, key=lambda file: file.kind)]


def _without(condition: pl.Expr) -> Change:
    def change(table: pa.Table) -> pa.Table:
        return table.filter(pa.array((~_mask(table, condition)).to_numpy()))

    return change


def _mask(table: pa.Table, condition: pl.Expr) -> pl.Series:
    """Return whether the condition holds, row by row; null: it does not."""
    frame = pl.from_arrow(decoded(table))
    assert isinstance(frame, pl.DataFrame)
    try:
        mask = frame.with_columns(__holds=condition).to_series(-1)  # one value, such as `true`, is each row's
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"condition {condition}: {error}") from error
    if mask.dtype != pl.Boolean:
        raise UsageError(f"condition {condition}: expected true or false for each row, was {mask.dtype}")
    return mask.fill_null(value=False)
