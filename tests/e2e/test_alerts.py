"""Alerts of a live system: each fault raises the one alert that the runbook names for it, and no other."""

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack, look_on, until

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]  # as long as an alert waits before it wakes anybody
PATIENCE_S = 420.0
FOLLOWS_S = 60.0


@pytest.fixture
def alone(absent: frozenset[str], request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A project that nobody else disturbs, well and with data."""
    with Stack(absent).running(request.session) as stack:
        until("records in Parquet", lambda: stack.audit()["totals"]["in_parquet"] > 0)
        until("rows that Prometheus saw", lambda: stack.query("sum(fluxforge_etl_worker_rows_total) > 0"))
        yield stack


def firing(stack: Stack) -> set[str]:
    """The names of alerts that fire now."""
    return {one["labels"]["alertname"] for one in stack.ask("alerts")["alerts"] if one["state"] == "firing"}


@pytest.mark.parametrize(
    ("fault", "service", "alert"),
    [
        ("stop", "collector-demo", "FluxForgeCollectorDown"),
        ("stop", "etl-worker", "FluxForgeEtlDown"),
        ("pause", "simulator", "FluxForgeFeedStale"),
    ],
)
def test_a_fault_raises_its_alert_and_no_other(alone: Stack, fault: str, service: str, alert: str) -> None:
    assert firing(alone) == set()
    alone.compose(fault, service)
    until(alert, lambda: firing(alone), PATIENCE_S)
    seen: set[str] = set()
    look_on(FOLLOWS_S, lambda: seen.update(firing(alone)))
    assert seen == {alert}
    alone.compose({"stop": "start", "pause": "unpause"}[fault], service)
    until("an end of it", lambda: not firing(alone), PATIENCE_S)
