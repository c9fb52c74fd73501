"""`fluxforge dataset delete` and `upsert`: rows that go, rows that are put right. As `fluxforge.dataset` does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from fluxforge_cli.dataset import (
    EndOption,
    ExchangeOption,
    NameArgument,
    SourceOption,
    StartOption,
    SymbolOption,
    datasets_of,
)
from fluxforge_cli.options import ConfigOption, ThereOption

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from fluxforge.dataset import Edited


DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
WhereOption = Annotated[
    str | None,
    typer.Option("--where", metavar="SQL", help='A condition on the columns of one row, such as "price < 0".'),
]


def delete(  # noqa: PLR0913, PLR0917 - the options of a command
    dataset: NameArgument,
    where: WhereOption = None,
    source: SourceOption = None,
    exchange: ExchangeOption = None,
    symbol: SymbolOption = None,
    start: StartOption = None,
    end: EndOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Delete rows, or whole partitions; each partition changes in one step for every reader.

    What is deleted stays compaction.grace_seconds for readers that have it open. The journal says why rows are gone,
    and `fluxforge audit` counts them as removed.
    """
    datasets = datasets_of(config, data)

    def run(*, dry_run: bool) -> "list[Edited]":
        return datasets.delete(
            dataset, where, source=source, exchange=exchange, symbol=symbol, start=start, end=end, dry_run=dry_run
        )

    _carry_out(run, dry_run=dry_run, yes=yes)


def upsert(
    dataset: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows: .csv, .arrow or .parquet, columns by name.")],
    source: SourceOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Correct rows by their key, and add those whose key does not stand yet; each partition changes in one step.

    The file has the key and the order of a dataset, and the columns that change: `fluxforge dataset export` makes one.
    """
    datasets = datasets_of(config, data)
    rows = _rows_of(file, datasets.schema(dataset, source=source))

    def run(*, dry_run: bool) -> "list[Edited]":
        return datasets.upsert(dataset, rows, source=source, dry_run=dry_run)

    _carry_out(run, dry_run=dry_run, yes=yes)


def _carry_out(run: "Callable[..., list[Edited]]", *, dry_run: bool, yes: bool) -> None:
    if dry_run or not yes:
        planned = run(dry_run=True)
        _show(planned, "would change")
        if dry_run or not any(one.files for one in planned):
            raise typer.Exit(1 if any(one.refused for one in planned) else 0)
        typer.confirm("Change them?", abort=True)
    edited = run(dry_run=False)
    _show(edited, "changed")
    raise typer.Exit(1 if any(one.refused for one in edited) else 0)


def _show(edited: "Sequence[Edited]", what: str) -> None:
    for one in edited:
        counts = ((one.deleted, "deleted"), (one.corrected, "corrected"), (one.added, "added"))
        if one.files:
            rows = ", ".join(f"{count:,} rows {word}" for count, word in counts if count)
            typer.echo(f"{one.partition}: {one.files:,} files, {rows}")
        for left in one.left:
            typer.echo(f"left alone: {one.partition}/{left.name}: {left.reason}", err=True)
        if one.refused:
            typer.echo(f"refused: {one.refused}", err=True)
    partitions = sum(bool(one.files) for one in edited)
    typer.echo(f"{partitions:,} partitions {what}" if partitions else "no row is concerned")


def _rows_of(file: Path, schema: "pa.Schema") -> "pl.DataFrame":
    """Return the rows of a file for a dataset with these columns.

    Raises:
        UsageError: It is not there, or cannot be read.
    """
    import polars as pl  # noqa: PLC0415 - heavy

    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": lambda path: _read_csv(path, schema),
        ".arrow": pl.read_ipc,
        ".parquet": pl.read_parquet,
    }
    if file.suffix not in readers:
        raise UsageError(f"upsert: expected a file with one of the suffixes {', '.join(readers)}, was {str(file)!r}")
    try:
        return readers[file.suffix](file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"upsert: {file}: {error}") from error


def _read_csv(file: Path, schema: "pa.Schema") -> "pl.DataFrame":
    """Read a CSV by the types of a dataset: "007" stays a text where it is one."""
    import polars as pl  # noqa: PLC0415 - heavy

    empty = cast("pl.DataFrame", pl.from_arrow(schema.empty_table()))
    there = pl.read_csv(file, n_rows=0).columns
    types = {name: dtype for name, dtype in empty.schema.items() if name in there}
    times = [name for name, dtype in types.items() if dtype.is_temporal()]
    texts = [name for name, dtype in types.items() if isinstance(dtype, pl.Categorical | pl.Enum)]
    read = pl.read_csv(file, schema_overrides=types | dict.fromkeys([*times, *texts], pl.String))
    return read.with_columns(pl.col(times).str.to_datetime(time_unit="us", time_zone="UTC"))
