"""What the segmenter is told: its part of the settings tree, in the units it computes with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import SealPolicy
from fluxforge.runtime.settings import Backend, Settings
from fluxforge_segmenter.compression import Compression

_NS = 1_000_000_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """When segments are written and sealed, and where. `base_dir` is the segments' store, `scratch_dir` local."""

    base_dir: Path
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
        """Return the segmenter's part of the tree.

        Raises:
            ConfigurationError: It asks for what this version cannot do.
        """
        ingestion, storage = settings.ingestion, settings.storage
        if storage.ingestion_storage.backend is not Backend.LOCAL:
            raise ConfigurationError(
                "storage.ingestion_storage.backend: expected local, was "
                f"{storage.ingestion_storage.backend.value}; S3 is not available yet"
            )
        return cls(
            base_dir=storage.ingestion_storage.base_dir,
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
