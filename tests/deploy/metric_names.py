"""Which metrics there are, by `docs/metrics.md`, and which ones a query asks for."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|", re.MULTILINE)
_NAME = re.compile(r"(?<![\w:])(?:fluxforge|process)_\w+(?![\w:])")


def exposed() -> set[str]:
    """Every series that some service exposes."""
    names = set()
    for name, kind in _ROW.findall(PAGE.read_text()):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def asked_for(query: str) -> set[str]:
    """The metrics of ours in a query, but for recorded ones (they have a colon) and labels."""
    return set(_NAME.findall(re.sub(r'"[^"]*"', "", query)))
