"""What the compactor is told: its part of the settings tree, in the units it computes with."""

from dataclasses import dataclass
from typing import Self

from fluxforge.domain.layout import Layout
from fluxforge.runtime.settings import Backend, Settings
from fluxforge_compactor.compact import Policy
from fluxforge_compactor.plan import MergePolicy
from fluxforge_compactor.retention import Ages

_NS = 1_000_000_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class CompactorSettings:
    """What is merged, what is kept how long, and how often everything is looked at."""

    layout: Layout
    policy: Policy
    ages: Ages
    interval_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the compactor's part of the tree."""
        compaction = settings.compaction
        return cls(
            layout=settings.layout,
            policy=Policy(
                merge=MergePolicy(
                    min_count=compaction.min_file_count,
                    target_count=compaction.target_file_count,
                    size_bytes=compaction.target_file_mb * _MB,
                ),
                quiet_ns=int(compaction.compact_after * _NS),
                grace_ns=int(compaction.grace_seconds * _NS),
                compression=settings.etl.compression,
            ),
            ages=Ages(
                raw=_ns(settings.etl.raw_retention),
                committed=_ns(settings.etl.storage_grace_seconds) if _leaves_raw(settings) else None,
                quarantine=_ns(settings.retention.quarantine),
                dead=_ns(settings.retention.dead),
                parquet=_ns(settings.retention.parquet),
                with_disabled=settings.etl.drop_disabled,
            ),
            interval_s=compaction.interval_seconds,
        )


def _leaves_raw(settings: Settings) -> bool:
    """Return whether the workers leave it to the compactor to delete raw data that is in Parquet."""
    return settings.etl.delete_after_processing and settings.storage.etl_storage_output.backend != Backend.LOCAL


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * _NS)
