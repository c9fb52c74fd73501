"""What the compactor reports: each event in one place that both logs and counts."""

from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from fluxforge.domain.errors import FluxForgeError, TransientError
from fluxforge.domain.status import CompactorStatus
from fluxforge.runtime.metrics import ErrorCount, Guarded
from fluxforge_compactor.compact import Result
from fluxforge_compactor.retention import Expired
from fluxforge_compactor.rounds import Rounds

_FAILURES_PER_WARNING = 10


class CompactorEvents:
    """The compactor's events; metrics go to the registry that is passed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._log = structlog.get_logger()
        self._registry = registry
        self._errors = ErrorCount(registry)
        prefix = "fluxforge_compactor"
        self._merges = Counter(f"{prefix}_merges_total", "Merges carried out.", registry=registry)
        self._files = Counter(f"{prefix}_files_merged_total", "Files that were merged into others.", registry=registry)
        self._bytes = Counter(f"{prefix}_bytes_merged_total", "Bytes of files that were merged.", registry=registry)
        self._rows = Counter(f"{prefix}_rows_merged_total", "Rows of files that were merged.", registry=registry)
        self._failed = Counter(
            f"{prefix}_partitions_failed_total", "Partitions that could not be compacted.", ["error"], registry=registry
        )
        self._left = Counter(
            f"{prefix}_files_left_total", "Files found in partitions that are none of ours.", registry=registry
        )
        self._expired = Counter(f"{prefix}_objects_expired_total", "Deleted by age.", ["what"], registry=registry)
        self._retries = Counter(f"{prefix}_retries_total", "Operations tried again.", ["error"], registry=registry)
        self._round = Gauge(f"{prefix}_round_duration_seconds", "How long the last round took.", registry=registry)
        self._partitions = Gauge(f"{prefix}_partitions", "Partitions of the last round.", registry=registry)

    def rounds_from(self, status: Callable[[], CompactorStatus]) -> None:
        """Export when the last round ended and what fails, read when somebody scrapes; see `Rounds`."""
        self._registry.register(Guarded(Rounds(status)))

    def settings_loaded(self, **values: object) -> None:
        """The service starts with these."""
        self._log.info("settings.loaded", **values)

    def partition_compacted(self, result: Result) -> None:
        """A partition was worked on."""
        for merge in result.merges:
            assert merge.output is not None
            self._merges.inc()
            self._files.inc(len(merge.parents))
            self._bytes.inc(sum(file.size_bytes for file in merge.parents))
            self._rows.inc(merge.output.rows)
            self._log.info(
                "files.merged",
                partition=result.partition,
                files=len(merge.parents),
                rows=merge.output.rows,
                size_bytes=merge.output.size_bytes,
                output=merge.output.name,
            )
        for left in result.left:
            self._left.inc()
            self._log.warning("file.left", partition=result.partition, file=left.name, reason=left.reason)

    def partition_failed(self, partition: str, error: FluxForgeError) -> None:
        """A partition could not be compacted; it stays as it is."""
        self._failed.labels(type(error).__name__).inc()
        self._errors.add(error)
        self._log.error("partition.failed", partition=partition, error=str(error), kind=type(error).__name__)

    def object_expired(self, found: Expired) -> None:
        """Something was deleted that had been kept for long enough."""
        self._expired.labels(found.what).inc()
        self._log.info("object.expired", key=found.key, what=found.what, size_bytes=found.size_bytes)

    def round_ended(self, *, partitions: int, duration_s: float) -> None:
        """Every partition was looked at."""
        self._partitions.set(partitions)
        self._round.set(duration_s)

    def hints_ended(self, error: FluxForgeError) -> None:
        """The bus says nothing any more of what is committed; the schedule goes on."""
        self._errors.add(error)
        self._log.warning("hints.ended", error=str(error))

    def operation_retried(self, error: TransientError, *, failures: int) -> None:
        """Something that may heal did not work, for the `failures`-th time in a row."""
        self._retries.labels(type(error).__name__).inc()
        self._errors.add(error)
        if failures % _FAILURES_PER_WARNING == 1:
            self._log.warning("operation.retried", error=str(error), failures=failures)
