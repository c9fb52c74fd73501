"""`fluxforge retain`: what is older than the configuration keeps it, and that nobody needs any more."""

from typing import Annotated

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose


def retain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")] = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Delete by age: raw data that is in Parquet, quarantined lines, marks of segments once dead, old partitions.

    As etl.raw_retention and the group `retention` say. Never what stands nowhere else: data that is not processed, that
    a person put there by hand, or gave up. Partitions go as a whole, and never those of coverage.
    """
    from fluxforge.adapters.system_clock import SystemClock  # noqa: PLC0415 - heavy
    from fluxforge.dataset.edit import EditRefusedError  # noqa: PLC0415 - heavy
    from fluxforge.domain.errors import PartitionChangedError  # noqa: PLC0415 - beside it
    from fluxforge_cli.stores import output_store, segment_store  # noqa: PLC0415 - heavy
    from fluxforge_compactor.main import compactor_of  # noqa: PLC0415 - heavy
    from fluxforge_compactor.retention import Retention  # noqa: PLC0415 - heavy
    from fluxforge_compactor.settings import CompactorSettings  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    own = CompactorSettings.of(settings)
    compactor, partitions = compactor_of(settings, own)
    if not dry_run:
        partitions.probe()
    retention = Retention(segment_store(settings), output_store(settings), own.layout, own.ages, compactor.editor)
    count = size_bytes = refused = 0
    for found in retention.expired(SystemClock().wall_ns()):
        try:
            if not dry_run:
                retention.delete(found)
        except (EditRefusedError, PartitionChangedError) as error:
            typer.echo(f"left: {error}", err=True)
            refused += 1
            continue
        typer.echo(f"{'would go' if dry_run else 'deleted'}: {found.key} ({found.what}, {found.size_bytes:,} bytes)")
        count, size_bytes = count + 1, size_bytes + found.size_bytes
    typer.echo(f"{count:,} objects, {size_bytes:,} bytes{'; nothing was deleted' if dry_run else ''}")
    raise typer.Exit(1 if refused else 0)
