from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fluxforge.domain.errors import BusUnavailableError, SegmentCorruptError
from fluxforge.domain.status import EtlStatus
from fluxforge_etl_worker.events import EtlEvents
from fluxforge_etl_worker.upkeep import Upkeep
from fluxforge_etl_worker.work import Outcome


def test_channels_that_a_venue_may_name_as_it_likes_share_one_label():
    registry = CollectorRegistry()
    rows = {"trades": 2, "orderbook/hf": 1, "positions": 3, "greeks": 4}
    outcome = Outcome(
        "ccxt-binance-0of1", "s", forged=True, records=1, quarantined=0, rows=rows, size_bytes=5, upkeep=Upkeep()
    )
    EtlEvents(registry).segment_committed(outcome, duration_s=0.1, placed_ns=1)
    counted = {name: registry.get_sample_value("fluxforge_etl_worker_rows_total", {"dataset": name}) for name in rows}
    assert counted == {"trades": 2, "orderbook/hf": 1, "positions": None, "greeks": None}
    assert registry.get_sample_value("fluxforge_etl_worker_rows_total", {"dataset": "other"}) == 7


AT_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000


def committed(*, forged: bool = True) -> Outcome:
    return Outcome(
        "ccxt-binance-0of1",
        "s",
        forged=forged,
        records=1,
        quarantined=0,
        rows={"trades": 2, "greeks": 1},
        size_bytes=5,
        upkeep=Upkeep(),
        sealed_ns=AT_NS - 2 * SECOND_NS,
        last_capture_ns=AT_NS - 40 * SECOND_NS,
    )


def test_a_segment_is_timed_from_its_seal_and_from_its_last_record():
    registry = CollectorRegistry()
    sample = registry.get_sample_value
    EtlEvents(registry).segment_committed(committed(), duration_s=0.1, placed_ns=AT_NS)
    assert sample("fluxforge_etl_segment_to_parquet_seconds_sum") == 2
    assert sample("fluxforge_etl_segment_to_parquet_seconds_bucket", {"le": "1.0"}) == 0
    assert sample("fluxforge_etl_segment_to_parquet_seconds_bucket", {"le": "3.0"}) == 1
    assert sample("fluxforge_etl_capture_to_parquet_seconds_sum") == 40
    assert sample("fluxforge_etl_last_commit_timestamp_seconds") == AT_NS / SECOND_NS
    for dataset in ("trades", "other"):
        labels = {"dataset": dataset}
        assert sample("fluxforge_etl_newest_row_timestamp_seconds", labels) == AT_NS / SECOND_NS - 40


def test_what_somebody_else_committed_is_not_timed_and_no_commit_has_no_time():
    registry = CollectorRegistry()
    EtlEvents(registry).segment_committed(committed(forged=False), duration_s=0.1, placed_ns=AT_NS)
    assert registry.get_sample_value("fluxforge_etl_segment_to_parquet_seconds_count") == 0
    assert registry.get_sample_value("fluxforge_etl_last_commit_timestamp_seconds") is None


def test_the_oldest_segment_ages_until_nothing_is_left():
    def age_s(oldest_ns: int) -> float | None:
        registry = CollectorRegistry()
        status = EtlStatus(AT_NS, True, 1, 0, 0, 0, {}, oldest_ns)  # noqa: FBT003
        EtlEvents(registry).age_from(lambda: status)
        return registry.get_sample_value("fluxforge_etl_oldest_segment_seconds")

    assert (age_s(AT_NS - 9 * SECOND_NS), age_s(AT_NS + 1), age_s(0)) == (9, 0, 0)


def test_errors_are_counted_by_class_and_a_dead_segment_is_seen_as_a_rise():
    registry = CollectorRegistry()
    sample = registry.get_sample_value
    with capture_logs():
        events = EtlEvents(registry)
        assert sample("fluxforge_etl_worker_segments_total", {"outcome": "dead"}) == 0
        events.segment_condemned("ccxt-binance-0of1", "s", SegmentCorruptError("k", "a", "b"))
        events.operation_retried(BusUnavailableError("ask", "away"), failures=1)
        events.claim_refused("segments.sealed.x", "names nothing")
    assert sample("fluxforge_etl_worker_segments_total", {"outcome": "dead"}) == 1
    for kind in ("SegmentCorruptError", "BusUnavailableError", "ManifestError"):
        assert sample("fluxforge_errors_total", {"kind": kind}) == 1
