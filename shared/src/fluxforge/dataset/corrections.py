"""Corrections: rows by which those of a dataset with the same key are to be replaced. Pure."""

from collections.abc import Collection, Iterable
from typing import Final, Self

import polars as pl
import pyarrow as pa

from fluxforge.dataset.rewrite.merge import decoded, plain
from fluxforge.domain.errors import UsageError
from fluxforge.domain.partition import key_columns
from fluxforge.runtime.parquet import ROW_ORDER

_PLACE: Final = ("exchange", "symbol")
_HIT: Final = "__hit"
_NEW: Final = "__new"
DIFFERS: Final = "__differs"
"""Column of `Corrections.hits`: whether a row is not as it is to be."""


class Corrections:
    """Rows with the key of a dataset and the columns that change. What tells where a row stands cannot change."""

    def __init__(self, rows: pl.DataFrame, keys: tuple[str, ...]) -> None:
        self.rows = rows
        self._keys = keys

    @classmethod
    def of(cls, rows: pl.DataFrame, dataset: str, schema: pa.Schema) -> Self:
        """Return corrections of a dataset with these columns.

        Raises:
            UsageError: A column is missing, unknown or of another type, or a key is null or stands twice.
        """
        keys = key_columns(dataset)
        empty = pl.from_arrow(plain(schema).empty_table())
        assert isinstance(empty, pl.DataFrame)
        for name in rows.columns:
            if name not in empty.columns:
                raise UsageError(f"corrections: column {name!r}: expected one of {', '.join(empty.columns)}")
        wanted = dict.fromkeys([*keys, *(name for name in (*ROW_ORDER, *_PLACE) if name in empty.columns)])
        lacking = [name for name in wanted if name not in rows.columns]
        if lacking:
            raise UsageError(
                f"corrections: column {lacking[0]!r} is missing; {', '.join(wanted)} tell which row is meant"
            )
        try:
            rows = rows.cast({name: empty.schema[name] for name in rows.columns})
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"corrections: {error}") from error
        found = cls(rows, keys)
        found._check(list(wanted))
        return found

    def _check(self, wanted: list[str]) -> None:
        for name in wanted:
            if self.rows[name].null_count():
                raise UsageError(
                    f"corrections: column {name!r}: expected a value in every row, {_of(self.rows)} has none"
                )
        repeated = self.rows.height - self.rows.n_unique(self._keys)
        if repeated:
            raise UsageError(f"corrections: {repeated} rows have the key {', '.join(self._keys)} of another")

    @property
    def fixed(self) -> list[str]:
        """The columns that tell which row is meant and where it stands."""
        place = [name for name in (*ROW_ORDER, *_PLACE) if name in self.rows.columns]
        return list(dict.fromkeys([*self._keys, *place]))

    def part(self, rows: pl.DataFrame) -> Self:
        """Return these corrections alone."""
        return type(self)(rows, self._keys)

    def hits(self, tables: Iterable[pa.Table]) -> pl.DataFrame:
        """Return the keys of the rows that stand, and in `DIFFERS` whether they change.

        Tables need the `fixed` columns, and what they have of those that are given.

        Raises:
            UsageError: A row would move, or a key means several.
        """
        place = [name for name in self.fixed if name not in self._keys]
        given = [name for name in self.rows.columns if name not in self.fixed]
        frames = [self.rows.select(*self._keys, pl.lit(value=True).alias(DIFFERS)).clear()]
        for table in tables:
            found = _frame(table).join(self.rows, on=self._keys, how="inner", suffix=_NEW)
            for name in place:
                moved = found.filter(pl.col(name) != pl.col(f"{name}{_NEW}"))
                if moved.height:
                    is_, was = moved[name][0], moved[f"{name}{_NEW}"][0]
                    raise UsageError(f"corrections: {name} tells where a row stands: expected {is_}, was {was}")
            frames.append(found.select(*self._keys, _differs(found.columns, given).alias(DIFFERS)))
        return pl.concat(frames)

    def without(self, hits: pl.DataFrame) -> pl.DataFrame:
        """Return the corrections whose keys were not found.

        Raises:
            UsageError: A key was found more than once.
        """
        repeated = hits.height - hits.n_unique(self._keys)
        if repeated:
            raise UsageError(f"corrections: {repeated} keys mean more than one row each")
        return self.rows.join(hits, on=self._keys, how="anti", maintain_order="left")

    def change(self, table: pa.Table) -> pa.Table:
        """Return a table with the rows of these keys corrected.

        Raises:
            UsageError: It lacks a column that is to be corrected.
        """
        frame = _frame(table)
        given = [name for name in self.rows.columns if name not in self._keys]
        lacking = [name for name in given if name not in frame.columns]
        if lacking:
            raise UsageError(f"corrections: column {lacking[0]!r} stands in no file of the partition")
        marked = self.rows.with_columns(pl.lit(value=True).alias(_HIT))
        joined = frame.join(marked, on=self._keys, how="left", maintain_order="left", suffix=_NEW)
        if not joined[_HIT].any():
            return table
        corrected = joined.select(
            pl.when(pl.col(_HIT)).then(f"{name}{_NEW}").otherwise(name).alias(name) if name in given else name
            for name in frame.columns
        )
        return shaped(corrected, table.schema)


def shaped(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return rows with the columns of a schema; those that they lack are null."""
    lacking = [name for name in schema.names if name not in rows.columns]
    table = rows.with_columns(pl.lit(None).alias(name) for name in lacking).select(schema.names)
    return table.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(plain(schema)).cast(schema)


def _differs(columns: Collection[str], given: Iterable[str]) -> pl.Expr:
    """Return whether a row differs from what is given; where a column lacks it does, so that `change` names it."""
    pairs = ((pl.col(name), f"{name}{_NEW}") for name in given)
    changes = [is_.ne_missing(pl.col(to_be)) if to_be in columns else pl.lit(value=True) for is_, to_be in pairs]
    return pl.any_horizontal(pl.lit(value=False), *changes)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(decoded(table))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _of(rows: pl.DataFrame) -> str:
    return f"one of {rows.height}" if rows.height > 1 else "it"
