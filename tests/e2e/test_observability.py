"""What operators see of a running system: health, metrics of every service, no alert, no empty panel, its size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tools.dashboards.panels import boards, panels, queries

from tests.e2e.engine import read
from tests.e2e.stack import PIPELINE, Stack, look_on, until

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).resolve().parents[2]
SERVICES = {"collector", "segmenter", "etl-worker", "compactor"}
MB = 1_000_000
LOOKED_AT_S = 60.0
DRAWN_MINUTES = 5


def test_every_service_is_well_and_says_so(demo: Stack) -> None:
    until("health", lambda: json.loads(demo.cli("health", "--json", check=False))["healthy"])
    assert json.loads(demo.cli("doctor", "--json"))["findings"]
    until("a scrape of every service", lambda: {labels["job"] for labels, _ in demo.query("up == 1")} >= SERVICES)


def test_a_system_that_is_well_raises_no_alert(demo: Stack) -> None:
    until("rows in Parquet", lambda: demo.audit()["totals"]["in_parquet"] > 0)
    until("all targets", lambda: {labels["job"] for labels, _ in demo.query("up == 1")} >= SERVICES)
    firing = [one["labels"]["alertname"] for one in demo.ask("alerts")["alerts"] if one["state"] == "firing"]
    assert firing == []
    rules = [rule for group in demo.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, [rule for rule in rules if rule["health"] != "ok"]


def test_every_panel_shows_something(demo: Stack, request: pytest.FixtureRequest) -> None:
    asked = {expr for board in boards() for panel in panels(board) for expr, _ in queries(board, panel)}
    until("data in every panel", lambda: not [expr for expr in sorted(asked) if not demo.query(expr)], 240.0)
    if folder := request.config.getoption("--pictures"):
        until(
            "minutes that can be drawn",
            lambda: demo.query(f'count_over_time(up{{job="collector"}}[10m]) >= {DRAWN_MINUTES * 6}'),
            600.0,
        )
        arguments = (demo.prometheus, str(folder.absolute()), "--minutes", str(DRAWN_MINUTES))
        render = [sys.executable, "-m", "tools.dashboards.render", *arguments]
        done = subprocess.run(render, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_whole_demo_fits_into_a_small_box(demo: Stack) -> None:
    until("rows in Parquet", lambda: demo.audit()["totals"]["in_parquet"] > 0)
    running = [one for one in demo.containers() if one["State"]["Running"]]
    names = {one["Id"]: one["Config"]["Labels"]["com.docker.compose.service"] for one in running}
    used = dict.fromkeys(names.values(), 0)

    def look() -> None:
        used.update({name: max(used[name], read(one).memory_bytes) for one, name in names.items()})

    look_on(LOOKED_AT_S, look)
    print({name: f"{size / MB:.0f} MB" for name, size in sorted(used.items())})
    assert sum(used.values()) < 1500 * MB
    assert sum(used[name] for name in PIPELINE) < 600 * MB
