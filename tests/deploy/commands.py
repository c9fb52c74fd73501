"""What a manifest or unit starts, given to the product's own parsers: they take it, or it is wrong."""

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from fluxforge_cli.main import app

_UsageError = typer.BadParameter.__mro__[1]


def parsed(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the arguments of a command line as the program it names understands them.

    `words`: `python -m <service> ...` or `fluxforge <command> ...`, the program with or without its directory.

    Raises:
        ValueError: It does not understand them.
    """
    program, *rest = words
    try:
        if Path(program).name == "fluxforge":
            command = typer.main.get_command(app).commands[rest[0]]  # type: ignore[attr-defined]
            return dict(command.make_context(rest[0], rest[1:]).params)
        assert (Path(program).name, rest[0]) == ("python", "-m")
        return _of_service(rest[1], rest[2:], monkeypatch)
    except (SystemExit, KeyError, _UsageError) as error:
        raise ValueError(f"not understood: {' '.join(words)}") from error


def _of_service(module: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: list[argparse.Namespace] = []
    parse_args = argparse.ArgumentParser.parse_args

    def parse(parser: argparse.ArgumentParser, given: Sequence[str]) -> argparse.Namespace:
        found.append(parse_args(parser, given))
        raise InterruptedError  # what comes behind it is not wanted here

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", parse)
        with pytest.raises(InterruptedError):
            importlib.import_module(f"{module}.main").main(arguments)
    return vars(found[0])
