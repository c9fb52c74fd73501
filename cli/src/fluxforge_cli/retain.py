"""`fluxforge retain`: what is older than the configuration keeps it, and that nobody needs any more."""

from typing import Annotated

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose


def retain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")] = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Delete by age: raw data that is in Parquet (etl.raw_retention), quarantined lines, marks of segments once dead.

    Never what stands nowhere else: data that is not processed, that a person put there by hand, or gave up.
    """
    from fluxforge.adapters.system_clock import SystemClock  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import output_store, segment_store  # noqa: PLC0415 - heavy
    from fluxforge_compactor.retention import Retention  # noqa: PLC0415 - heavy
    from fluxforge_compactor.settings import CompactorSettings  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    ages = CompactorSettings.of(settings).ages
    retention = Retention(segment_store(settings), output_store(settings), settings.layout, ages)
    count = size_bytes = 0
    for found in retention.expired(SystemClock().wall_ns()):
        if not dry_run:
            retention.delete(found)
        typer.echo(f"{'would go' if dry_run else 'deleted'}: {found.key} ({found.what}, {found.size_bytes:,} bytes)")
        count, size_bytes = count + 1, size_bytes + found.size_bytes
    typer.echo(f"{count:,} objects, {size_bytes:,} bytes{'; nothing was deleted' if dry_run else ''}")
