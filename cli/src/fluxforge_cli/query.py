"""`fluxforge query`: SQL over the datasets."""

import csv
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxforge_cli.options import ConfigOption, DataOption, choose

if TYPE_CHECKING:
    import duckdb

_TABLE_ROWS_MAX: Final = 200
_FETCH_ROWS: Final = 1000
_FLOAT_DIGITS: Final = 10

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
        help="DuckDB SQL over the views ticker, trades, books, hf, bars and coverage.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    OutputFormat, typer.Option("--format", help=f"table shows the first {_TABLE_ROWS_MAX} rows; csv and json all.")
]


def query(
    sql: SqlArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Ask the datasets in SQL (DuckDB), such as "SELECT symbol, count(*) FROM trades GROUP BY ALL".

    Every view has a column `source`; a view without files yet is empty.
    """
    from fluxforge_cli.datasets import open_datasets  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import output_store  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    database = open_datasets(output_store(settings).base_dir / settings.storage.paths.processed_dir)
    columns, rows = run_sql(database, sql)
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
    import duckdb  # noqa: PLC0415 - heavy

    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside it

    try:
        database.execute(sql)
        columns = [str(column[0]) for column in database.description or []]
    except duckdb.Error as error:
        raise UsageError(f"query: {error}") from error
    return columns, _rows(database)


def _rows(database: "duckdb.DuckDBPyConnection") -> Iterator[Row]:
    while rows := database.fetchmany(_FETCH_ROWS):
        yield from rows


def print_table(columns: Sequence[str], rows: Iterator[Row], *, title: str | None = None) -> None:
    """Print the first rows as a table, and how many there are when that is not all."""
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.table import Table  # noqa: PLC0415 - heavy

    console = Console()
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    shown = [row for _, row in zip(range(_TABLE_ROWS_MAX), rows, strict=False)]
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in shown)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)
    left = sum(1 for _ in rows)
    if left:
        console.print(f"{left:,} more rows: --format csv or json prints them all", style="dim", highlight=False)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_FLOAT_DIGITS}g}"
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
