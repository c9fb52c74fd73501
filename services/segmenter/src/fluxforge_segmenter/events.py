"""What the segmenter reports: each event in one place that both logs and counts."""

from collections.abc import Callable, Mapping
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fluxforge.domain.errors import (
    BlocksLostError,
    FluxForgeError,
    LaneMovedError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest
from fluxforge.domain.status import LaneStatus
from fluxforge.ports.clock import Clock
from fluxforge.runtime.metrics import ErrorCount, Guarded, Lags
from fluxforge_segmenter.lane_levels import LaneLevels

_FAILURES_PER_WARNING = 10
_SEAL_BUCKETS_S: Final = (1, 3, 10, 30, 60, 120, 300, 600, 1200, 1800)


class SegmenterEvents:
    """The segmenter's events; metrics go to the registry that is passed in, labelled by lane."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._log = structlog.get_logger()
        self._registry = registry
        self._errors = ErrorCount(registry)
        labels = ["lane"]
        prefix = "fluxforge_segmenter"
        self._segments = Counter(f"{prefix}_segments_total", "Segments sealed.", labels, registry=registry)
        self._records = Counter(f"{prefix}_sealed_records_total", "Records sealed.", labels, registry=registry)
        self._bytes = Counter(f"{prefix}_sealed_bytes_total", "NDJSON sealed.", labels, registry=registry)
        self._seconds = Histogram(
            f"{prefix}_seal_duration_seconds",
            "From the last block to the recorded seal.",
            labels,
            registry=registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        )
        text = "From the capture of each block's first record to the seal of its segment."
        self._to_segment = Lags(f"{prefix}_bus_to_segment_seconds", text, _SEAL_BUCKETS_S, registry)
        self._backlog = Gauge(f"{prefix}_backlog_messages", "In the stream, not yet read.", labels, registry=registry)
        self._retries = Counter(f"{prefix}_retries_total", "Operations tried again.", ["error"], registry=registry)
        self._rereads = Counter(
            f"{prefix}_rereads_total", "Open files dropped and read anew.", labels, registry=registry
        )
        self._taken = Counter(f"{prefix}_names_taken_total", "Names found taken.", labels, registry=registry)
        self._restored = Counter(f"{prefix}_segments_restored_total", "Segments put again.", labels, registry=registry)
        self._lost = Counter(
            f"{prefix}_segments_lost_total", "Looks at a segment that cannot be put again.", labels, registry=registry
        )
        self._holes = Counter(f"{prefix}_holes_total", "Holes named in manifests.", labels, registry=registry)
        self._epochs = Counter(f"{prefix}_epochs_opened_total", "Epochs opened.", labels, registry=registry)

    def levels_from(self, lanes: Callable[[], Mapping[Lane, LaneStatus | None]], clock: Clock) -> None:
        """Export the levels of all lanes, read when somebody scrapes; see `LaneLevels`."""
        self._registry.register(Guarded(LaneLevels(lanes, clock)))

    def settings_loaded(self, **values: object) -> None:
        """The service starts with these."""
        self._log.info("settings.loaded", **values)

    def lane_taken(self, lane: Lane, *, owner: str, epoch: int, sealed_seq: int) -> None:
        """A lane is ours now."""
        self._log.info("lane.taken", lane=str(lane), owner=owner, epoch=epoch, sealed_seq=sealed_seq)

    def lane_awaited(self, lane: Lane) -> None:
        """Another process holds the lane's lease, or held it when it died."""
        self._log.warning("lane.awaited", lane=str(lane))

    def lane_closed(self, lane: Lane, *, epoch: int) -> None:
        """A lane that its collector closed is sealed to its end and gone from the bus."""
        self._log.info("lane.closed", lane=str(lane), epoch=epoch)

    def state_rebuilt(self, lane: Lane, *, epoch: int, sealed_seq: int) -> None:
        """The bus had no state of a lane that storage or a stream knows, or its first owner died early."""
        self._log.warning("state.rebuilt", lane=str(lane), epoch=epoch, sealed_seq=sealed_seq)

    def epoch_left(self, lane: Lane, epoch: int, reason: str) -> None:
        """The stream of an epoch cannot go on: somebody must look at the bus."""
        self._errors.add(LaneMovedError)
        self._log.error("epoch.left", lane=str(lane), epoch=epoch, stream=reason)

    def epoch_opened(self, lane: Lane, epoch: int, *, sealed_seq: int) -> None:
        """A lane goes on in a new stream."""
        self._epochs.labels(str(lane)).inc()
        self._log.warning("epoch.opened", lane=str(lane), epoch=epoch, sealed_seq=sealed_seq)

    def stream_deleted(self, lane: Lane, epoch: int) -> None:
        """The stream of an old epoch is gone; all of it stands in storage."""
        self._log.info("stream.deleted", lane=str(lane), epoch=epoch)

    def lane_drained(self, lane: Lane, *, sealed_seq: int) -> None:
        """Everything asked for is sealed."""
        self._log.info("lane.drained", lane=str(lane), sealed_seq=sealed_seq)

    def drain_cut_short(self) -> None:
        """The drain's time was over; what is not sealed stays in the stream for the next start."""
        self._log.warning("drain.cut_short")

    def seal_resumed(self, lane: Lane, name: str) -> None:
        """A seal that a predecessor began is carried out."""
        self._log.warning("seal.resumed", lane=str(lane), segment=name)

    def seal_changed(self, lane: Lane, name: str, *, last: int, records: int) -> None:
        """Of a seal on its way less is left than was to be sealed: what is left is sealed, holes are named."""
        self._errors.add(BlocksLostError)
        self._log.error("seal.changed", lane=str(lane), segment=name, last=last, records=records)

    def segment_sealed(self, lane: Lane, manifest: Manifest, *, duration_s: float, ages_s: Mapping[float, int]) -> None:
        """A segment stands in storage and in the lane state. `ages_s`: how many of its blocks are of which age."""
        for age_s, blocks in ages_s.items():
            self._to_segment.observe(age_s, blocks)
        self._segments.labels(str(lane)).inc()
        self._records.labels(str(lane)).inc(manifest.records)
        self._bytes.labels(str(lane)).inc(manifest.size_bytes)
        self._seconds.labels(str(lane)).observe(duration_s)
        self._log.info(
            "segment.sealed",
            lane=str(lane),
            segment=manifest.name,
            first=manifest.first,
            last=manifest.last,
            records=manifest.records,
            size_bytes=manifest.size_bytes,
            duration_s=round(duration_s, 3),
        )
        for (first, last), (from_ns, to_ns) in zip(manifest.holes, manifest.hole_ns, strict=True):
            self._holes.labels(str(lane)).inc()
            self._errors.add(BlocksLostError)
            self._log.error(
                "hole.named",
                lane=str(lane),
                segment=manifest.name,
                first=first,
                last=last,
                from_ns=from_ns,
                to_ns=to_ns,
            )

    def name_taken(self, lane: Lane, name: str) -> None:
        """Something else stands under the name: somebody must look."""
        self._taken.labels(str(lane)).inc()
        self._errors.add(ObjectExistsError)
        self._log.error("name.taken", lane=str(lane), segment=name)

    def segment_restored(self, lane: Lane, name: str) -> None:
        """A recent segment was gone from storage and was put again from the stream: somebody must look."""
        self._restored.labels(str(lane)).inc()
        self._errors.add(ObjectNotFoundError)
        self._log.error("segment.restored", lane=str(lane), segment=name)

    def segment_lost(self, lane: Lane, name: str, error: FluxForgeError) -> None:
        """A recent segment is gone from storage and cannot be put again: somebody must look, the stream keeps all."""
        self._lost.labels(str(lane)).inc()
        self._errors.add(error)
        self._log.error("segment.lost", lane=str(lane), segment=name, error=str(error))

    def history_lost(self, lane: Lane, name: str) -> None:
        """The segment sealed last is neither in storage nor committed: its successor begins without knowing it."""
        self._errors.add(ObjectNotFoundError)
        self._log.error("history.lost", lane=str(lane), segment=name)

    def half_found(self, lane: Lane, key: str) -> None:
        """A manifest without its segment, or a segment without manifest, that no seal of ours explains; it is left."""
        self._errors.add(ObjectNotFoundError)
        self._log.error("half.found", lane=str(lane), key=key)

    def lane_reread(self, lane: Lane, error: FluxForgeError) -> None:
        """What was read cannot be trusted; it is read again from the last seal on."""
        self._rereads.labels(str(lane)).inc()
        self._errors.add(error)
        self._log.warning("lane.reread", lane=str(lane), error=str(error))

    def stream_purged(self, lane: Lane, *, below_seq: int) -> None:
        """The stream gave up what stands in storage."""
        self._log.info("stream.purged", lane=str(lane), below_seq=below_seq)

    def operation_retried(self, error: FluxForgeError, *, failures: int) -> None:
        """Something that may heal did not work; the first failure and every tenth are logged."""
        self._retries.labels(type(error).__name__).inc()
        self._errors.add(error)
        if failures % _FAILURES_PER_WARNING == 1:
            self._log.warning("operation.retried", error=str(error), failures=failures)

    def backlog_seen(self, lane: Lane, messages: int) -> None:
        """How far behind the stream's end the lane is."""
        self._backlog.labels(str(lane)).set(messages)
