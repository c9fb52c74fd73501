"""Settings of what is done with the data: capture, ETL, retention, compaction, telemetry. Nothing is read here."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.partition import PARTITION_COLS_DEFAULT, check_partition_cols
from fluxforge.runtime.settings.sources import Group
from fluxforge.runtime.settings.units import Count, DurationSeconds, SecondsFloat

_LEVELS_MAX: Final = 50
_LOOKBACK_S_MAX: Final = 3_600
"""Every segment is worked through with that much of its lane before it: longer windows are made from bars."""
_WINDOWS_MAX: Final = 16
_DAY_S: Final = 86_400
_MS_PER_S: Final = 1_000


def _check_cols(cols: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return check_partition_cols(cols)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


def _check_interval(interval_s: float) -> float:
    # Any other grid would begin anew at another offset each day, and would not meet the edges of bars and horizons.
    step_ms = round(interval_s * _MS_PER_S)
    divides_second = 0 < step_ms < _MS_PER_S and interval_s == step_ms / _MS_PER_S and _MS_PER_S % step_ms == 0
    divides_day = interval_s >= 1 and interval_s.is_integer() and _DAY_S % int(interval_s) == 0
    if interval_s == 0 or divides_second or divides_day:
        return interval_s
    raise ValueError(
        "expected 0 (a row for every update), whole milliseconds that divide a second (such as 0.1), "
        f"or whole seconds that divide a day (such as 5), was {interval_s}"
    )


def _check_windows(windows_s: tuple[int, ...]) -> tuple[int, ...]:
    """Return the windows in rising order, which is that of their columns."""
    twice = sorted({window_s for window_s in windows_s if windows_s.count(window_s) > 1})
    if twice:
        raise ValueError(f"expected each number of seconds once, was {list(windows_s)}, with {twice[0]} more than once")
    return tuple(sorted(windows_s))


def _check_durations(durations_s: tuple[int, ...]) -> tuple[int, ...]:
    # A bar over midnight would stand in two days and be whole in neither.
    odd = [duration_s for duration_s in durations_s if _DAY_S % duration_s]
    if odd:
        raise ValueError(f"expected whole seconds that divide a day (such as 15, 60 or 900), was {odd[0]}")
    return durations_s


PartitionCols = Annotated[tuple[str, ...], AfterValidator(_check_cols)]
LookbackSeconds = Annotated[int, Field(strict=True, ge=1, le=_LOOKBACK_S_MAX)]
Windows = Annotated[
    tuple[LookbackSeconds, ...], Field(min_length=1, max_length=_WINDOWS_MAX), AfterValidator(_check_windows)
]
EmitInterval = Annotated[SecondsFloat, Field(le=_LOOKBACK_S_MAX), AfterValidator(_check_interval)]


class IngestionSettings(Group):
    """Capture and sealing. `batch_size` is records in a block at most; `window_blocks` unacknowledged ones.

    `stall_seconds` of silence stall any feed; None: learned of each, never below the floor. A feed whose limit would be
    above the ceiling is quiet by nature. `backfill`: trades and candles of a hole are fetched when it has closed.
    Every `markets_refresh_seconds` the listings of an exchange are asked for anew; 0: never.
    """

    batch_size: Count = 100
    block_max_bytes: Count = 131_072
    linger_ms: Annotated[int, Field(strict=True, ge=0)] = 10
    window_blocks: Count = 64
    flush_interval_seconds: SecondsFloat = 5.0
    queue_maxsize: Count = 10_000
    spool_dir: Path | None = None
    spool_max_mb: Count = 1024
    enable_fsync: bool = True
    segment_max_mb: Count = 100
    segment_max_age_seconds: Count = 300
    segment_compression: Literal["none", "zstd"] = "none"
    capture_wire: bool = False
    stall_seconds: Count | None = None
    stall_floor_seconds: SecondsFloat = 5.0
    stall_ceiling_seconds: SecondsFloat = 900.0
    backfill: bool = True
    markets_refresh_seconds: DurationSeconds = 3600


class ChannelEtl(Group):
    """Whether a channel becomes a dataset, and its partition columns."""

    enabled: bool = True
    partition_cols: PartitionCols = PARTITION_COLS_DEFAULT


class BookProcessorOptions(Group):
    """Features of order books. `hf_emit_interval` s between rows (0: every update); durations and horizons in s.

    `max_levels` is the levels of each side with columns of their own.
    """

    hf_emit_interval: EmitInterval = 1.0
    bar_durations: Annotated[Windows, AfterValidator(_check_durations)] = (1, 5, 30, 60)
    horizons: Windows = (1, 5, 30, 60)
    max_levels: Annotated[int, Field(strict=True, ge=1, le=_LEVELS_MAX)] = 10


class OrderbookEtl(ChannelEtl):
    """Order books: every update with its levels (`keep_books`), feature rows and bars."""

    keep_books: bool = True
    processor_options: BookProcessorOptions = BookProcessorOptions()


class EtlChannels(Group):
    """The channels with settings of their own. Wire records are for replays and stay in their segments by default."""

    ticker: ChannelEtl = ChannelEtl()
    trades: ChannelEtl = ChannelEtl()
    orderbook: OrderbookEtl = OrderbookEtl()
    wire: ChannelEtl = ChannelEtl(enabled=False)


class EtlSettings(Group):
    """From segments to Parquet."""

    compression: Literal["zstd", "snappy", "lz4", "gzip", "none"] = "zstd"
    delete_after_processing: bool = True
    raw_retention: DurationSeconds | None = None
    workers: Count = 1
    asof_tolerance_seconds: LookbackSeconds = 60
    storage_grace_seconds: DurationSeconds = 600
    channels: EtlChannels = EtlChannels()
    drop_disabled: bool = False


class RetentionSettings(Group):
    """How long things are kept; null: for ever."""

    quarantine: DurationSeconds | None = 30 * 86_400
    dead: DurationSeconds | None = 30 * 86_400
    parquet: DurationSeconds | None = None


class CompactionSettings(Group):
    """When small parts of a partition are merged; times in seconds. `enabled`: whether `fluxforge up` sees to it."""

    enabled: bool = True
    interval_seconds: Count = 900
    compact_after: DurationSeconds = 900
    min_file_count: Annotated[int, Field(strict=True, ge=2)] = 2
    target_file_count: Count = 1
    target_file_mb: Count = 512
    grace_seconds: DurationSeconds = 600


class TelemetrySettings(Group):
    """Where a service answers /metrics, /livez and /readyz (port 0: any free one), and how it logs."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 9100
    log_format: Literal["auto", "json", "console"] = "auto"
