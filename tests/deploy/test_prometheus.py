"""Prometheus: promtool accepts configuration and rules; every alert is tested, explained and asks for what there is."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.metric_names import PAGE, asked_for, exposed

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "deploy" / "prometheus"
RUNBOOK = ROOT / "docs" / "runbook.md"
RULES = sorted((HOME / "rules").glob("*.yml"))
TESTS = sorted((HOME / "tests").glob("*_test.yml"))

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there")


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def named_for(alert: str) -> list[dict[str, Any]]:
    """The rule tests that are named for an alert."""
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    return [test for test in tests if test["name"].startswith(f"{alert}: ")]


def fires(test: dict[str, Any], alert: str) -> bool:
    """Whether at some moment of a rule test this alert fires, and it alone."""
    wanted = f'{{alertname="{alert}"}}'
    return any([one["labels"] for one in look["exp_samples"]] == [wanted] for look in test["promql_expr_test"])


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=HOME)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_accepts_the_configuration() -> None:
    assert "is valid prometheus config file syntax" in promtool("check", "config", "--lint=all", "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_promtool_accepts_the_rules(path: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", path)


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_must_and_only_then(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


@needs_promtool
def test_a_rule_that_is_broken_does_not_pass(tmp_path: Path) -> None:
    shutil.copytree(HOME, tmp_path, dirs_exist_ok=True)
    broken = tmp_path / "rules" / "compactor.yml"
    broken.write_text(broken.read_text().replace("> 3600", "> 36000"))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "tests" / "compactor_test.yml"], check=False, capture_output=True
    )
    assert done.returncode != 0


def test_alert_names_are_unique() -> None:
    assert len(ALERTS) == sum("alert" in rule for rule in rules()) == 19


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert (
        rule["annotations"]["runbook_url"] == f"{{{{ $externalLabels.fluxforge_docs }}}}docs/runbook.md#{name.lower()}"
    )


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_its_heading_in_the_runbook(name: str) -> None:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    assert found, "no heading"
    said = found[1]
    assert said.startswith(f"{ALERTS[name]['labels']['severity']}, ")
    assert ("at once" in said.partition("\n")[0]) == ("for" not in ALERTS[name])
    assert all(f"* **{part}:**" in said for part in ("Look", "Do", "If not"))


def test_the_runbook_tells_of_no_alert_that_is_not_there() -> None:
    told = re.findall(r"\bFluxForge[A-Z]\w+", RUNBOOK.read_text())
    assert set(told) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_test_that_fires_it_and_one_that_does_not(name: str) -> None:
    tests = named_for(name)
    assert any(fires(test, name) for test in tests)
    quiet = [test for test in tests if not any(look["exp_samples"] for look in test["promql_expr_test"])]
    assert quiet


def test_every_rule_test_is_named_for_an_alert_and_compares_with_room_for_rounding() -> None:
    for path in TESTS:
        suite = yaml.safe_load(path.read_text())
        assert suite["fuzzy_compare"] is True
        assert all(test["name"].partition(":")[0] in ALERTS for test in suite["tests"])


@pytest.mark.skipif(not PAGE.exists(), reason="docs/metrics.md is not there")
def test_rules_and_runbook_ask_for_metrics_that_there_are() -> None:
    asked = set().union(*(asked_for(rule["expr"]) for rule in rules())) - {"fluxforge_docs"}
    assert asked - exposed() == set()
    queries = " ".join(re.findall(r"`([^`]+)`", RUNBOOK.read_text()))
    histograms = {name.removesuffix("_bucket") for name in exposed() if name.endswith("_bucket")}
    assert asked_for(queries) - exposed() - histograms == set()


def test_recorded_series_that_are_used_are_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    text = " ".join(rule["expr"] for rule in rules()) + " ".join(re.findall(r"`([^`]+)`", RUNBOOK.read_text()))
    assert set(re.findall(r"\b\w+:fluxforge_\w+(?::\w+)*|\bfluxforge_\w+:\w+", text)) <= recorded


def test_jobs_are_those_the_rules_and_dashboards_name() -> None:
    configured = {job["job_name"] for job in yaml.safe_load((HOME / "prometheus.yml").read_text())["scrape_configs"]}
    assert configured == {"prometheus", "collector", "segmenter", "etl-worker", "compactor", "nats", "seaweedfs"}
    assert set(re.findall(r'job="([^"]+)"', " ".join(rule["expr"] for rule in rules()))) <= configured
