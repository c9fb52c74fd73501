"""What the segmenter logs and counts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fluxforge.domain.errors import BusUnavailableError
from fluxforge_segmenter.events import SegmenterEvents
from tests.traffic import LANE, Traffic, manifests
from tests.unit.fluxforge_segmenter.world import World


async def test_a_sealed_segment_is_logged_once_and_counted(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block()])
    with capture_logs() as logs:
        await world.drain()
    (manifest,) = manifests(world.data)
    (line,) = [line for line in logs if line["event"] == "segment.sealed"]
    expected = {"lane": str(LANE), "segment": manifest.name, "first": 1, "last": 1, "records": 6, "log_level": "info"}
    assert expected.items() <= line.items()
    assert world.metric("segments_total") == 1
    assert world.metric("sealed_records_total") == 6
    assert world.metric("sealed_bytes_total") == manifest.size_bytes
    assert world.metric("seal_duration_seconds_count") == 1
    assert world.registry.get_sample_value("fluxforge_segmenter_bus_to_segment_seconds_count") == 1


def test_of_many_failures_the_first_and_every_tenth_are_logged_and_all_are_counted() -> None:
    registry = CollectorRegistry()
    with capture_logs() as logs:
        events = SegmenterEvents(registry)
        for failures in range(1, 23):
            events.operation_retried(BusUnavailableError("update", "away"), failures=failures)
    assert [line["failures"] for line in logs] == [1, 11, 21]
    assert registry.get_sample_value("fluxforge_segmenter_retries_total", {"error": "BusUnavailableError"}) == 22
    assert registry.get_sample_value("fluxforge_errors_total", {"kind": "BusUnavailableError"}) == 22


@pytest.mark.parametrize(
    ("report", "metric", "level"),
    [
        (lambda events: events.name_taken(LANE, "n"), "names_taken_total", "error"),
        (lambda events: events.segment_restored(LANE, "n"), "segments_restored_total", "error"),
    ],
)
def test_what_somebody_must_know_is_loud_and_counted(
    report: Callable[[SegmenterEvents], None], metric: str, level: str
) -> None:
    registry = CollectorRegistry()
    with capture_logs() as logs:
        report(SegmenterEvents(registry))
    assert [line["log_level"] for line in logs] == [level]
    assert registry.get_sample_value(f"fluxforge_segmenter_{metric}", {"lane": str(LANE)}) == 1
