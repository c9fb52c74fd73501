"""Structural features: one book, one formula after the other."""

import math
from collections.abc import Sequence
from fractions import Fraction

from tests.unit.fluxforge_etl_worker.oracle.cell import ROUNDING, Near, Row, either, near

Level = tuple[float, float]
SHARE = 1e-4
"""The scale of a difference of sums over their sum: some 1e-13, what adding up a long side may leave."""


def structural(bids: Sequence[Level], asks: Sequence[Level], levels_max: int = 10) -> Row:
    """Return the features of a valid book; no level has size 0."""
    (pb, qb), (pa, qa) = bids[0], asks[0]
    mid = (pb + pa) / 2
    row: Row = _touch(pb, qb, pa, qa, mid)
    for name, side in (("bid", bids), ("ask", asks)):
        for i in range(levels_max):
            row[f"{name}_size_L{i}"] = side[i][1] if i < len(side) else None
            row[f"{name}_price_L{i}"] = side[i][0] if i < len(side) else None
    for k in (1, 5, 10):
        b, a = total(bids[:k]), total(asks[:k])
        row[f"imbalance_L{k}"] = near(b - a, b + a, SHARE * (b + a))
    row |= _bands(bids, asks, mid)
    in_band = row["depth_0_5bps"].value
    row["amihud_5bps"] = near((pa - pb) / mid, in_band)
    row |= _half_depth("bid", bids, mid) | _half_depth("ask", asks, mid)
    for name, side in (("bid", bids), ("ask", asks)):
        row[f"{name}_concentration"] = Near(math.fsum((q / total(side)) ** 2 for _, q in side))
        row[f"{name}_levels"] = len(side)
        row[f"vwap_{name}_5"] = Near(math.fsum(p * q for p, q in side[:5]) / total(side[:5]))
    both = [*bids, *asks]
    row["concentration"] = Near(math.fsum((q / total(both)) ** 2 for _, q in both))
    # The difference of two prices holds what rounding each of them leaves.
    row["vwap_spread"] = Near(row["vwap_ask_5"].value - row["vwap_bid_5"].value, ROUNDING * 4 * mid)
    b, a = (math.fsum(q * math.exp(-100 * abs(p - mid) / mid) for p, q in side) for side in (bids, asks))
    row |= {"bid_smart_depth": Near(b), "ask_smart_depth": Near(a), "smart_depth": Near(b + a)}
    row["smart_depth_imbalance"] = near(b - a, b + a, SHARE * (b + a))
    row["kyle_lambda"] = _kyle(bids, asks, mid)
    return row


def total(side: Sequence[Level]) -> float:
    return math.fsum(q for _, q in side)


def _touch(pb: float, qb: float, pa: float, qa: float, mid: float) -> Row:
    micro = (pb * qa + pa * qb) / (qb + qa)
    return {
        "best_bid": pb,
        "best_ask": pa,
        "mid_price": mid,
        "spread": pa - pb,
        "relative_spread": Near((pa - pb) / mid),
        "microprice": Near(micro),
        "microprice_offset": Near((micro - mid) / mid, 4 * ROUNDING),
    }


def _bands(bids: Sequence[Level], asks: Sequence[Level], mid: float) -> Row:
    row: Row = {}
    for low, high in ((0, 5), (5, 10), (10, 25)):
        band = f"{low}_{high}bps"
        b, a = (math.fsum(q for p, q in side if low <= abs(p - mid) / mid * 1e4 < high) for side in (bids, asks))
        row |= {f"bid_depth_{band}": Near(b), f"ask_depth_{band}": Near(a), f"depth_{band}": Near(b + a)}
        row[f"band_imbalance_{band}"] = near(b - a, b + a, SHARE * (b + a))
    return row


def _half_depth(name: str, side: Sequence[Level], mid: float) -> Row:
    """Return the level at which half of a side is reached: by exact sums, or by those of floats from the touch on."""
    exact = [Fraction(q) for _, q in side]
    i = _first_at_half(exact)
    j = _first_at_half([q for _, q in side])
    depths = [Near(abs(side[k][0] - mid) / mid * 1e4, 1e4 * ROUNDING) for k in (i, j)]
    return {f"{name}_50pct_depth": either(*depths), f"{name}_50pct_levels": either(i + 1, j + 1)}


def _first_at_half(sizes: Sequence[Fraction] | Sequence[float]) -> int:
    whole = sum(sizes)
    reached: Fraction | float = 0
    for i, size in enumerate(sizes):
        reached += size
        if 2 * reached >= whole:
            return i
    raise AssertionError("the whole is at least its half")


def _kyle(bids: Sequence[Level], asks: Sequence[Level], mid: float) -> Near | None:
    moves, squares = [], []
    for side in (bids, asks):
        for i in range(min(10, len(side))):
            size = total(side[: i + 1])
            moves.append(size * abs(side[i][0] - mid))
            squares.append(size * size)
    return near(math.fsum(moves), math.fsum(squares))
