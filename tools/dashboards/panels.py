"""What the committed dashboards ask: their panels, and their queries with the variables filled in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

HOME: Final = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards" / "FluxForge"
_BUILT_IN: Final = {"$__rate_interval": "1m", "$__range": "1h"}


def boards(folder: Path = HOME) -> list[dict[str, Any]]:
    """Return the dashboards of a folder."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of a dashboard that ask something; rows are none."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def queries(board: dict[str, Any], panel: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (PromQL, legend) of each query of a panel, as if everything were chosen."""
    chosen = {f"${one['name']}": ".*" for one in board["templating"]["list"] if one["type"] == "query"}
    found = []
    for target in panel["targets"]:
        expr = target["expr"]
        for name, value in sorted((_BUILT_IN | chosen).items(), reverse=True):
            expr = expr.replace(name, value)
        found.append((expr, target.get("legendFormat", "")))
    return found
