"""What the ETL worker reports: each event in one place that both logs and counts."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fluxforge.domain.errors import FluxForgeError, ManifestError
from fluxforge.domain.status import EtlStatus
from fluxforge.runtime.metrics import ErrorCount, Guarded
from fluxforge_etl_worker.schemas import has_fixed_schema
from fluxforge_etl_worker.times import Commits, OldestSegment
from fluxforge_etl_worker.work import Outcome

_OTHER = "other"
_FAILURES_PER_WARNING = 10
_OUTCOMES: Final = ("committed", "committed_before", "dead")
_SEALED_BUCKETS_S: Final = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1200, 1800)
_CAPTURED_BUCKETS_S: Final = (1, 3, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_NS: Final = 1_000_000_000


class EtlEvents:
    """The ETL worker's events; metrics go to the registry that is passed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._log = structlog.get_logger()
        self._registry = registry
        self._errors = ErrorCount(registry)
        self._commits = Commits()
        registry.register(self._commits)
        prefix = "fluxforge_etl_worker"
        self._segments = Counter(f"{prefix}_segments_total", "Segments settled.", ["outcome"], registry=registry)
        self._records = Counter(f"{prefix}_records_total", "Lines read of committed segments.", registry=registry)
        self._quarantined = Counter(
            f"{prefix}_quarantined_lines_total", "Lines that are no records.", registry=registry
        )
        self._bytes = Counter(f"{prefix}_segment_bytes_total", "NDJSON of committed segments.", registry=registry)
        self._rows = Counter(f"{prefix}_rows_total", "Rows committed.", ["dataset"], registry=registry)
        self._seconds = Histogram(
            f"{prefix}_segment_duration_seconds",
            "From claim to ack.",
            registry=registry,
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300),
        )
        self._from_seal = Histogram(
            "fluxforge_etl_segment_to_parquet_seconds",
            "From the seal of a segment to its parts in their place.",
            registry=registry,
            buckets=_SEALED_BUCKETS_S,
        )
        self._from_capture = Histogram(
            "fluxforge_etl_capture_to_parquet_seconds",
            "From a segment's last record to its parts in their place.",
            registry=registry,
            buckets=_CAPTURED_BUCKETS_S,
        )
        self._backlog = Gauge(f"{prefix}_backlog_segments", "Announced and not yet acknowledged.", registry=registry)
        self._dead = Gauge("fluxforge_etl_dead_segments", "Marked dead and not in Parquet.", registry=registry)
        self._retries = Counter(f"{prefix}_retries_total", "Operations tried again.", ["error"], registry=registry)
        self._again = Counter(f"{prefix}_events_again_total", "Segments announced again.", registry=registry)
        self._refused = Counter(f"{prefix}_claims_refused_total", "Deliveries that name no segment.", registry=registry)
        self._isolated = Counter(
            f"{prefix}_segments_isolated_total", "Segments given a process of their own.", registry=registry
        )
        self._upkeep = Counter(
            f"{prefix}_upkeep_total", "Things done around the parts of segments.", ["kind"], registry=registry
        )

        for outcome in _OUTCOMES:
            self._segments.labels(outcome)  # from 0, so that the first one is seen as a rise

    def age_from(self, status: Callable[[], EtlStatus]) -> None:
        """Export how old the oldest segment is, read when somebody scrapes."""
        self._registry.register(Guarded(OldestSegment(status)))

    def settings_loaded(self, **values: object) -> None:
        """The service starts with these."""
        self._log.info("settings.loaded", **values)

    def segment_committed(self, outcome: Outcome, *, duration_s: float, placed_ns: int) -> None:
        """Every part of a segment stands in its place, since `placed_ns`."""
        self._segments.labels("committed" if outcome.forged else "committed_before").inc()
        self._seconds.observe(duration_s)
        if outcome.forged:
            self._records.inc(outcome.records)
            self._quarantined.inc(outcome.quarantined)
            self._bytes.inc(outcome.size_bytes)
            self._time(outcome, placed_ns)
            for dataset, rows in outcome.rows.items():
                # A channel without a schema of its own is not a label: venues decide how many there are.
                label = dataset if has_fixed_schema(dataset) else _OTHER
                self._rows.labels(label).inc(rows)
                self._commits.rows_until(label, outcome.last_capture_ns)
        upkeep = {kind: count for kind, count in asdict(outcome.upkeep).items() if count}
        for kind, count in upkeep.items():
            self._upkeep.labels(kind).inc(count)
        self._log.info(
            "segment.committed",
            lane=outcome.lane,
            segment=outcome.segment,
            forged=outcome.forged,
            records=outcome.records,
            quarantined=outcome.quarantined,
            rows=outcome.rows,
            duration_s=round(duration_s, 3),
            **upkeep,
        )

    def _time(self, outcome: Outcome, placed_ns: int) -> None:
        self._from_seal.observe(max(0, placed_ns - outcome.sealed_ns) / _NS)
        self._from_capture.observe(max(0, placed_ns - outcome.last_capture_ns) / _NS)
        self._commits.committed(placed_ns)

    def drain_cut_short(self) -> None:
        """The drain's time was over; what waits stays in the queue, what was in hand is given back to it."""
        self._log.warning("drain.cut_short")

    def segment_isolated(self, lane: str, segment: str, *, num_delivered: int) -> None:
        """A segment that was delivered often, and never settled, gets a process of its own."""
        self._isolated.inc()
        self._log.warning("segment.isolated", lane=lane, segment=segment, num_delivered=num_delivered)

    def segment_condemned(self, lane: str, segment: str, error: FluxForgeError) -> None:
        """A segment cannot be processed: it stays where it is, marked; somebody must look."""
        self._segments.labels("dead").inc()
        self._errors.add(error)
        self._log.error("segment.condemned", lane=lane, segment=segment, error=str(error), kind=type(error).__name__)

    def claim_refused(self, subject: str, reason: str) -> None:
        """A delivery that names no segment is taken out of the queue; somebody must look."""
        self._refused.inc()
        self._errors.add(ManifestError)
        self._log.error("claim.refused", subject=subject, reason=reason)

    def claim_left(self, subject: str) -> None:
        """The bus did not take the verb of a claim that is settled, and may have forgotten it."""
        self._log.warning("claim.left", subject=subject)

    def event_published_again(self, lane: str, segment: str) -> None:
        """A segment that nobody works on was announced again."""
        self._again.inc()
        self._log.warning("event.published_again", lane=lane, segment=segment)

    def operation_retried(self, error: FluxForgeError, *, failures: int) -> None:
        """Something that may heal did not work; the first failure and every tenth are logged."""
        self._retries.labels(type(error).__name__).inc()
        self._errors.add(error)
        if failures % _FAILURES_PER_WARNING == 1:
            self._log.warning("operation.retried", error=str(error), failures=failures)

    def dead_seen(self, segments: int) -> None:
        """How many segments wait for a person."""
        self._dead.set(segments)

    def backlog_seen(self, segments: int) -> None:
        """How many segments wait for a worker or are being worked on."""
        self._backlog.set(segments)
