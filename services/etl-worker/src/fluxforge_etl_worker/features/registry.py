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

NEVER: Final = "never"
UNOBSERVED: Final = "the window was not observed"
TRADES_UNOBSERVED: Final = "its trades were not"

Dtype = Literal["float64", "int32", "int64", "string"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of feature rows: its meaning, its unit and when it is null.

    `streaming`: over a rolling window rather than from one book; `horizon_s`: the window's length, where columns of
    several lengths exist.
    """

    name: str
    unit: str
    dtype: Dtype
    formula: str
    nulls: str
    streaming: bool = False
    horizon_s: int | None = None


def structural_features(levels_max: int) -> tuple[Feature, ...]:
    """Return the features of one book, in column order."""
    return (*_touch_features(levels_max), *_depth_features(), *_shape_features())


def streaming_features(horizons_s: tuple[int, ...]) -> tuple[Feature, ...]:
    """Return the features over rolling windows, in column order."""
    families: tuple[tuple[str, str, Dtype, str, str], ...] = (
        ("log_return", "1", "float64", "ln(mid_t / mid as of t - h)", ""),
        ("realized_volatility", "1", "float64", "sqrt(sum of r_n^2)", ""),
        ("ofi_sum", "base", "float64", "sum of e_n", ""),
        ("mlofi_sum", "base", "float64", "sum of sum_(i<5) exp(-i/2) e_n^i, without levels that either book lacks", ""),
        ("buy_volume", "base", "float64", "sum of q over trades with a buying taker", ""),
        ("sell_volume", "base", "float64", "sum of q over trades with a selling taker", ""),
        ("trade_flow_imbalance", "1", "float64", "(buy_volume - sell_volume) / (buy_volume + sell_volume)", "both 0"),
        ("trade_count", "count", "int64", "number of trades", ""),
        (
            "trade_kyle_lambda",
            "quote/base",
            "float64",
            "least-squares slope, with intercept, of mid change on signed volume over the h seconds of the window",
            "an as-of missing; every signed volume the same",
        ),
    )
    windows = [
        Feature(f"{name}_{h}s", unit, dtype, formula, _unless(name, nulls), streaming=True, horizon_s=h)
        for name, unit, dtype, formula, nulls in families
        for h in _horizons(name, horizons_s)
    ]
    nulls = f"{UNOBSERVED}; no update in the window"
    regimes = "tight: relative_spread < 0.8 m, wide: > 1.25 m, else normal; m = mean relative_spread of the last 60 s"
    share = "share of the last 60 s' updates with relative_spread > 1.25 m"
    return (
        *windows,
        Feature("spread_regime", "", "string", regimes, nulls, streaming=True),
        Feature("wide_share_60s", "1", "float64", share, nulls, streaming=True),
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


def _touch_features(levels_max: int) -> tuple[Feature, ...]:
    levels, sides = range(levels_max), (("bid", "b"), ("ask", "a"))
    absent = "the level is absent"
    imbalance = "(B_k - A_k) / (B_k + A_k); B_k, A_k = size of the first k levels, as many as exist"
    return (
        Feature("best_bid", "quote", "float64", "pb_0", NEVER),
        Feature("best_ask", "quote", "float64", "pa_0", NEVER),
        Feature("mid_price", "quote", "float64", "(pb_0 + pa_0) / 2", NEVER),
        Feature("spread", "quote", "float64", "pa_0 - pb_0", NEVER),
        Feature("relative_spread", "1", "float64", "spread / mid_price", NEVER),
        Feature("microprice", "quote", "float64", "(pb_0 qa_0 + pa_0 qb_0) / (qb_0 + qa_0)", NEVER),
        Feature("microprice_offset", "1", "float64", "(microprice - mid_price) / mid_price", NEVER),
        *(Feature(f"{side}_size_L{i}", "base", "float64", f"q{s}_{i}", absent) for side, s in sides for i in levels),
        *(Feature(f"{side}_price_L{i}", "quote", "float64", f"p{s}_{i}", absent) for side, s in sides for i in levels),
        *(Feature(f"imbalance_L{k}", "1", "float64", imbalance, NEVER) for k in touch.IMBALANCE_LEVELS),
    )


def _depth_features() -> tuple[Feature, ...]:
    named = [(f"{low}_{high}bps", f"{low} <= d_i < {high}") for low, high in depth.BANDS_BPS]
    sides = ("bid", "ask")
    half = "the first level at which the side's cumulative size >= half of its total"
    return (
        *(
            Feature(f"{side}_depth_{band}", "base", "float64", f"sum of {side} sizes with {within}", NEVER)
            for side in sides
            for band, within in named
        ),
        *(
            Feature(f"depth_{band}", "base", "float64", f"bid_depth_{band} + ask_depth_{band}", NEVER)
            for band, _ in named
        ),
        *(
            Feature(f"band_imbalance_{band}", "1", "float64", "(bid - ask) / (bid + ask) of the band", "both 0")
            for band, _ in named
        ),
        *(Feature(f"{side}_50pct_depth", "bps", "float64", f"d_i of {half}", NEVER) for side in sides),
        *(Feature(f"{side}_50pct_levels", "count", "int32", f"number of levels up to {half}", NEVER) for side in sides),
    )


def _shape_features() -> tuple[Feature, ...]:
    sides = ("bid", "ask")
    slope = "sum(Q_i D_i) / sum(Q_i^2) over the first 10 levels of both sides; Q_i = size up to i, D_i = abs(p_i - mid)"
    smart = "sum of q_i exp(-100 abs(p_i - mid) / mid)"
    return (
        *(
            Feature(f"{side}_concentration", "1", "float64", "sum of (q_i / Q)^2 over the side", NEVER)
            for side in sides
        ),
        Feature("concentration", "1", "float64", "sum of (q_i / Q)^2 over both sides pooled", NEVER),
        *(
            Feature(f"vwap_{side}_5", "quote", "float64", "sum(p_i q_i) / sum(q_i) over the first 5 levels", NEVER)
            for side in sides
        ),
        Feature("vwap_spread", "quote", "float64", "vwap_ask_5 - vwap_bid_5", NEVER),
        *(Feature(f"{side}_smart_depth", "base", "float64", smart, NEVER) for side in sides),
        Feature("smart_depth", "base", "float64", "bid_smart_depth + ask_smart_depth", NEVER),
        Feature("smart_depth_imbalance", "1", "float64", "(bid - ask) / (bid + ask) of the smart depths", "both 0"),
        Feature("amihud_5bps", "1/base", "float64", "relative_spread / depth_0_5bps", "the band is empty"),
        Feature("kyle_lambda", "quote/base", "float64", slope, NEVER),
        *(Feature(f"{side}_levels", "count", "int32", "number of levels captured", NEVER) for side in sides),
    )


def _unless(family: str, more: str) -> str:
    nulls = UNOBSERVED + (f"; {TRADES_UNOBSERVED}" if family in TRADE_FAMILIES else "")
    return f"{nulls}; {more}" if more else nulls
