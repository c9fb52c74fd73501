"""`fluxforge dataset`: what there is, what is in it, and whether it is whole. The same as `fluxforge.dataset` does."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose
from fluxforge_cli.query import FormatOption, OutputFormat, print_rows

if TYPE_CHECKING:
    import polars as pl

    from fluxforge.dataset import Datasets, Flaw, Stat

app: Final = typer.Typer(no_args_is_help=True, help="The datasets: list, look into, check, export.")

NameArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Such as trades, hf, bars, books or ticker.")]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source", help="This source alone, such as ccxt. All: with legs: 2 every update stands up to three times."
    ),
]
ExchangeOption = Annotated[list[str] | None, typer.Option("--exchange", help="May be given several times.")]
SymbolOption = Annotated[
    list[str] | None, typer.Option("--symbol", help="Such as BTC/USDT or BTC-USDT; may be given several times.")
]
StartOption = Annotated[str | None, typer.Option("--start", metavar="TIME", help="UTC, such as 2026-11-22T10:30.")]
EndOption = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Not included.")]
ColumnsOption = Annotated[str | None, typer.Option("--columns", metavar="A,B", help="These columns alone.")]
ResentOption = Annotated[
    bool, typer.Option("--resent", help="With trades the venue sent again or that were fetched after a hole.")
]


class ExportFormat(StrEnum):
    """What a dataset is exported to, by the suffix of the file."""

    CSV = ".csv"
    ARROW = ".arrow"
    PARQUET = ".parquet"


@app.command()
def ls(config: ConfigOption = None, data: ThereOption = None) -> None:
    """List the datasets: files, rows, bytes and the time they cover."""
    datasets = datasets_of(config, data)
    names = sorted({name for _, name in datasets.ls()})
    _print_stats([stat for name in names for stat in datasets.stat(name)])


@app.command()
def stat(
    dataset: NameArgument,
    source: SourceOption = None,
    exchange: ExchangeOption = None,
    symbol: SymbolOption = None,
    start: StartOption = None,
    end: EndOption = None,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Say what stands in the partitions that may hold these rows, and how long their feeds were not captured whole."""
    from fluxforge.dataset import Selection  # noqa: PLC0415 - heavy

    selection = Selection.of(exchange, symbol, start, end)
    _print_stats(datasets_of(config, data).stat(dataset, selection, source=source))


@app.command()
def schema(dataset: NameArgument, config: ConfigOption = None, data: ThereOption = None) -> None:
    """Print the columns of a dataset and their types."""
    fields = datasets_of(config, data).schema(dataset)
    print_rows(["column", "type"], iter([(field.name, str(field.type)) for field in fields]), OutputFormat.CSV)


@app.command()
def read(  # noqa: PLR0913, PLR0917 - the options of a command
    dataset: NameArgument,
    source: SourceOption = None,
    exchange: ExchangeOption = None,
    symbol: SymbolOption = None,
    start: StartOption = None,
    end: EndOption = None,
    columns: ColumnsOption = None,
    resent: ResentOption = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first rows alone.")] = None,
    output: FormatOption = OutputFormat.TABLE,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Print rows in the order of their time."""
    frame = datasets_of(config, data).scan(
        dataset, source=source, exchange=exchange, symbol=symbol, start=start, end=end, resent=resent
    )
    frame = _columns(frame.sort("ts", maintain_order=True), columns)
    rows = (frame.head(limit) if limit else frame).collect()
    print_rows(rows.columns, iter(rows.iter_rows()), output)


@app.command()
def export(  # noqa: PLR0913, PLR0917 - the options of a command
    dataset: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file: .csv, .arrow or .parquet.")],
    source: SourceOption = None,
    exchange: ExchangeOption = None,
    symbol: SymbolOption = None,
    start: StartOption = None,
    end: EndOption = None,
    columns: ColumnsOption = None,
    resent: ResentOption = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Write rows into one file, in the order of their time; it appears when it is whole."""
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use

    suffixes = ", ".join(ExportFormat)
    if file.suffix not in set(ExportFormat):
        raise UsageError(f"export: expected a file with one of the suffixes {suffixes}, was {str(file)!r}")
    if file.exists():
        raise UsageError(f"export: {file} exists; choose another name, or remove it")
    frame = datasets_of(config, data).scan(
        dataset, source=source, exchange=exchange, symbol=symbol, start=start, end=end, resent=resent
    )
    frame = _columns(frame.sort("ts", maintain_order=True), columns)
    _write(frame, file, ExportFormat(file.suffix))
    typer.echo(f"{file}: {file.stat().st_size:,} bytes")


@app.command()
def verify(
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]", help="Else all of them.")] = None,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Read every file: commit records, columns, order, place and keys. Exit code 1: something is wrong, and named."""
    from fluxforge_cli.stores import segment_store  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    datasets = datasets_of(config, data)
    names = [dataset] if dataset else sorted({name for _, name in datasets.ls()})
    flaws: list[Flaw] = []
    for name in names:
        found = list(datasets.verify(name, commits=segment_store(settings)))
        flaws += found
        typer.echo(f"{name}: {len(found):,} flaws" if found else f"{name}: whole")
    for flaw in flaws:
        typer.echo(f"{flaw.key}: {flaw.what}", err=True)
    raise typer.Exit(1 if flaws else 0)


def datasets_of(config: Path | None, data: Path | None) -> "Datasets":
    """Return the datasets that a person means."""
    from fluxforge.dataset import Datasets  # noqa: PLC0415 - heavy

    return Datasets.of(choose(config, data).settings)


def _columns(frame: "pl.LazyFrame", columns: str | None) -> "pl.LazyFrame":
    """Return the frame with the columns of a list.

    Raises:
        UsageError: One is none of them.
    """
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use

    if columns is None:
        return frame
    there = frame.collect_schema().names()
    wanted = columns.split(",")
    for name in wanted:
        if name not in there:
            raise UsageError(f"column {name!r}: expected one of {', '.join(there)}")
    return frame.select(wanted)


def _write(frame: "pl.LazyFrame", file: Path, kind: ExportFormat) -> None:
    import polars as pl  # noqa: PLC0415 - heavy

    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use

    lists = [name for name, dtype in frame.collect_schema().items() if isinstance(dtype, pl.List)]
    if kind is ExportFormat.CSV and lists:
        raise UsageError(f"export: {', '.join(lists)} hold lists, which CSV cannot; use .arrow or .parquet")
    aside = file.with_name(f".{file.name}.part")
    try:
        if kind is ExportFormat.CSV:
            frame.sink_csv(aside)
        elif kind is ExportFormat.ARROW:
            frame.sink_ipc(aside)
        else:
            frame.sink_parquet(aside)
        aside.rename(file)
    finally:
        aside.unlink(missing_ok=True)


def _print_stats(stats: "list[Stat]") -> None:
    def cells() -> Iterator[tuple[object, ...]]:
        for one in stats:
            times = (_text(one.first), _text(one.last))
            held = (one.source, one.dataset, one.partitions, one.files, one.rows, one.size_bytes)
            yield (*held, *times, one.holes, one.hole_seconds, one.covered)

    heads = ["source", "dataset", "partitions", "files", "rows", "bytes", "first", "last"]
    heads += ["holes", "hole_seconds", "covered"]
    print_rows(heads, cells(), OutputFormat.TABLE)


def _text(moment: datetime | None) -> str:
    return "" if moment is None else moment.replace(tzinfo=None).isoformat(sep=" ")
