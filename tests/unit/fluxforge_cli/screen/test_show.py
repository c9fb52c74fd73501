from io import StringIO

from rich.console import Console

from fluxforge_cli.screen.show import LiveScreen, PlainScreen, screen_for
from fluxforge_cli.screen.view import View


def test_a_pipe_gets_lines_and_a_terminal_a_live_table() -> None:
    assert isinstance(screen_for(Console(file=StringIO())), PlainScreen)
    assert isinstance(screen_for(Console(file=StringIO(), force_terminal=True)), LiveScreen)


def test_a_line_comes_every_five_seconds_and_with_each_phase() -> None:
    out = StringIO()
    with PlainScreen(Console(file=out, width=200)) as screen:
        for elapsed_s in (0.0, 1.0, 4.0, 5.5, 6.0):
            screen.show(View(), phase="capturing", elapsed_s=elapsed_s)
        screen.show(View(), phase="draining", elapsed_s=6.5)
        screen.say("a [word] of [red]notice[/red]")
    lines = out.getvalue().splitlines()
    assert [line[:18].strip() for line in lines[:3]] == ["0 s  capturing:", "6 s  capturing:", "6 s  draining:"]
    assert lines[3] == "a [word] of [red]notice[/red]"


def test_the_live_table_leaves_only_what_was_said() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30, legacy_windows=False)
    with LiveScreen(console) as screen:
        screen.show(View(captured=3), phase="capturing", elapsed_s=3)
        screen.say("something of note")
    assert "FluxForge: capturing, 3 s (Ctrl-C drains)" in out.getvalue()
    assert "something of note" in out.getvalue()
