"""Bars: what an instrument did in each span of `duration` seconds."""

import math
from collections.abc import Sequence

from tests.unit.fluxforge_etl_worker.oracle.cell import ROUNDING, Near, Row, near
from tests.unit.fluxforge_etl_worker.oracle.hf import instruments, volume
from tests.unit.fluxforge_etl_worker.oracle.instrument import Instrument
from tests.unit.fluxforge_etl_worker.oracle.lane import NS, Lane, Update, from_to, touches
from tests.unit.fluxforge_etl_worker.oracle.structural import SHARE


def bar_rows(lane: Lane) -> list[Row]:
    """Return the bars of every instrument and duration."""
    begins_after = _begins_after(lane)
    rows = []
    for instrument in instruments(lane):
        unsound = lane.stretches_for_bars(instrument.book_feed)
        for duration_s in lane.options.durations_s:
            width = duration_s * NS
            for start in sorted({at // width * width for at in instrument.times}):
                closed = start + width <= lane.upper_ns
                if start > begins_after and (closed or lane.final):
                    complete = (
                        closed and instrument.as_of(start) is not None and not touches(unsound, start, start + width)
                    )
                    rows.append(_bar(instrument, start, duration_s) | {"complete": complete})
    return rows


def _begins_after(lane: Lane) -> int:
    """Return after when a bar must begin: a lane that follows others tells only those that it saw from their start."""
    started = [record for record in lane.of("control") if record["data"]["event"] == "started"]
    return lane.records[0]["capture_ns"] if started and started[0]["data"].get("follows") else -1


def _bar(instrument: Instrument, start: int, duration_s: int) -> Row:
    end = start + duration_s * NS
    inside = from_to(instrument.times, instrument.updates, start, end)
    record = inside[-1].record
    keys = {
        "exchange": record["exchange"],
        "symbol": instrument.symbol,
        "market": record["market"],
        "ts_ns": start,
        "duration": duration_s,
    }
    return keys | _of_books(inside, end) | _of_trades(instrument, start, end)


def _of_books(inside: Sequence[Update], end: int) -> Row:
    n = len(inside)
    mids = [update.mid for update in inside]
    spreads = [update.spread for update in inside]
    stood = [b - update.at for update, b in zip(inside, [*(u.at for u in inside[1:]), end], strict=True)]
    imbalances = [(u.bids[0][1] - u.asks[0][1]) / (u.bids[0][1] + u.asks[0][1]) for u in inside]
    flows = [update.e for update in inside if update.e is not None]
    returns = [update.r for update in inside if update.r is not None]
    return {
        "open": mids[0],
        "high": max(mids),
        "low": min(mids),
        "close": mids[-1],
        "mean_spread": Near(math.fsum(spreads) / n),
        "mean_relative_spread": Near(math.fsum(update.relative_spread for update in inside) / n),
        "mean_l1_imbalance": Near(math.fsum(imbalances) / n, SHARE),
        "min_spread": min(spreads),
        "max_spread": max(spreads),
        "twap_mid": Near(math.fsum(m * s for m, s in zip(mids, stood, strict=True)) / sum(stood)),
        "sum_ofi": Near(math.fsum(flows), math.fsum(update.e_terms for update in inside)) if flows else None,
        "realized_variance": Near(math.fsum(r * r for r in returns), ROUNDING * math.fsum(map(abs, returns)))
        if returns
        else None,
        "n_updates": n,
    }


def _of_trades(instrument: Instrument, start: int, end: int) -> Row:
    tolerance = instrument.lane.options.tolerance_ns
    recorded = instrument.trades_begin is not None and instrument.trades_begin < end
    if not recorded and not from_to(
        instrument.trades_recovered, instrument.trades_recovered, start - tolerance + 1, end
    ):
        return dict.fromkeys(("buy_volume", "sell_volume", "trade_count", "vwap"))
    inside = from_to(instrument.trade_times, instrument.trades, start, end)
    paid, amount = math.fsum(t.price * t.amount for t in inside), math.fsum(t.amount for t in inside)
    return {
        "buy_volume": Near(volume(inside, "buy")),
        "sell_volume": Near(volume(inside, "sell")),
        "trade_count": len(inside),
        "vwap": near(paid, amount),
    }
