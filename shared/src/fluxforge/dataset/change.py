"""Changes of a dataset on purpose, partition by partition: rows deleted by what they are, or corrected by their key."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, Final

import orjson
import polars as pl

from fluxforge.dataset.corrections import Corrections
from fluxforge.dataset.edit import Edited, Editor
from fluxforge.dataset.select import Selection
from fluxforge.domain.errors import PartitionChangedError, PermanentError, UsageError
from fluxforge.domain.instrument import decode_component
from fluxforge.domain.partition import partition_path

_BY_MANY: Final = frozenset({"Agg", "Over", "Rolling", "Sort", "SortBy", "SubPlan"})
_LEN: Final = "Len"


def condition_of(where: str) -> pl.Expr:
    """Return the condition of an SQL text such as `price < 0 AND side = 'buy'`, which looks at one row alone.

    Raises:
        UsageError: It is none, or would look at other rows.
    """
    try:
        condition = pl.sql_expr(where)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"where {where!r}: {error}") from error
    words = set(_words(orjson.loads(condition.meta.serialize(format="json"))))
    if words & _BY_MANY or _LEN in words:
        raise UsageError(f"where {where!r}: it may look at the columns of one row, not at other rows")
    return condition


def delete(
    editor: Editor, partitions: Sequence[str], selection: Selection, where: str | None, *, dry_run: bool
) -> Iterator[Edited]:
    """Delete the rows of a selection for which a condition holds, None: all of them; yield each partition.

    Raises:
        UsageError: The condition is none for these columns.
    """
    condition = condition_of(where) if where is not None else None
    reason = f"delete: {where}" if where is not None else "delete"
    for partition in partitions:
        conditions = [*_not_implied(partition, selection), *([] if condition is None else [condition])]
        rows = reduce(lambda one, other: one & other, conditions) if conditions else None
        yield _edited(partition, lambda at: editor.delete(at, rows, reason=reason, dry_run=dry_run))  # noqa: B023


def upsert(editor: Editor, partitions: Collection[str], corrections: Corrections, *, dry_run: bool) -> Iterator[Edited]:
    """Correct rows by their keys, and add those whose key does not stand; yield each partition.

    Raises:
        UsageError: A correction is of no partition, or would move a row.
    """
    for partition, rows in _placed(partitions, corrections.rows).items():
        part = corrections.part(rows)
        yield _edited(partition, lambda at: editor.upsert(at, part, reason="upsert", dry_run=dry_run))  # noqa: B023


def _edited(partition: str, edit: Callable[[str], Edited]) -> Edited:
    try:
        return edit(partition)
    except (PermanentError, PartitionChangedError) as error:  # the others go on
        return Edited(partition, refused=error)


def _not_implied(partition: str, selection: Selection) -> Iterator[pl.Expr]:
    """Yield the conditions of a selection that the path of a partition does not answer already."""
    values = _values(partition)
    for column, names in (("exchange", selection.exchanges), ("symbol", selection.symbols)):
        if names and column not in values:
            yield pl.col(column).is_in(sorted(names))
    first, end = _times(values)
    if selection.start is not None and (first is None or first < selection.start):
        yield pl.col("ts") >= selection.start
    if selection.end is not None and (end is None or end > selection.end):
        yield pl.col("ts") < selection.end


def _times(values: dict[str, str]) -> tuple[datetime | None, datetime | None]:
    """Return begin and end of the times that a partition is of; None: its path does not tell."""
    try:
        begin = datetime.fromisoformat(values["date"]).replace(tzinfo=UTC)
        if "hour" in values:
            begin += timedelta(hours=int(values["hour"]))
    except (KeyError, ValueError):
        return None, None
    return begin, begin + (timedelta(hours=1) if "hour" in values else timedelta(days=1))


def _placed(partitions: Collection[str], rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows by the partition they are of."""
    layouts = {tuple(_values(partition)) for partition in partitions}
    roots = {partition.partition("/" + next(iter(_values(partition)), "\0") + "=")[0] for partition in partitions}
    if len(layouts) != 1 or len(roots) != 1:
        raise UsageError(
            f"corrections: expected one layout of partitions, found {sorted(layouts)} below {sorted(roots)}: "
            "name a source, or repartition first"
        )
    (cols,), (root,) = layouts, roots
    ts = pl.col("ts")
    source = _values(next(iter(partitions))).get("source")  # no column of the rows: they are all of one root
    made = {"date": ts.dt.strftime("%Y-%m-%d"), "hour": ts.dt.strftime("%H"), "source": pl.lit(source)}
    named = rows.with_columns(
        made[name].alias(f"__{name}") if name in made else pl.col(name).alias(f"__{name}") for name in cols
    )
    found: dict[str, pl.DataFrame] = {}
    for values, part in named.partition_by([f"__{name}" for name in cols], as_dict=True, maintain_order=True).items():
        path = partition_path(cols, dict(zip(cols, map(str, values), strict=True)))
        if f"{root}/{path}" not in partitions:
            raise UsageError(f"corrections: {part.height} rows are of {path}, where nothing stands")
        found[f"{root}/{path}"] = part.select(rows.columns)
    return found


def _values(partition: str) -> dict[str, str]:
    pairs = (name.split("=", 1) for name in partition.split("/") if "=" in name)
    return {column: decode_component(value) for column, value in pairs}


def _words(tree: Any) -> Iterator[str]:
    """Yield the names of everything an expression is made of."""
    if isinstance(tree, dict):
        yield from tree
        for name, below in tree.items():
            if name not in {"Literal", "Column"}:
                yield from _words(below)
    elif isinstance(tree, list):
        for below in tree:
            yield from _words(below)
    elif isinstance(tree, str):
        yield tree
