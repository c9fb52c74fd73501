"""`fluxforge collect`: one collector in the foreground."""

from typing import Annotated

import typer

from fluxforge_cli.options import ConfigOption, choose


def collect(
    config: ConfigOption = None,
    exchange: Annotated[
        str | None, typer.Option(metavar="ID", help="The exchange; may be left out where one is configured.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="IofN", help="Such as 0of1; may be left out for one shard.")
    ] = None,
) -> None:
    """Run the collector of one exchange shard in the foreground. SIGTERM or Ctrl-C drains."""
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - heavy
    from fluxforge_cli.system.plan import lanes  # noqa: PLC0415 - heavy

    chosen = choose(config)
    fitting = [
        lane for lane in lanes(chosen.settings) if exchange in {None, lane.exchange} and shard in {None, lane.shard}
    ]
    if len(fitting) != 1:
        known = ", ".join(f"--exchange {lane.exchange} --shard {lane.shard}" for lane in lanes(chosen.settings))
        raise UsageError(
            f"collect: {'none' if not fitting else 'several'} of the configured lanes fit; choose: {known}"
        )
    from fluxforge_collector.main import main  # noqa: PLC0415 - ccxt takes seconds: after all that may be refused

    arguments = ["--exchange", fitting[0].exchange, "--shard", fitting[0].shard]
    raise typer.Exit(main([*arguments, *(["--config", str(chosen.config)] if chosen.config else [])]))
