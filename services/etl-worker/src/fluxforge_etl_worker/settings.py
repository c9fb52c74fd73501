"""Settings of the ETL worker: the part of the configuration tree it needs, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass

from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import PARTITION_COLS_DEFAULT, Dataset
from fluxforge.runtime.settings import Settings
from fluxforge_etl_worker.features.regime import REGIME_WINDOW_S
from fluxforge_etl_worker.features.registry import Feature, all_features
from fluxforge_etl_worker.history import Lookback

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class EtlOptions:
    """How segments become datasets. `hf_interval_ns` 0: a feature row per update. Lists are in column order."""

    layout: Layout
    compression: str
    tolerance_ns: int
    partition_cols: Mapping[str, tuple[str, ...]]
    disabled: frozenset[str]
    keep_books: bool
    hf_interval_ns: int
    bar_durations_s: tuple[int, ...]
    horizons_s: tuple[int, ...]
    levels_max: int

    @property
    def features(self) -> tuple[Feature, ...]:
        """The columns of feature rows."""
        return all_features(self.levels_max, self.horizons_s)

    @property
    def lookback(self) -> Lookback:
        """How far before a row what makes it can lie."""
        longest_s = max((*self.horizons_s, *self.bar_durations_s, REGIME_WINDOW_S))
        return Lookback(max(longest_s * _NS, self.hf_interval_ns), self.tolerance_ns)

    def cols(self, dataset: str) -> tuple[str, ...]:
        """Return the partition columns of a dataset."""
        return self.partition_cols.get(dataset, PARTITION_COLS_DEFAULT)


def etl_options(settings: Settings) -> EtlOptions:
    """Return the ETL's part of the settings."""
    channels = settings.etl.channels
    book = channels.orderbook.processor_options
    enabled = {
        "ticker": channels.ticker.enabled,
        "trades": channels.trades.enabled,
        "orderbook": channels.orderbook.enabled,
        "wire": channels.wire.enabled,
    }
    book_cols = channels.orderbook.partition_cols
    return EtlOptions(
        layout=settings.layout,
        compression=settings.etl.compression,
        tolerance_ns=settings.etl.asof_tolerance_seconds * _NS,
        partition_cols={
            Dataset.TICKER: channels.ticker.partition_cols,
            Dataset.TRADES: channels.trades.partition_cols,
            Dataset.BOOKS: book_cols,
            Dataset.HF: book_cols,
            Dataset.BARS: book_cols,
            "wire": channels.wire.partition_cols,
        },
        disabled=frozenset(name for name, on in enabled.items() if not on),
        keep_books=channels.orderbook.keep_books,
        hf_interval_ns=round(book.hf_emit_interval * _NS),
        bar_durations_s=book.bar_durations,
        horizons_s=book.horizons,
        levels_max=book.max_levels,
    )
