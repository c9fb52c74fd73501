"""The oracle: features and bars as the specification words them, one row at a time, in plain Python.

Slow and obvious on purpose. It shares no code with what it checks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Level = tuple[float, float]
Row = dict[str, object]
NS = 1_000_000_000
TOLERANCE_NS = 60 * NS
UNSOUND = {"gap", "stalled", "disconnected", "dropped", "started", "stopped", "lane_closed"}
SOUND = {"resynced", "recovered"}


@dataclass
class Update:
    at: int
    bids: list[Level]
    asks: list[Level]
    seq: int = 0


@dataclass
class Trade:
    at: int
    side: str | None
    price: float
    amount: float


@dataclass
class Happening:
    """A control record of the book feed."""

    at: int
    event: str
    after: int | None = None


@dataclass
class Story:
    """What one instrument did. `lower`: watermark of the segment before; `upper`: of this one."""

    updates: list[Update]
    trades: list[Trade] | None = None
    happenings: list[Happening] = field(default_factory=list)
    lower: int | None = None
    upper: int = 0
    final: bool = False


def cleaned(levels: Sequence[Level]) -> list[Level]:
    return [(price, size) for price, size in levels if size != 0]


def is_valid(update: Update) -> bool:
    bids, asks = cleaned(update.bids), cleaned(update.asks)
    return bool(bids and asks) and all(p > 0 for p, _ in bids + asks) and bids[0][0] < asks[0][0]


def divided(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def structural(update: Update, levels_max: int = 10) -> Row:  # noqa: C901 - one formula after the other
    bids, asks = cleaned(update.bids), cleaned(update.asks)
    (pb, qb), (pa, qa) = bids[0], asks[0]
    mid = (pb + pa) / 2
    spread = pa - pb
    micro = (pb * qa + pa * qb) / (qb + qa)
    row: Row = {
        "best_bid": pb,
        "best_ask": pa,
        "mid_price": mid,
        "spread": spread,
        "relative_spread": spread / mid,
        "microprice": micro,
        "microprice_offset": (micro - mid) / mid,
    }
    for name, side in (("bid", bids), ("ask", asks)):
        for i in range(levels_max):
            row[f"{name}_size_L{i}"] = side[i][1] if i < len(side) else None
            row[f"{name}_price_L{i}"] = side[i][0] if i < len(side) else None
    for k in (1, 5, 10):
        b, a = sum(q for _, q in bids[:k]), sum(q for _, q in asks[:k])
        row[f"imbalance_L{k}"] = (b - a) / (b + a)
    for low, high in ((0, 5), (5, 10), (10, 25)):
        within = {
            name: sum(q for p, q in side if low <= abs(p - mid) / mid * 1e4 < high)
            for name, side in (("bid", bids), ("ask", asks))
        }
        row[f"bid_depth_{low}_{high}bps"] = float(within["bid"])
        row[f"ask_depth_{low}_{high}bps"] = float(within["ask"])
        both = float(within["bid"] + within["ask"])
        row[f"depth_{low}_{high}bps"] = both
        row[f"band_imbalance_{low}_{high}bps"] = divided(within["bid"] - within["ask"], both)
    row["amihud_5bps"] = divided(spread / mid, float(str(row["depth_0_5bps"])))
    smart = {}
    totals = {}
    for name, side in (("bid", bids), ("ask", asks)):
        total = 0.0
        for _, q in side:
            total += q
        totals[name] = total
        summed = 0.0
        for count, (p, q) in enumerate(side, start=1):
            summed += q
            if summed >= 0.5 * total:
                row[f"{name}_50pct_depth"] = abs(p - mid) / mid * 1e4
                row[f"{name}_50pct_levels"] = count
                break
        row[f"{name}_concentration"] = math.fsum((q / total) ** 2 for _, q in side)
        first = side[:5]
        row[f"vwap_{name}_5"] = math.fsum(p * q for p, q in first) / math.fsum(q for _, q in first)
        smart[name] = math.fsum(q * math.exp(-100 * abs(p - mid) / mid) for p, q in side)
        row[f"{name}_smart_depth"] = smart[name]
        row[f"{name}_levels"] = len(side)
    row["concentration"] = math.fsum((q / (totals["bid"] + totals["ask"])) ** 2 for _, q in bids + asks)
    row["vwap_spread"] = row["vwap_ask_5"] - row["vwap_bid_5"]  # type: ignore[operator] - floats by construction
    row["smart_depth"] = smart["bid"] + smart["ask"]
    row["smart_depth_imbalance"] = divided(smart["bid"] - smart["ask"], smart["bid"] + smart["ask"])
    moves = squares = 0.0
    for side in (bids, asks):
        summed = 0.0
        for p, q in side[:10]:
            summed += q
            moves += summed * abs(p - mid)
            squares += summed * summed
    row["kyle_lambda"] = divided(moves, squares)
    return row


def stretches(story: Story, *, for_bars: bool = False) -> list[tuple[int, int]]:
    """Return the unsound stretches `[begin, end)`."""
    found: list[tuple[int, int]] = []
    begin = None
    for happening in story.happenings:
        if happening.event in UNSOUND and begin is None:
            begin = happening.at
            if for_bars and happening.after is not None:
                begin = min(begin, happening.after)
        elif happening.event in SOUND and begin is not None:
            found.append((begin, happening.at))
            begin = None
    if begin is not None:
        found.append((begin, 2**63))
    return found


def state_at(story: Story, at: int) -> str:
    standing: set[str] = set()
    for happening in story.happenings:
        if happening.at > at:
            break
        if happening.event in UNSOUND:
            standing.add(happening.event)
        elif happening.event in SOUND:
            standing.clear()
    if "stalled" in standing:
        return "stale"
    return "suspect" if standing else "synced"


def hf_rows(story: Story, interval_ns: int) -> list[Row]:
    """Return the feature rows with the keys seq, ts_ns, capture_ns and book_state."""
    at_boundary: dict[int, Update] = {}
    for update in story.updates:
        if is_valid(update):
            at_boundary[update.at if interval_ns == 0 else -(-update.at // interval_ns) * interval_ns] = update
    rows = []
    for boundary, update in sorted(at_boundary.items()):
        if boundary > story.upper:
            continue
        if story.lower is not None and interval_ns and boundary - interval_ns < story.lower:
            continue
        keys: Row = {
            "ts_ns": boundary,
            "capture_ns": update.at,
            "seq": update.seq,
            "book_state": state_at(story, boundary),
        }
        rows.append(keys | structural(update))
    return rows


def flow(story: Story) -> dict[int, tuple[float | None, float | None]]:
    """Return (e, r) of each valid update by its time."""
    found: dict[int, tuple[float | None, float | None]] = {}
    before: Update | None = None
    for update in filter(is_valid, story.updates):
        e = r = None
        if (
            before is not None
            and update.at - before.at <= TOLERANCE_NS
            and not any(b <= update.at and e > before.at + 1 for b, e in stretches(story))
        ):
            (pb, qb), (pa, qa) = cleaned(update.bids)[0], cleaned(update.asks)[0]
            (pb0, qb0), (pa0, qa0) = cleaned(before.bids)[0], cleaned(before.asks)[0]
            e = (qb if pb >= pb0 else 0) - (qb0 if pb <= pb0 else 0)
            e += -(qa if pa <= pa0 else 0) + (qa0 if pa >= pa0 else 0)
            r = math.log(((pb + pa) / 2) / ((pb0 + pa0) / 2))
        found[update.at] = e, r
        before = update
    return found


def bar_rows(story: Story, duration_s: int) -> list[Row]:
    """Return the bars, with `start_ns` for ts."""
    width = duration_s * NS
    flows = flow(story)
    updates = [update for update in story.updates if is_valid(update)]
    rows: list[Row] = []
    for start in sorted({update.at // width * width for update in updates}):
        end = start + width
        if (end > story.upper and not story.final) or (story.lower is not None and start <= story.lower):
            continue
        inside = [update for update in updates if start <= update.at < end]
        touches = [(cleaned(u.bids)[0], cleaned(u.asks)[0]) for u in inside]
        mids = [(b[0] + a[0]) / 2 for b, a in touches]
        spreads = [a[0] - b[0] for b, a in touches]
        ends = [u.at for u in inside[1:]] + [end]
        stood = [b - a.at for a, b in zip(inside, ends, strict=True)]
        es = [e for u in inside if (e := flows[u.at][0]) is not None]
        rs = [r for u in inside if (r := flows[u.at][1]) is not None]
        seen = any(start - TOLERANCE_NS < u.at <= start for u in updates)
        unsound = any(b < end and e > start for b, e in stretches(story, for_bars=True))
        row: Row = {
            "start_ns": start,
            "duration": duration_s,
            "open": mids[0],
            "high": max(mids),
            "low": min(mids),
            "close": mids[-1],
            "mean_spread": math.fsum(spreads) / len(spreads),
            "mean_relative_spread": math.fsum(s / m for s, m in zip(spreads, mids, strict=True)) / len(mids),
            "mean_l1_imbalance": math.fsum((b[1] - a[1]) / (b[1] + a[1]) for b, a in touches) / len(touches),
            "min_spread": min(spreads),
            "max_spread": max(spreads),
            "twap_mid": math.fsum(m * s for m, s in zip(mids, stood, strict=True)) / sum(stood),
            "sum_ofi": math.fsum(es) if es else None,
            "sum_ofi_scale": math.fsum(map(abs, es)),
            "realized_variance": math.fsum(r * r for r in rs) if rs else None,
            "n_updates": len(inside),
            "complete": seen and not unsound and end <= story.upper,
        }
        rows.append(row | _trades(story.trades, start, end))
    return rows


def _trades(trades: list[Trade] | None, start: int, end: int) -> Row:
    if trades is None:
        return dict.fromkeys(("buy_volume", "sell_volume", "trade_count", "vwap"))
    inside = [trade for trade in trades if start <= trade.at < end]
    amount = math.fsum(trade.amount for trade in inside)
    return {
        "buy_volume": math.fsum(trade.amount for trade in inside if trade.side == "buy"),
        "sell_volume": math.fsum(trade.amount for trade in inside if trade.side == "sell"),
        "trade_count": len(inside),
        "vwap": divided(math.fsum(trade.price * trade.amount for trade in inside), amount),
    }
