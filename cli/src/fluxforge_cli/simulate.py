"""`fluxforge simulate`: an exchange on loopback. Its options are those of `python -m fluxforge_simulator`."""

from typing import Any, Final

import typer

PASSED_ON: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Settings of a command whose arguments another parser reads, `--help` included."""


def simulate(context: typer.Context) -> None:
    """Be an exchange: made-up markets of five venues, or recordings of real ones; --help lists them."""
    from fluxforge_simulator.__main__ import main  # noqa: PLC0415 - heavy

    raise typer.Exit(main(context.args, prog="fluxforge simulate"))
