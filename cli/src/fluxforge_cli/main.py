"""The `fluxforge` command: one verb per module; heavy imports wait until their verb is called."""

import sys
from typing import Final

import typer

from fluxforge.domain.errors import FluxForgeError, UsageError
from fluxforge_cli import config, dataset, dead, etl, ingest
from fluxforge_cli.audit import audit
from fluxforge_cli.collect import collect
from fluxforge_cli.compact import compact
from fluxforge_cli.coverage import coverage
from fluxforge_cli.demo import demo
from fluxforge_cli.doctor import doctor
from fluxforge_cli.edit import delete, upsert
from fluxforge_cli.health import health
from fluxforge_cli.merge import merge
from fluxforge_cli.provision import provision
from fluxforge_cli.query import query
from fluxforge_cli.repartition import repartition
from fluxforge_cli.replay import replay
from fluxforge_cli.retain import retain
from fluxforge_cli.segment import segment
from fluxforge_cli.segments import segments
from fluxforge_cli.simulate import PASSED_ON, simulate
from fluxforge_cli.up import up

app: Final = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Capture live market data and forge it into datasets: exchange -> bus -> sealed segments -> Parquet.",
)
_SYSTEM: Final = "The whole system on this machine"
_SERVICES: Final = "One service at a time"
_LOOK: Final = "Look"
_DATASETS: Final = "Datasets"

app.command(rich_help_panel=_SYSTEM)(demo)
app.command(rich_help_panel=_SYSTEM)(up)
app.command(rich_help_panel=_LOOK)(query)
app.command(rich_help_panel=_LOOK)(segments)
app.command(rich_help_panel=_LOOK)(audit)
app.command(rich_help_panel=_LOOK)(coverage)
app.command(rich_help_panel=_LOOK)(health)
app.command(rich_help_panel=_LOOK)(doctor)
app.command(rich_help_panel=_DATASETS)(compact)
app.command(rich_help_panel=_DATASETS)(repartition)
app.command(rich_help_panel=_DATASETS)(merge)
dataset.app.command()(delete)
dataset.app.command()(upsert)
app.add_typer(dataset.app, name="dataset", rich_help_panel=_DATASETS)
app.command(rich_help_panel=_DATASETS)(retain)
app.command(rich_help_panel=_SERVICES)(collect)
app.command(rich_help_panel=_SERVICES)(segment)
app.add_typer(etl.app, name="etl", rich_help_panel=_SERVICES)
app.add_typer(ingest.app, name="ingest", rich_help_panel=_DATASETS)
app.command(rich_help_panel=_SERVICES)(provision)
app.command(rich_help_panel=_SERVICES, context_settings=PASSED_ON)(simulate)
app.command(rich_help_panel=_DATASETS)(replay)
app.add_typer(dead.app, name="dead", rich_help_panel=_LOOK)
app.add_typer(config.app, name="config", rich_help_panel=_LOOK)


def main() -> None:
    """Run the command; errors of ours become one line on stderr and exit code 2 (wrong usage) or 1."""
    try:
        app()
    except FluxForgeError as error:
        sys.stderr.write(f"fluxforge: {error}\n")
        sys.exit(2 if isinstance(error, UsageError) else 1)
