"""`fluxforge ingest`: files of other recorders as segments of a lane, ready for `fluxforge etl run`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxforge_cli.options import ConfigOption, DataOption, choose

if TYPE_CHECKING:
    from collections import Counter

app: Final = typer.Typer(no_args_is_help=True, help="Take in files that other recorders made, as sealed segments.")
_MB: Final = 1_000_000


@app.callback()
def ingest() -> None:
    """Take in files that other recorders made, as sealed segments."""


@app.command()
def databento(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="DBN files, .dbn or .dbn.zst, version 1 to 3.")
    ],
    depth: Annotated[int, typer.Option(min=1, metavar="N", help="Levels per side of books rebuilt from mbo.")] = 50,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Turn historical files of Databento into segments of the lane databento-<dataset>-0of1: all of them, or none.

    Schemas: trades, mbp-1, mbp-10, mbo, ohlcv-1s/1m/1h/1d, definition. Files of one call are merged by the time at
    which Databento received each record. What was ingested is not ingested again. Then: fluxforge etl run --mode all.
    """
    from fluxforge.runtime.settings.lanes import DATABENTO  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import segment_store  # noqa: PLC0415 - heavy
    from fluxforge_collector.databento_source.ingest import Ingest  # noqa: PLC0415 - heavy
    from fluxforge_etl_worker.folder import adopt_folder  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    how = Ingest(
        store=segment_store(settings),
        layout=settings.layout,
        scratch_dir=settings.storage.scratch_dir,
        depth=depth,
        segment_bytes_max=settings.ingestion.segment_max_mb * _MB,
    )
    done = how.run(files)
    _, dead = adopt_folder(settings, DATABENTO)
    for each in done:
        count = len(each.segments)
        before = f", {each.done_before:,} of them done before" if each.done_before else ""
        typer.echo(f"{each.lane}: {count:,} segment{'s' * (count != 1)}{before}; records: {_counts(each.updates)}")
        for reason, records in sorted(each.doubts.items()):
            typer.echo(f"not whole: {reason}; {records:,} DBN records")
    for lost in dead:
        typer.echo(f"cannot be adopted: {lost.lane} {lost.segment}: {lost.reason}")
    raise typer.Exit(1 if dead else 0)


def _counts(counts: "Counter[str]") -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"
