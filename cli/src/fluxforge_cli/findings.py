"""Findings: what a look at the system found, how bad it is, and what to do; printed and answered like a check."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final


class State(IntEnum):
    """How something is; the worst of all is the exit code."""

    OK = 0
    DEGRADED = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """The state in JSON."""
        return self.name.lower()


_MARKS: Final = {
    State.OK: ("ok      ", "green"),
    State.DEGRADED: ("degraded", "yellow"),
    State.CRITICAL: ("critical", "red"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy`: what a person should do about it; empty where there is nothing to do."""

    name: str
    state: State
    says: str
    remedy: str = ""

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to do."""
        return self.state is State.OK

    def as_json(self) -> dict[str, Any]:
        """Return the finding as an object."""
        answer = {"name": self.name, "healthy": self.healthy, "state": self.state.word, "says": self.says}
        return {**answer, "remedy": self.remedy} if self.remedy else answer


def worst(found: Sequence[Finding]) -> State:
    """Return the state of all together."""
    return max((one.state for one in found), default=State.OK)


def show(found: Sequence[Finding], *, key: str, json: bool) -> int:
    """Print findings, as one object with a list under `key` where JSON is asked for; return the exit code."""
    import orjson  # noqa: PLC0415 - heavy
    import typer  # noqa: PLC0415 - heavy
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.text import Text  # noqa: PLC0415 - heavy

    state = worst(found)
    if json:
        answer = {"healthy": state is State.OK, "state": state.word, key: [one.as_json() for one in found]}
        typer.echo(orjson.dumps(answer).decode())
        return state
    console = Console()
    for one in found:
        mark, style = _MARKS[one.state]
        console.print(Text(mark, style=style), f"{one.name}: {one.says}", highlight=False, markup=False, soft_wrap=True)
        if one.remedy:
            console.print(f"{'':8} -> {one.remedy}", highlight=False, markup=False, soft_wrap=True)
    return state
