"""Registry: which features there are, in which order, of which type and unit; the one place that calls the families.

A change of a formula, a name or a type raises FEATURE_VERSION, which every part carries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from fluxforge_etl_worker.columns import F64, I64, Bools, Objects
from fluxforge_etl_worker.features import depth, flow, impact, regime, returns, shape, touch, trading
from fluxforge_etl_worker.features.ladder import Ladders
from fluxforge_etl_worker.features.stream_rows import StreamRows
from fluxforge_etl_worker.features.windows import Timeline

FEATURE_VERSION: Final = 2
KYLE_HORIZON_S_MIN: Final = 30

TRADE_FAMILIES: Final = ("buy_volume", "sell_volume", "trade_flow_imbalance", "trade_count", "trade_kyle_lambda")

Dtype = Literal["float64", "int32", "int64", "string"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of feature rows. `streaming`: over a rolling window rather than from one book."""

    name: str
    unit: str
    dtype: Dtype = "float64"
    streaming: bool = False


def structural_features(levels_max: int) -> tuple[Feature, ...]:
    """Return the features of one book, in column order."""
    bands = [f"{low}_{high}bps" for low, high in depth.BANDS_BPS]
    return (
        *_named("quote", "best_bid", "best_ask", "mid_price", "spread"),
        *_named("1", "relative_spread"),
        *_named("quote", "microprice"),
        *_named("1", "microprice_offset"),
        *_named("base", *(f"{side}_size_L{i}" for side in ("bid", "ask") for i in range(levels_max))),
        *_named("quote", *(f"{side}_price_L{i}" for side in ("bid", "ask") for i in range(levels_max))),
        *_named("1", *(f"imbalance_L{k}" for k in touch.IMBALANCE_LEVELS)),
        *_named("base", *(f"{side}_depth_{band}" for side in ("bid", "ask") for band in bands)),
        *_named("base", *(f"depth_{band}" for band in bands)),
        *_named("1", *(f"band_imbalance_{band}" for band in bands)),
        *_named("bps", "bid_50pct_depth", "ask_50pct_depth"),
        *_named("count", "bid_50pct_levels", "ask_50pct_levels", dtype="int32"),
        *_named("1", "bid_concentration", "ask_concentration", "concentration"),
        *_named("quote", "vwap_bid_5", "vwap_ask_5", "vwap_spread"),
        *_named("base", "bid_smart_depth", "ask_smart_depth", "smart_depth"),
        *_named("1", "smart_depth_imbalance"),
        *_named("1/base", "amihud_5bps"),
        *_named("quote/base", "kyle_lambda"),
        *_named("count", "bid_levels", "ask_levels", dtype="int32"),
    )


def streaming_features(horizons_s: tuple[int, ...]) -> tuple[Feature, ...]:
    """Return the features over rolling windows, in column order."""
    families: tuple[tuple[str, str, Dtype], ...] = (
        ("log_return", "1", "float64"),
        ("realized_volatility", "1", "float64"),
        ("ofi_sum", "base", "float64"),
        ("mlofi_sum", "base", "float64"),
        ("buy_volume", "base", "float64"),
        ("sell_volume", "base", "float64"),
        ("trade_flow_imbalance", "1", "float64"),
        ("trade_count", "count", "int64"),
        ("trade_kyle_lambda", "quote/base", "float64"),
    )
    windows = [
        Feature(f"{name}_{h}s", unit, dtype, streaming=True)
        for name, unit, dtype in families
        for h in horizons_s
        if name != "trade_kyle_lambda" or h >= KYLE_HORIZON_S_MIN
    ]
    return (
        *windows,
        Feature("spread_regime", "", "string", streaming=True),
        Feature("wide_share_60s", "1", streaming=True),
    )


def all_features(levels_max: int, horizons_s: tuple[int, ...]) -> tuple[Feature, ...]:
    """Return every feature in column order."""
    return structural_features(levels_max) + streaming_features(horizons_s)


def structural(books: Ladders, levels_max: int) -> Mapping[str, F64 | I64]:
    """Return every structural feature of n valid books by name; NaN or infinite stands for null."""
    with np.errstate(all="ignore"):
        prices, bands = touch.prices(books), depth.bands(books)
        return {
            **prices,
            **touch.levels(books, levels_max),
            **touch.imbalances(books),
            **bands,
            **depth.half_depth(books),
            **shape.concentrations(books),
            **shape.level_vwaps(books),
            **depth.smart_depth(books),
            "amihud_5bps": impact.amihud(prices["relative_spread"], bands["depth_0_5bps"]),
            **impact.kyle_lambda(books),
            **depth.level_counts(books),
        }


def streaming(rows: StreamRows, horizons_s: tuple[int, ...]) -> Mapping[str, F64 | Objects]:
    """Return every streaming feature of m rows by name; NaN or None stands for null.

    What a window was not observed for is null, whatever the family.
    """
    timeline = Timeline.of(rows.updates.capture_ns)
    windows = {h: timeline.windows(rows.at_ns, h) for h in sorted({*horizons_s, regime.REGIME_WINDOW_S})}
    observed = {h: rows.is_observed(window) for h, window in windows.items()}
    over = [windows[h] for h in horizons_s]
    families = {
        "log_return": returns.log_return(rows.updates, over),
        "realized_volatility": returns.realized_volatility(rows.updates, rows.known, timeline, over),
        "ofi_sum": flow.ofi_sum(rows.updates, rows.known, timeline, over),
        "mlofi_sum": flow.mlofi_sum(rows.updates, rows.known, timeline, over),
    }
    columns: dict[str, F64 | Objects] = {
        f"{family}_{h}s": np.where(observed[h], values[h], np.nan)
        for family, values in families.items()
        for h in horizons_s
    }
    columns |= _trade_columns(rows, horizons_s, observed)
    minute = windows[regime.REGIME_WINDOW_S]
    mean = regime.mean_relative_spread(rows.updates, timeline, minute)
    mean[~observed[regime.REGIME_WINDOW_S]] = np.nan
    columns["spread_regime"] = regime.spread_regime(rows.updates, minute, mean)
    columns["wide_share_60s"] = regime.wide_share(rows.updates, minute, mean)
    return columns


def _trade_columns(
    rows: StreamRows, horizons_s: tuple[int, ...], observed: Mapping[int, Bools]
) -> dict[str, F64 | Objects]:
    """Return the features of trades; null where the book or the trades were not observed."""
    trades = rows.trades
    if trades is None:
        null = np.full(len(rows.at_ns), np.nan)
        return {f"{family}_{h}s": null for family in TRADE_FAMILIES for h in _horizons(family, horizons_s)}
    timeline = Timeline.of(trades.capture_ns)
    windows = [timeline.windows(rows.at_ns, h) for h in horizons_s]
    is_known = {window.horizon_s: observed[window.horizon_s] & rows.are_trades_observed(window) for window in windows}
    buys, sells = trading.buy_volume(trades, timeline, windows), trading.sell_volume(trades, timeline, windows)
    volumes = {h: buys[h] + sells[h] for h in _horizons("trade_kyle_lambda", horizons_s)}
    families = {
        "buy_volume": buys,
        "sell_volume": sells,
        "trade_flow_imbalance": trading.trade_flow_imbalance(buys, sells),
        "trade_count": trading.trade_count(windows),
        "trade_kyle_lambda": trading.trade_kyle_lambda(
            rows.updates, trades, rows.at_ns, volumes, tolerance_ns=rows.tolerance_ns
        ),
    }
    return {
        f"{family}_{h}s": np.where(is_known[h], values[h], np.nan)
        for family, values in families.items()
        for h in values
    }


def _horizons(family: str, horizons_s: tuple[int, ...]) -> tuple[int, ...]:
    if family != "trade_kyle_lambda":
        return horizons_s
    return tuple(h for h in horizons_s if h >= KYLE_HORIZON_S_MIN)


def _named(unit: str, *names: str, dtype: Dtype = "float64") -> tuple[Feature, ...]:
    return tuple(Feature(name, unit, dtype) for name in names)
