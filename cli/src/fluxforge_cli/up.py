"""`fluxforge up`: the whole system on this machine, until Ctrl-C; then the drain and the account."""

from typing import TYPE_CHECKING, Annotated

import typer

from fluxforge_cli.options import Chosen, ConfigOption, DataOption, choose

if TYPE_CHECKING:
    from rich.console import Console

    from fluxforge_cli.system.run import Run

SecondsOption = Annotated[float | None, typer.Option("--seconds", min=1, help="Capture for so long, then end.")]


def up(config: ConfigOption = None, data: DataOption = None, seconds: SecondsOption = None) -> None:
    """Run the whole system on this machine: capture, seal, process. Ctrl-C drains and gives the account.

    SIGHUP has the collectors follow a changed list of markets; when the terminal is gone it drains. Without
    nats.servers in the configuration it brings a NATS server of its own. It exits with 0 only when captured, sealed
    and processed counts agree.
    """
    from fluxforge_cli.account.report import print_steps  # noqa: PLC0415 - heavy
    from fluxforge_cli.screen.show import screen_for  # noqa: PLC0415 - heavy
    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy
    from fluxforge_cli.system.drive import drive  # noqa: PLC0415 - heavy
    from fluxforge_cli.system.run import System  # noqa: PLC0415 - heavy

    chosen = choose(config, data)
    console = terminal()
    with screen_for(console) as screen:
        system = System(chosen, screen)
        run = drive(lambda shutdown: system.run(shutdown, seconds=seconds), reload=system.reload)
    closes = give_account(console, chosen, run)
    print_steps(console, run.steps)
    raise typer.Exit(0 if closes else 1)


def give_account(console: "Console", chosen: Chosen, run: "Run") -> bool:
    """Print the balance of a run and add the step to it; return whether it closes.

    Raises:
        ServiceRefusedError: A service had refused its configuration, which ended the run.
    """
    from fluxforge.adapters.system_clock import SystemClock  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.report import print_balance  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.take import take_account  # noqa: PLC0415 - heavy
    from fluxforge_cli.system.run import Step  # noqa: PLC0415 - heavy

    if run.refused:
        raise run.refused
    clock = SystemClock()
    begun_ns = clock.monotonic_ns()
    closes = print_balance(console, take_account(chosen.settings, run))
    run.steps.append(Step("count", (clock.monotonic_ns() - begun_ns) / 1e9))
    if closes:
        console.print("The balance closes.", style="green")
    return closes
