from collections.abc import Iterator

import typer.main
from typer.testing import CliRunner

from fluxforge_cli.main import app
from fluxforge_simulator.venues.catalog import VENUES

TOP = typer.main.get_command(app)


def option_helps() -> Iterator[tuple[str, str]]:
    for name, command in TOP.commands.items():  # type: ignore[attr-defined]
        for one in getattr(command, "commands", {"": command}).values():
            for parameter in one.params:
                yield f"{name} {one.name} {parameter.name}", getattr(parameter, "help", None) or ""


def test_no_help_has_brackets_which_would_be_taken_for_markup() -> None:
    helps = dict(option_helps())
    assert len(helps) > 50
    assert [name for name, text in helps.items() if "[" in text] == []


def test_the_simulators_help_names_every_venue_and_every_option() -> None:
    done = CliRunner().invoke(app, ["simulate", "--help"])
    assert done.exit_code == 0
    assert [one for one in (*VENUES, "--host", "--hostile-symbols") if one not in done.output] == []
