"""Feature rows: the keys, and the streaming features over the windows that end at the row's own time."""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from tests.unit.fluxforge_etl_worker.oracle.cell import ROUNDING, Near, Row, either, near
from tests.unit.fluxforge_etl_worker.oracle.instrument import Instrument
from tests.unit.fluxforge_etl_worker.oracle.lane import NS, Lane, Trade, Update, between
from tests.unit.fluxforge_etl_worker.oracle.structural import structural

TRADE_COLUMNS = ("buy_volume", "sell_volume", "trade_flow_imbalance", "trade_count")
HAIR = 1e-12


def hf_keys(lane: Lane) -> list[Row]:
    """Return the keys of every feature row."""
    return [_keys(instrument, at, update) for instrument in instruments(lane) for at, update in moments(instrument)]


def hf_rows(lane: Lane, chosen: Collection[tuple[str, int]] | None = None) -> list[Row]:
    """Return the feature rows, all or those of these updates: (symbol, capture_ns)."""
    rows = []
    for instrument in instruments(lane):
        for at, update in moments(instrument):
            if chosen is None or (instrument.symbol, update.at) in chosen:
                row = _keys(instrument, at, update)
                row |= structural(update.bids, update.asks, lane.options.levels_max)
                rows.append(row | streaming(instrument, at, update))
    return rows


def instruments(lane: Lane) -> Iterator[Instrument]:
    return (Instrument(lane, symbol) for symbol in lane.symbols)


def moments(instrument: Instrument) -> list[tuple[int, Update]]:
    """Return the time of every row and the update whose state it tells."""
    interval = instrument.lane.options.interval_ns
    if interval == 0:
        return [(update.at, update) for update in instrument.updates]
    last: dict[int, Update] = {}
    for update in instrument.updates:
        last[-(-update.at // interval) * interval] = update
    return [(at, update) for at, update in last.items() if at <= instrument.lane.upper_ns]


def _keys(instrument: Instrument, at: int, update: Update) -> Row:
    record = update.record
    return {
        "exchange": record["exchange"],
        "symbol": instrument.symbol,
        "market": record["market"],
        "ts_ns": at // 1000 * 1000,
        "capture_ns": update.at,
        "exchange_ms": record["exchange_ms"],
        "boot": record["boot"],
        "seq": record["seq"],
        "book_state": instrument.lane.state_at(instrument.book_feed, at),
    }


def streaming(instrument: Instrument, at: int, update: Update) -> Row:
    """Return the features over the windows that end at `at`, where `update` is the last."""
    row: Row = {}
    for h in instrument.lane.options.horizons_s:
        begin = at - h * NS
        row |= _of_books(instrument, begin, at, update, h)
        row |= _of_trades(instrument, begin, at, h)
        if h >= 30:
            row[f"trade_kyle_lambda_{h}s"] = _trade_kyle(instrument, at, h)
    return row | _regime(instrument, at, update)


def _of_books(instrument: Instrument, begin: int, at: int, update: Update, h: int) -> Row:
    names = [f"{name}_{h}s" for name in ("log_return", "realized_volatility", "ofi_sum", "mlofi_sum")]
    before = instrument.as_of(begin)
    if before is None or not instrument.is_observed(begin, at):
        return dict.fromkeys(names)
    inside = instrument.window(begin, at)
    returns = [u.r for u in inside if u.r is not None]
    flows = [u.e for u in inside if u.e is not None]
    deep = [u.mlofi for u in inside if u.mlofi is not None]
    values = (
        Near(math.log(update.mid / before.mid), ROUNDING),
        Near(math.sqrt(math.fsum(r * r for r in returns)), ROUNDING),
        Near(math.fsum(flows), math.fsum(u.e_terms for u in inside)),
        Near(math.fsum(deep), math.fsum(u.mlofi_terms for u in inside)),
    )
    return dict(zip(names, values, strict=True))


def _of_trades(instrument: Instrument, begin: int, at: int, h: int) -> Row:
    if not instrument.trades_are_observed(begin, at):
        return {f"{name}_{h}s": None for name in TRADE_COLUMNS}
    inside = between(instrument.trade_times, instrument.trades, begin, at)
    bought, sold = volume(inside, "buy"), volume(inside, "sell")
    return {
        f"buy_volume_{h}s": Near(bought),
        f"sell_volume_{h}s": Near(sold),
        f"trade_flow_imbalance_{h}s": near(bought - sold, bought + sold, bought + sold),
        f"trade_count_{h}s": len(inside),
    }


def volume(trades: Sequence[Trade], side: str) -> float:
    return math.fsum(trade.amount for trade in trades if trade.side == side)


def _trade_kyle(instrument: Instrument, at: int, h: int) -> object:
    """Return the slope, with intercept, of the change of the mid on the signed volume of each second."""
    if not instrument.trades_are_observed(at - h * NS, at):
        return None
    edges = [at - j * NS for j in range(h, -1, -1)]
    found = [instrument.as_of(edge) for edge in edges]
    known = [update.mid for update in found if update is not None]
    if len(known) < len(edges):
        return None
    moves = [now - before for before, now in pairwise(known)]
    inside = [between(instrument.trade_times, instrument.trades, a, b) for a, b in pairwise(edges)]
    signed = [volume(trades, "buy") - volume(trades, "sell") for trades in inside]
    amounts = [math.fsum(trade.amount for trade in trades) for trades in inside]
    if max(signed) == min(signed):
        return None
    mean_x, mean_y = math.fsum(signed) / h, math.fsum(moves) / h
    dx, dy = [x - mean_x for x in signed], [y - mean_y for y in moves]
    squares = math.fsum(x * x for x in dx)
    slope = math.fsum(x * y for x, y in zip(dx, dy, strict=True)) / squares
    # What rounding leaves of each mid and each volume, through the quotient.
    off_x, off_y = ROUNDING * max(amounts), ROUNDING * max(known)
    spread_x, spread_y = math.fsum(map(abs, dx)), math.fsum(map(abs, dy))
    scale = math.fsum(abs(x * y) for x, y in zip(dx, dy, strict=True))
    scale += spread_y * off_x + spread_x * off_y + 2 * abs(slope) * spread_x * off_x
    wanted = Near(slope, scale / squares)
    # Volumes that differ by less than the rounding of their sums: whether they differ at all is a hair.
    return either(wanted, None) if max(signed) - min(signed) <= 1e-9 * max(amounts) else wanted


def _regime(instrument: Instrument, at: int, update: Update) -> Row:
    begin = at - 60 * NS
    inside = instrument.window(begin, at)
    if not instrument.is_observed(begin, at) or not inside:
        return {"spread_regime": None, "wide_share_60s": None}
    spreads = [u.relative_spread for u in inside]
    m = math.fsum(spreads) / len(spreads)
    surely = sum(spread > 1.25 * m + HAIR * m for spread in spreads)
    perhaps = sum(spread > 1.25 * m - HAIR * m for spread in spreads)
    names = [_regime_name(update.relative_spread, m, off) for off in (-HAIR, 0.0, HAIR)]
    shares = [Near(wide / len(spreads)) for wide in range(surely, perhaps + 1)]
    return {"spread_regime": either(*names), "wide_share_60s": either(*shares)}


def _regime_name(spread: float, m: float, off: float) -> str:
    if spread < (0.8 + off) * m:
        return "tight"
    return "wide" if spread > (1.25 + off) * m else "normal"
