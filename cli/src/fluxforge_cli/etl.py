"""`fluxforge etl`: from sealed segments to Parquet, once over a folder or for ever from the bus."""

from enum import StrEnum
from typing import Annotated, Final, Literal

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose

app: Final = typer.Typer(no_args_is_help=True, help="Turn sealed segments into Parquet.")


class Mode(StrEnum):
    """Which segments of a folder are processed."""

    ALL = "all"
    DATE = "date"


@app.command()
def run(
    mode: Annotated[Mode, typer.Option(help="All segments, or those with something of one --date.")],
    date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="UTC date, with --mode date.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="This source alone, such as ccxt.")] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the data of every segment in Parquet, adopted files too.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Compute everything again from raw/, into another storage.paths.processed_dir."),
    ] = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Process the segments in raw/ready/<source>/<exchange>-<shard>/, without any bus; what is done is left alone.

    Plain *.ndjson files without manifest are adopted first, so segments of other recorders will do. The data of
    segments that FluxForge sealed is deleted once they are in Parquet, unless etl.delete_after_processing is false;
    adopted files stay.
    """
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use
    from fluxforge_etl_worker.folder import run_folder  # noqa: PLC0415 - heavy

    if (mode is Mode.DATE) != (date is not None):
        raise UsageError("etl run: --date is given with --mode date, and only then")
    if delete and force:
        raise UsageError("etl run: --force computes again from the data that --delete takes away; give one of them")
    settings = choose(config, data).settings
    which: Literal["all", "date"] = "date" if mode is Mode.DATE else "all"
    summary = run_folder(settings, mode=which, date=date, source=source, delete=delete, force=force)
    for dead in summary.dead:
        typer.echo(f"cannot be processed: {dead.lane} {dead.segment}: {dead.reason}")
    rows = ", ".join(f"{dataset} {count:,}" for dataset, count in sorted(summary.rows.items()))
    typer.echo(
        f"{summary.segments:,} segments: {summary.processed:,} processed, {summary.done_before:,} done before, "
        f"{len(summary.dead):,} cannot be; {summary.records:,} records, {summary.quarantined:,} quarantined"
    )
    typer.echo(f"rows: {rows or 'none'}")
    if summary.upkeep:
        typer.echo(", ".join(f"{kind.replace('_', ' ')}: {count:,}" for kind, count in summary.upkeep.items()))
    raise typer.Exit(1 if summary.dead else 0)


@app.command()
def watch(config: ConfigOption = None) -> None:
    """Run an ETL worker in the foreground: process segments as the bus announces them. SIGTERM or Ctrl-C drains."""
    from fluxforge_etl_worker.main import main  # noqa: PLC0415 - heavy

    chosen = choose(config)
    raise typer.Exit(main(["--config", str(chosen.config)] if chosen.config else []))
