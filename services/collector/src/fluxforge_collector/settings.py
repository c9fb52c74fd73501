"""Settings of a collector: the part of the tree that concerns one lane, whatever its source, as plain values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import IngestionSettings, Settings
from fluxforge.runtime.settings.lanes import check_configured
from fluxforge_collector.silence.limits import NS_PER_S, SilenceLimits

WAITING_BYTES_MAX: Final = 64 * 2**20
"""Bytes of records held in memory before the spool takes over, whatever their number."""
STALE_S: Final = 60.0
"""A feed without a record for so long is stale, unless the settings say otherwise."""
_HEADROOM_BYTES: Final = 65_536
_MB: Final = 10**6


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of blocks and memory. At twice the waiting bounds records are dropped, and named."""

    block_records_max: int = 100
    block_bytes_max: int = 131_072
    linger_s: float = 0.01
    window_blocks: int = 64
    waiting_records_max: int = 10_000
    waiting_bytes_max: int = WAITING_BYTES_MAX
    record_bytes_max: int = 8_388_608 - _HEADROOM_BYTES


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where the spool stands and how large it may grow."""

    directory: Path
    size_bytes_max: int
    fsync: bool = True


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """Everything one collector process needs to know."""

    lane: Lane
    shard: int
    shards: int
    limits: Limits
    spool: SpoolSettings
    lease_ttl_s: float = 10.0
    stale_s: float = STALE_S
    refresh_s: float = 0.0
    """How often the markets are asked for anew; 0: never."""
    silence: SilenceLimits = field(default_factory=SilenceLimits)
    capture_wire: bool = False
    backfills: bool = True


def collector_settings(tree: Settings, lane: Lane) -> CollectorSettings:
    """Return the part of the tree that concerns one lane.

    Raises:
        ConfigurationError: The lane is none of the configured ones.
    """
    check_configured(tree, lane)
    return settings_of(tree, lane)


def settings_of(tree: Settings, lane: Lane) -> CollectorSettings:
    """Return how any lane is written, whether it is configured or not."""
    ingestion = tree.ingestion
    return CollectorSettings(
        lane=lane,
        shard=lane.index,
        shards=lane.shards,
        limits=Limits(
            block_records_max=ingestion.batch_size,
            block_bytes_max=ingestion.block_max_bytes,
            linger_s=ingestion.linger_ms / 1000,
            window_blocks=ingestion.window_blocks,
            waiting_records_max=ingestion.queue_maxsize,
            record_bytes_max=tree.nats.max_payload - _HEADROOM_BYTES,
        ),
        spool=SpoolSettings(
            directory=tree.spool_dir / str(lane),
            size_bytes_max=ingestion.spool_max_mb * _MB,
            fsync=ingestion.enable_fsync,
        ),
        lease_ttl_s=tree.nats.lease_ttl_seconds,
        stale_s=ingestion.stall_seconds or STALE_S,
        refresh_s=ingestion.markets_refresh_seconds,
        silence=_silence(ingestion),
        capture_wire=ingestion.capture_wire,
        backfills=ingestion.backfill,
    )


def _silence(ingestion: IngestionSettings) -> SilenceLimits:
    floor_s, ceiling_s = ingestion.stall_floor_seconds, ingestion.stall_ceiling_seconds
    if floor_s > ceiling_s:
        raise ConfigurationError(
            f"ingestion.stall_floor_seconds: expected at most stall_ceiling_seconds ({ceiling_s:g}), was {floor_s:g}"
        )
    fixed_s = ingestion.stall_seconds
    return SilenceLimits(
        fixed_ns=None if fixed_s is None else fixed_s * NS_PER_S,
        floor_ns=round(floor_s * NS_PER_S),
        ceiling_ns=round(ceiling_s * NS_PER_S),
    )
