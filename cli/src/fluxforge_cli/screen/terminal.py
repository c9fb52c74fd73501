"""The terminal: where the command prints, wide enough for its tables where nobody set a width."""

from typing import Final

from rich.console import Console

_WIDTH_ELSEWHERE: Final = 160


def terminal() -> Console:
    """Return the console on stdout; a pipe or file has a width that no table of ours exceeds."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_ELSEWHERE)
