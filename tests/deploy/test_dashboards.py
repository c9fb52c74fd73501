"""The committed dashboards: what the code writes, without typos, in order, and about metrics that there are."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.dashboards.panels import HOME, boards, panels, queries

from tests.deploy.metric_names import PAGE, asked_for, exposed

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
BOARDS = boards()
IDS = [board["uid"] for board in BOARDS]

needs_sdk = pytest.mark.skipif(
    importlib.util.find_spec("grafana_foundation_sdk") is None, reason="grafana-foundation-sdk is not there"
)
each_board = pytest.mark.parametrize("board", BOARDS, ids=IDS)


def leaves(tree: Any, path: str = "") -> Iterator[str]:
    """The path of every leaf of a JSON tree."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(tree, list) and tree:
        for index, value in enumerate(tree):
            yield from leaves(value, f"{path}[{index}]")
    else:
        yield f"{path}={tree!r}"


def lost(board: dict[str, Any]) -> set[str]:
    """What Grafana's own model does not know of a dashboard: typos."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415 - not everywhere
    from grafana_foundation_sdk.cog.plugins import register_default_plugins  # noqa: PLC0415 - not everywhere
    from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415 - not everywhere

    register_default_plugins()
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    return set(leaves(board)) - set(leaves(known))


def test_there_are_five_of_them() -> None:
    assert sorted(IDS) == [f"fluxforge-{name}" for name in ("collector", "nats", "overview", "pipeline", "storage")]


@needs_sdk
def test_they_are_what_the_code_writes() -> None:
    from tools.dashboards.__main__ import dashboards, encoded  # noqa: PLC0415 - needs the sdk

    written = {f"{dashboard.uid}.json": encoded(dashboard) for dashboard in dashboards()}
    committed = {path.name: path.read_text() for path in HOME.glob("*.json")}
    assert written == committed, "run: python -m tools.dashboards"


@needs_sdk
@each_board
def test_grafana_knows_every_field(board: dict[str, Any]) -> None:
    assert lost(board) == set()


@needs_sdk
def test_a_typo_is_found() -> None:
    board = json.loads(json.dumps(BOARDS[0]))
    graph = next(panel for panel in panels(board) if panel["type"] == "timeseries")
    graph["titel"] = graph["title"]
    graph["fieldConfig"]["defaults"]["unitt"] = "s"
    graph["targets"][0]["exprr"] = "up"
    assert {path.partition("=")[0].rpartition(".")[2] for path in lost(board)} == {"titel", "unitt", "exprr"}


def test_uids_and_titles_are_unique_and_files_are_named_for_them() -> None:
    assert len(set(IDS)) == len({board["title"] for board in BOARDS}) == len(BOARDS)
    assert {path.stem for path in HOME.glob("*.json")} == set(IDS)


@each_board
def test_a_board_keeps_the_house_rules(board: dict[str, Any]) -> None:
    assert board["description"]
    assert board["editable"] is False
    assert board["tags"] == ["fluxforge"]
    assert re.fullmatch(r"[1-9]\ds|\d+m", board["refresh"]), "no more often than every ten seconds"
    everything = board["panels"] + [panel for row in board["panels"] for panel in row.get("panels", [])]
    ids = [panel["id"] for panel in everything]
    assert 0 not in ids
    assert len(set(ids)) == len(ids)
    variables = board["templating"]["list"]
    assert variables[0]["name"] == "datasource"
    text = json.dumps(board["panels"]) + json.dumps([one["query"] for one in variables])
    unused = [one["name"] for one in variables if not re.search(rf"\$\{{?{one['name']}\b", text)]
    assert not unused


@each_board
def test_a_panel_says_what_it_shows_and_asks_the_chosen_source(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["min"] == 0
            assert all(target["legendFormat"] for target in panel["targets"])
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@each_board
def test_a_rate_is_over_the_interval_that_grafana_chooses(board: dict[str, Any]) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            assert all(over == "$__rate_interval" for over in re.findall(r"\brate\([^[]*\[([^]]+)\]", target["expr"]))
            assert "rate(" not in target["expr"] or "_total" in target["expr"] or "_bucket" in target["expr"]


@each_board
def test_panels_lie_beside_one_another(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(one["x"] >= 0 and one["x"] + one["w"] <= 24 for one in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.skipif(not PAGE.exists(), reason="docs/metrics.md is not there")
@each_board
def test_it_asks_for_metrics_that_there_are(board: dict[str, Any]) -> None:
    asked = {name for panel in panels(board) for expr, _ in queries(board, panel) for name in asked_for(expr)}
    asked |= {name for one in board["templating"]["list"] for name in asked_for(one["query"])}
    assert asked
    assert asked - exposed() == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there")
def test_every_query_is_promql(tmp_path: Path) -> None:
    asked = [expr for board in BOARDS for panel in panels(board) for expr, _ in queries(board, panel)]
    rules = [{"record": f"query:{number}", "expr": expr} for number, expr in enumerate(asked)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any("$" in expr for expr in asked)


def test_they_are_provisioned_read_only_beside_their_source() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/fluxforge.yml").read_text())["providers"][0]
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["global"]
    assert source["uid"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["foldersFromFilesStructure"] is True
