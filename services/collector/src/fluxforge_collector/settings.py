"""Settings of a collector: the part of the tree that concerns one shard of one exchange, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import ExchangeSettings, Settings

SOURCE: Final = "ccxt"
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
class VenueSettings:
    """One exchange as ccxt is asked to reach it. `channels`: ccxt method -> markets, `("*",)` or a quote filter."""

    exchange: str
    depth: int
    channels: Mapping[str, "MarketsWanted"]
    via: str | None = None
    api_key: str = ""
    api_secret: str = ""
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class MarketsWanted:
    """Markets by name; or every active one (`every`), of one quote currency where `quote` is given."""

    names: tuple[str, ...] = ()
    every: bool = False
    quote: str | None = None


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """Everything one collector process needs to know."""

    lane: Lane
    shard: int
    shards: int
    venue: VenueSettings
    limits: Limits
    spool: SpoolSettings
    lease_ttl_s: float = 10.0
    stale_s: float = STALE_S


def collector_settings(tree: Settings, exchange: str, shard: str) -> CollectorSettings:
    """Return the part of the tree that concerns one shard of one exchange.

    Raises:
        ConfigurationError: The exchange is not configured, the shard is not one of its shards, or what is asked for
            is not available yet.
    """
    chosen = tree.ccxt.exchanges.get(exchange)
    if chosen is None:
        known = ", ".join(sorted(tree.ccxt.exchanges)) or "none"
        raise ConfigurationError(f"exchange {exchange!r} is not configured under ccxt.exchanges; configured: {known}")
    lane = Lane(SOURCE, exchange, shard)
    index, _, count = shard.partition("of")
    if lane.is_rescue or int(count) != chosen.shards:
        raise ConfigurationError(
            f"shard {shard!r}: ccxt.exchanges.{exchange}.shards is {chosen.shards}; expected <i>of{chosen.shards}"
        )
    ingestion = tree.ingestion
    if ingestion.capture_wire:
        raise ConfigurationError("ingestion.capture_wire: wire records are not available yet; leave it false")
    return CollectorSettings(
        lane=lane,
        shard=int(index),
        shards=chosen.shards,
        venue=_venue(exchange, chosen),
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
    )


def _venue(exchange: str, chosen: ExchangeSettings) -> VenueSettings:
    return VenueSettings(
        exchange=exchange,
        depth=chosen.max_orderbook_depth,
        channels={method.value: _wanted(markets) for method, markets in chosen.channels.items()},
        via=chosen.via,
        api_key=chosen.api_key.get_secret_value(),
        api_secret=chosen.api_secret.get_secret_value(),
        options=dict(chosen.options),
    )


def _wanted(markets: Any) -> MarketsWanted:
    if not isinstance(markets, tuple):
        return MarketsWanted(every=True, quote=markets.quote)
    return MarketsWanted(every=True) if markets == ("*",) else MarketsWanted(names=markets)
