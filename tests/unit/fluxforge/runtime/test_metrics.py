import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.testing import capture_logs
from typing_extensions import override

from fluxforge.domain.errors import BlocksLostError, BusUnavailableError
from fluxforge.runtime.metrics import ErrorCount, Guarded, Lags, expose_service, room_of


def test_a_class_is_there_from_zero_so_that_its_first_error_is_seen_as_a_rise() -> None:
    registry = CollectorRegistry()
    errors = ErrorCount(registry)
    assert registry.get_sample_value("fluxforge_errors_total", {"kind": "BusUnavailableError"}) == 0
    errors.add(BusUnavailableError("ask", "away"))
    errors.add(BlocksLostError)
    errors.add(OSError("theirs"))
    for kind in ("BusUnavailableError", "BlocksLostError", "ForeignError"):
        assert registry.get_sample_value("fluxforge_errors_total", {"kind": kind}) == 1


def test_many_equal_lags_are_observed_at_once_and_a_bound_belongs_to_its_bucket() -> None:
    registry = CollectorRegistry()
    lags = Lags("lag_seconds", "Lag.", (1, 10), registry)
    lags.observe(1, 3)
    lags.observe(5, 2)
    lags.observe(100)
    buckets = {bound: registry.get_sample_value("lag_seconds_bucket", {"le": bound}) for bound in ("1.0", "10.0")}
    assert buckets == {"1.0": 3, "10.0": 5}
    assert registry.get_sample_value("lag_seconds_bucket", {"le": "+Inf"}) == 6
    assert registry.get_sample_value("lag_seconds_count") == 6
    assert registry.get_sample_value("lag_seconds_sum") == 113


def test_a_service_tells_its_version_its_room_and_its_memory(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    expose_service(registry, "compactor", {"scratch": tmp_path / "not" / "made" / "yet"})
    total = registry.get_sample_value("fluxforge_storage_total_bytes", {"place": "scratch"})
    assert total == shutil.disk_usage(tmp_path).total
    assert b'fluxforge_build_info{service="compactor",version="' in generate_latest(registry)
    assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 0


def test_of_a_place_nobody_can_look_at_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert room_of(tmp_path / "file" / "below") is None


class Faulty(Collector):
    is_fit = False

    @override
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("half", "Told before the fault.", value=1)
        if not self.is_fit:
            raise ZeroDivisionError


def test_what_fails_when_it_is_asked_hides_nothing_else_and_is_said_once_until_it_heals() -> None:
    registry, faulty = CollectorRegistry(), Faulty()
    registry.register(Guarded(faulty))
    errors = ErrorCount(registry)
    errors.add(OSError())
    with capture_logs() as lines:
        for _ in range(2):
            page = generate_latest(registry)
            assert (b"half" in page, b'kind="ForeignError"} 1.0' in page) == (False, True)
        assert [(line["event"], line["metrics"]) for line in lines] == [("metrics.failed", "Faulty")]
        faulty.is_fit = True
        assert registry.get_sample_value("half") == 1
        faulty.is_fit = False
        generate_latest(registry)
        assert len(lines) == 2
