"""What the segmenter is told: its part of the settings tree, in the units it computes with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import SealPolicy
from fluxforge.runtime.settings import Settings
from fluxforge_segmenter.compression import Compression

_NS = 1_000_000_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """When segments are written and sealed, and where they grow: `scratch_dir` is local."""

    scratch_dir: Path
    layout: Layout
    policy: SealPolicy
    compression: Compression
    fsync: bool
    flush_interval_ns: int
    bus_grace_ns: int
    lease_ttl_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the segmenter's part of the tree."""
        ingestion, storage = settings.ingestion, settings.storage
        return cls(
            scratch_dir=storage.scratch_dir,
            layout=settings.layout,
            policy=SealPolicy(
                size_bytes_max=ingestion.segment_max_mb * _MB, age_ns_max=ingestion.segment_max_age_seconds * _NS
            ),
            compression=Compression(ingestion.segment_compression),
            fsync=ingestion.enable_fsync,
            flush_interval_ns=int(ingestion.flush_interval_seconds * _NS),
            bus_grace_ns=int(settings.nats.bus_grace_seconds * _NS),
            lease_ttl_s=settings.nats.lease_ttl_seconds,
        )
