"""`fluxforge collect`: one collector in the foreground."""

from typing import Annotated

import typer

from fluxforge.domain.lane import Lane
from fluxforge_cli.options import ConfigOption, choose


def collect(
    config: ConfigOption = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="The source, such as ccxt; may be left out where one fits.")
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(metavar="ID", help="The exchange; may be left out where one is configured.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="IofN", help="Such as 0of1; may be left out for one shard.")
    ] = None,
) -> None:
    """Run the collector of one exchange shard in the foreground. SIGTERM or Ctrl-C drains."""
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - heavy
    from fluxforge.runtime.settings.lanes import configured_lanes  # noqa: PLC0415 - heavy

    chosen = choose(config)
    lanes = configured_lanes(chosen.settings)
    fitting = [
        lane
        for lane in lanes
        if source in {None, lane.source} and exchange in {None, lane.exchange} and shard in {None, lane.shard}
    ]
    if len(fitting) != 1:
        known = ", ".join(" ".join(_arguments(lane)) for lane in lanes)
        raise UsageError(
            f"collect: {'none' if not fitting else 'several'} of the configured lanes fit; choose: {known}"
        )
    from fluxforge_collector.main import main  # noqa: PLC0415 - ccxt takes seconds: after all that may be refused

    raise typer.Exit(main([*_arguments(fitting[0]), *(["--config", str(chosen.config)] if chosen.config else [])]))


def _arguments(lane: Lane) -> tuple[str, ...]:
    return "--source", lane.source, "--exchange", lane.exchange, "--shard", lane.shard
