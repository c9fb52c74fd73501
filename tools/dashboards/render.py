"""Draw the dashboards with what a live Prometheus says: one PNG for each, panels where Grafana would put them.

    python -m tools.dashboards.render http://127.0.0.1:9090 OUT [--minutes 15]

Panels whose queries returned nothing are named at the end, and the exit code is 1.
"""

import argparse
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import dates, ticker
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tools.dashboards.panels import boards, panels, queries

_COLUMN_IN: Final = 0.85
_ROW_IN: Final = 0.42
_HEAD: Final = 1.5
_POINTS: Final = 200
_TIMEOUT_S: Final = 30
_SIZES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_UNITS: Final = {"ops": "/s", "Bps": "B/s", "bytes": "B"}

Line = tuple[str, list[tuple[float, float]]]


def ask(server: str, expr: str, legend: str, minutes: float) -> list[Line]:
    """Return the series of a query over the last minutes, each with its name; not those of nothing but NaN."""
    now = time.time()
    form = {"query": expr, "start": now - minutes * 60, "end": now, "step": max(5, minutes * 60 / _POINTS)}
    url = f"{server}/api/v1/query_range?{urllib.parse.urlencode(form)}"
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        found = json.load(answer)["data"]["result"]
    lines = [(_name(legend, one["metric"]), _points(one["values"])) for one in found]
    return [(name, points) for name, points in lines if points]


def _name(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), legend).strip()


def _points(values: Sequence[tuple[float, str]]) -> list[tuple[float, float]]:
    return [(at, float(value)) for at, value in values if value != "NaN"]


def said(value: float, unit: str) -> str:
    """Return a value in its unit, as short as on a dashboard."""
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:,.3f}".rstrip("0").rstrip(".") + " s"
    size, letter = next(((size, letter) for size, letter in _SIZES if abs(value) >= size), (1, ""))
    return f"{value / size:.3g} {letter}{_UNITS.get(unit, '')}".strip()


def draw(board: dict[str, Any], server: str, minutes: float) -> tuple[Figure, list[str]]:
    """Return the picture of a dashboard, and the titles of panels that say nothing."""
    rows = _HEAD + max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = plt.figure(figsize=(24 * _COLUMN_IN, rows * _ROW_IN), facecolor="white")
    figure.suptitle(board["title"], x=0.01, y=0.999, ha="left", va="top", fontsize=13, weight="bold")
    for row in (panel for panel in board["panels"] if panel["type"] == "row"):
        figure.text(
            0.01, 1 - (_HEAD + row["gridPos"]["y"] + 0.8) / rows, row["title"], fontsize=10, weight="bold", color="#555"
        )
    silent = []
    for panel in panels(board):
        lines = [line for expr, legend in queries(board, panel) for line in ask(server, expr, legend, minutes)]
        if not lines:
            silent.append(f"{board['title']}: {panel['title']}")
        place = panel["gridPos"]
        box = (place["x"] / 24 + 0.025, 1 - (_HEAD + place["y"] + place["h"] - 1.0) / rows, place["w"] / 24 - 0.035)
        axes = figure.add_axes((*box, (place["h"] - 2.2) / rows))
        axes.set_title(panel["title"], fontsize=9, loc="left")
        unit = panel["fieldConfig"]["defaults"]["unit"]
        (_draw_number if panel["type"] == "stat" else _draw_lines)(axes, lines, unit)
    return figure, silent


def _draw_number(axes: Axes, lines: Sequence[Line], unit: str) -> None:
    axes.axis("off")
    points = lines[0][1] if lines else []
    text = said(points[-1][1], unit) if points else "no data"
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=20, color="#1a7f37" if points else "#999")


def _draw_lines(axes: Axes, lines: Sequence[Line], unit: str) -> None:
    axes.grid(color="#e5e5e5", linewidth=0.5)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: said(value, unit)))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    for name, points in lines:
        axes.plot([at / 86_400 for at, _ in points], [value for _, value in points], lw=1, label=name, clip_on=False)
    top = max((value for _, points in lines for _, value in points), default=0)
    axes.set_ylim(0, 1.3 * top or 1)
    if any(name for name, _ in lines):
        axes.legend(fontsize=6, frameon=False, loc="upper left", ncols=2)
    if not lines:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="#999")


def main() -> int:
    """Draw all of them."""
    parser = argparse.ArgumentParser(prog="tools.dashboards.render", description="Draw the dashboards as pictures.")
    parser.add_argument("server", help="of Prometheus, such as http://127.0.0.1:9090")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--minutes", type=float, default=15.0, help="how far back they look")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    silent = []
    for board in boards():
        figure, quiet = draw(board, given.server.rstrip("/"), given.minutes)
        figure.savefig(given.out / f"{board['uid']}.png", dpi=80)
        plt.close(figure)
        silent += quiet
    print("\n".join(f"no data: {one}" for one in silent) or "every panel says something")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
