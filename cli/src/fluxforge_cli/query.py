"""`fluxforge query`: SQL over the datasets."""

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_TABLE_ROWS_MAX: Final = 200
_WIDTH_MAX: Final = 100_000
_FETCH_ROWS: Final = 1000
_FLOAT_DIGITS: Final = 8

Row = Sequence[object]


class OutputFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


SqlArgument = Annotated[
    str,
    typer.Argument(
        metavar="SQL",
        help="DuckDB SQL over the views ticker, trades, books, hf, bars, coverage, and one of each other channel.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    OutputFormat, typer.Option("--format", help=f"table shows the first {_TABLE_ROWS_MAX} rows; csv and json all.")
]


def query(
    sql: SqlArgument,
    data: ThereOption = None,
    config: ConfigOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Ask the datasets in SQL (DuckDB), such as "SELECT symbol, count(*) FROM trades GROUP BY ALL".

    Every view has a column `source`; the named ones are empty while they have no files, one of another channel (ohlcv,
    bidsasks, definition, ...) appears with its first. all_trades: trades with resent and backfilled ones; all_coverage:
    every record of a hole. With two collectors (`legs: 2`), or after a replay, the same update stands below several
    sources: name one, such as WHERE source = 'ccxt.merged'.
    """
    from fluxforge_cli.datasets import open_datasets  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import processed_files  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    database = open_datasets(processed_files(settings))
    print_rows(*run_sql(database, sql), output)


def print_rows(columns: Sequence[str], rows: Iterator[Row], output: OutputFormat) -> None:
    """Print rows in a format."""
    if output is OutputFormat.CSV:
        _print_csv(columns, rows)
    elif output is OutputFormat.JSON:
        _print_json(columns, rows)
    else:
        print_table(columns, rows)


def run_sql(database: "duckdb.DuckDBPyConnection", sql: str) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and rows of a statement.

    Raises:
        UsageError: DuckDB refuses the statement; its message says why.
    """
    batches = _batches(database, sql)
    first = next(batches)
    return list(first.schema.names), _rows(first, batches)


def _batches(database: "duckdb.DuckDBPyConnection", sql: str) -> "Iterator[pa.RecordBatch]":
    """Yield an empty batch for the schema, then the result."""
    import duckdb  # noqa: PLC0415 - heavy
    import pyarrow as pa  # noqa: PLC0415 - heavy

    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside it

    try:
        # By way of Arrow: DuckDB's own rows need pytz for a time with zone.
        relation = cast("duckdb.DuckDBPyRelation | None", database.sql(sql))
        if relation is None:  # a statement without a result, which the stubs do not know
            yield pa.RecordBatch.from_pylist([], schema=pa.schema([]))
            return
        reader = relation.to_arrow_reader(_FETCH_ROWS)
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        yield from reader
    except duckdb.Error as error:
        raise UsageError(f"query: {error}") from error


def _rows(first: "pa.RecordBatch", rest: "Iterator[pa.RecordBatch]") -> Iterator[Row]:
    for batch in chain((first,), rest):
        yield from zip(*(_values(column) for column in batch.columns), strict=True)


def _values(column: "pa.Array") -> list[object]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    if pa.types.is_timestamp(column.type) and column.type.tz:
        naive: list[datetime | None] = column.cast(pa.timestamp("us")).to_pylist()  # needs no time zone data
        return [value.replace(tzinfo=UTC) if value else None for value in naive]
    values: list[object] = column.to_pylist()
    if pa.types.is_decimal(column.type) and column.type.scale == 0:  # sums of whole numbers
        return [int(value) if isinstance(value, Decimal) else None for value in values]
    return values


def print_table(columns: Sequence[str], rows: Iterator[Row], *, title: str | None = None) -> None:
    """Print the first rows, as a table or, where that is too wide for the terminal, one value per line."""
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.table import Table  # noqa: PLC0415 - heavy

    console = Console()
    shown = list(islice(rows, _TABLE_ROWS_MAX))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in shown)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in shown:
        table.add_row(*(_cell(value) for value in row))
    if title:
        console.print(f"\n[bold]{title}[/bold]")
    width = console.measure(table, options=console.options.update(width=_WIDTH_MAX)).maximum
    if width <= console.width:
        console.print(table)
    elif not console.is_terminal:
        Console(width=width).print(table)
    else:
        _print_upright(columns, shown)
    left = sum(1 for _ in rows)
    if left:
        console.print(f"{left:,} more rows: --format csv or json prints them all", style="dim", highlight=False)


def _print_upright(columns: Sequence[str], rows: Sequence[Row]) -> None:
    width = max(len(column) for column in columns)
    for number, row in enumerate(rows, 1):
        typer.secho(f"row {number}", bold=True)
        for column, value in zip(columns, row, strict=True):
            typer.echo(f"  {column:<{width}}  {_cell(value)}")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_FLOAT_DIGITS}g}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ")
    return str(value)


def _print_csv(columns: Sequence[str], rows: Iterator[Row]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def _print_json(columns: Sequence[str], rows: Iterator[Row]) -> None:
    import orjson  # noqa: PLC0415 - heavy

    out = sys.stdout.buffer
    out.write(b"[")
    for number, row in enumerate(rows):
        out.write(b",\n " if number else b"\n ")
        out.write(orjson.dumps(dict(zip(columns, row, strict=True)), default=str, option=orjson.OPT_UTC_Z))
    out.write(b"\n]\n")
    out.flush()
