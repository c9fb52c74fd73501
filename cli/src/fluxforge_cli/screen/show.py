"""Showing: a live table at a terminal, a line every few seconds elsewhere. Both print what is said to them at once."""

from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from typing_extensions import override

from fluxforge_cli.screen.tables import line, tables
from fluxforge_cli.screen.view import View

LINE_EVERY_S: Final = 5.0
DRAINING: Final = "draining"
"""What the name of every phase of a drain begins with."""


class Screen(Protocol):
    """Where a running system is shown; a context manager."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        ...

    def say(self, text: str) -> None:
        """Print a line that stays."""
        ...

    def show(self, view: View, *, phase: str, elapsed_s: float) -> None:
        """Show the state of now; `phase` says what the system is doing."""
        ...


class LiveScreen(Screen):
    """A table that is drawn anew each time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    @override
    def __enter__(self) -> Self:
        self._live.start()
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @override
    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    @override
    def show(self, view: View, *, phase: str, elapsed_s: float) -> None:
        self._live.update(tables(view, title=f"FluxForge: {phase}, {elapsed_s:.0f} s (Ctrl-C drains)"), refresh=True)


class PlainScreen(Screen):
    """A line now and then, and whenever the phase changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due_s = 0.0
        self._phase = ""

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    @override
    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @override
    def show(self, view: View, *, phase: str, elapsed_s: float) -> None:
        if elapsed_s >= self._due_s or phase != self._phase:
            self.say(f"{elapsed_s:4.0f} s  {phase}: {line(view, draining=phase.startswith(DRAINING))}")
            self._due_s = elapsed_s + LINE_EVERY_S
            self._phase = phase


def screen_for(console: Console) -> Screen:
    """Return the screen that suits where the output goes."""
    return LiveScreen(console) if console.is_terminal else PlainScreen(console)
