"""Streaming features against a plain loop over rows, and the same whatever came long before or comes after."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_etl_worker.features.registry import streaming, streaming_features
from fluxforge_etl_worker.features.stream_rows import StreamRows
from fluxforge_etl_worker.features.streams import TOP_LEVELS, TradeFlow, Updates
from fluxforge_etl_worker.soundness import FeedSoundness

S = 1_000_000_000
BEGIN = 1_700_000_000 * S
HORIZONS = (1, 5, 30, 60)
TOLERANCE_S = 20


@dataclass
class Book:
    at: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    known: bool

    @property
    def mid(self) -> float:
        return (self.bids[0][0] + self.asks[0][0]) / 2

    @property
    def wideness(self) -> float:
        return (self.asks[0][0] - self.bids[0][0]) / self.mid


@dataclass
class Trade:
    at: int
    side: str | None
    amount: float


@dataclass
class Story:
    books: list[Book]
    trades: list[Trade] | None
    ends: list[int]
    unsound: list[tuple[int, int]]
    trades_since: int = BEGIN
    trades_unsound: tuple[tuple[int, int], ...] = ()


SIZES = st.one_of(st.floats(0.01, 100), st.sampled_from([1e-8, 1e12, 1.0, 1.0]))
OFFSETS = st.one_of(
    st.integers(0, 150).map(lambda s: s * S),
    st.integers(0, 150 * S),
    st.integers(0, 300).map(lambda s: s * S // 2),
)


@st.composite
def books(draw: st.DrawFn, at: int) -> Book:
    mid, half = draw(st.integers(90, 110)), draw(st.integers(1, 4)) / 8
    deep = st.lists(SIZES, min_size=1, max_size=TOP_LEVELS)
    bids = [(mid - half - i * 0.5, size) for i, size in enumerate(draw(deep))]
    asks = [(mid + half + i * 0.5, size) for i, size in enumerate(draw(deep))]
    return Book(at, bids, asks, known=draw(st.integers(0, 5)) > 0)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    times = sorted(draw(st.sets(OFFSETS, min_size=1, max_size=40)))
    made = [draw(books(BEGIN + at)) for at in times]
    made[0].known = False
    trades = draw(
        st.none()
        | st.lists(st.tuples(OFFSETS, st.sampled_from(["buy", "sell", None]), SIZES), max_size=40).map(
            lambda rows: sorted((Trade(BEGIN + at, side, amount) for at, side, amount in rows), key=lambda t: t.at)
        )
    )
    ends = draw(st.one_of(st.just(set(times)), st.sets(OFFSETS, min_size=1, max_size=25)))
    bounds = sorted(draw(st.sets(st.integers(0, 150), max_size=4)))
    unsound = [(BEGIN + a * S, BEGIN + b * S) for a, b in zip(bounds[::2], bounds[1::2], strict=False)]
    since = BEGIN + draw(st.sampled_from([0, 0, 40 * S]))
    deaf = draw(st.sampled_from([(), (), ((BEGIN + 70 * S, BEGIN + 75 * S),)]))
    return Story(made, trades, sorted(BEGIN + at for at in ends if at >= times[0]), unsound, since, deaf)


def padded(levels: list[tuple[float, float]], part: int) -> list[float]:
    return [levels[i][part] if i < len(levels) else (math.nan, 0.0)[part] for i in range(TOP_LEVELS)]


def updates_of(made: list[Book]) -> Updates:
    sides = [
        [padded(side, part) for side in sides]
        for sides in ([b.bids for b in made], [b.asks for b in made])
        for part in (0, 1)
    ]
    at = np.array([book.at for book in made], dtype=np.int64)
    return Updates(at, *(np.array(side, dtype=np.float64).reshape(-1, TOP_LEVELS) for side in sides))


def flow_of(made: list[Trade]) -> TradeFlow:
    return TradeFlow(
        np.array([t.at for t in made], dtype=np.int64),
        np.full(len(made), 100.0),
        np.array([t.amount for t in made], dtype=np.float64),
        np.array([t.side == "buy" for t in made], dtype=np.bool_),
        np.array([t.side == "sell" for t in made], dtype=np.bool_),
    )


def unsound(stretches: Sequence[tuple[int, int]]) -> FeedSoundness:
    begin = np.array([a for a, _ in stretches], dtype=np.int64)
    end = np.array([b for _, b in stretches], dtype=np.int64)
    return FeedSoundness(begin, begin, end, np.array([], dtype=np.int64), np.array(["synced"], dtype=np.object_))


def rows_of(story: Story) -> StreamRows:
    return StreamRows(
        at_ns=np.array(story.ends, dtype=np.int64),
        updates=updates_of(story.books),
        known=np.array([book.known for book in story.books]),
        book=unsound(story.unsound),
        trades=None if story.trades is None else flow_of(story.trades),
        trades_feed=unsound(story.trades_unsound),
        trades_known=lambda at: at >= story.trades_since,
        tolerance_ns=TOLERANCE_S * S,
    )


def touch_flow(before: Book, now: Book, i: int) -> list[float]:
    (pb, qb), (pa, qa) = now.bids[i], now.asks[i]
    (pb0, qb0), (pa0, qa0) = before.bids[i], before.asks[i]
    return [qb * (pb >= pb0), -qb0 * (pb <= pb0), -qa * (pa <= pa0), qa0 * (pa >= pa0)]


def level_flow(before: Book, now: Book) -> list[float]:
    deep = min(len(before.bids), len(before.asks), len(now.bids), len(now.asks))
    return [math.exp(-i / 2) * term for i in range(deep) for term in touch_flow(before, now, i)]


def as_of(story: Story, at: int) -> Book | None:
    return next((b for b in reversed(story.books) if at - TOLERANCE_S * S < b.at <= at), None)


def is_observed(story: Story, start: int, end: int) -> bool:
    return as_of(story, start) is not None and not any(a <= end and b > start + 1 for a, b in story.unsound)


def trades_are_observed(story: Story, start: int, end: int) -> bool:
    if story.trades is None or not is_observed(story, start, end) or start < story.trades_since:
        return False
    return not any(a <= end and b > start + 1 for a, b in story.trades_unsound)


def check(found: object, terms: list[float] | None, *, root: bool = False) -> None:
    """Hold a value against the sum of terms; null where they are None."""
    assert isinstance(found, float)
    if terms is None:
        assert math.isnan(found)
        return
    wanted = math.sqrt(math.fsum(terms)) if root else math.fsum(terms)
    assert abs(found - wanted) <= 1e-12 * (wanted if root else math.fsum(map(abs, terms)))


def check_books(story: Story, end: int, h: int, row: dict[str, object]) -> None:
    start = end - h * S
    names = [f"{name}_{h}s" for name in ("log_return", "realized_volatility", "ofi_sum", "mlofi_sum")]
    if not is_observed(story, start, end):
        for name in names:
            check(row[name], None)
        return
    pairs = [(a, b) for a, b in pairwise(story.books) if start < b.at <= end and b.known]
    before, own = as_of(story, start), [b for b in story.books if b.at <= end][-1]
    assert before is not None
    assert abs(row[names[0]] - math.log(own.mid / before.mid)) <= 1e-14
    check(row[names[1]], [math.log(b.mid / a.mid) ** 2 for a, b in pairs], root=True)
    check(row[names[2]], [term for a, b in pairs for term in touch_flow(a, b, 0)])
    check(row[names[3]], [term for a, b in pairs for term in level_flow(a, b)])


def check_trades(story: Story, end: int, h: int, row: dict[str, object]) -> None:
    start = end - h * S
    if not trades_are_observed(story, start, end):
        for name in ("buy_volume", "sell_volume", "trade_flow_imbalance", "trade_count"):
            check(row[f"{name}_{h}s"], None)
        return
    inside = [t for t in story.trades if start < t.at <= end]
    bought, sold = ([t.amount for t in inside if t.side == side] for side in ("buy", "sell"))
    check(row[f"buy_volume_{h}s"], bought)
    check(row[f"sell_volume_{h}s"], sold)
    assert row[f"trade_count_{h}s"] == len(inside)
    both = math.fsum(bought + sold)
    imbalance = row[f"trade_flow_imbalance_{h}s"]
    assert math.isnan(imbalance) if both == 0 else abs(imbalance - (math.fsum(bought) - math.fsum(sold)) / both) < 1e-12


def slope_of(story: Story, end: int, h: int) -> float | None:
    """Return the least-squares slope; null where it has none."""
    start = end - h * S
    edges = [as_of(story, end - j * S) for j in range(h, -1, -1)]
    if None in edges or not trades_are_observed(story, start, end):
        return None
    signs = {"buy": 1.0, "sell": -1.0, None: 0.0}
    x = [
        math.fsum(signs[t.side] * t.amount for t in story.trades if start + j * S < t.at <= start + (j + 1) * S)
        for j in range(h)
    ]
    if max(x) == min(x):
        return None
    y = [b.mid - a.mid for a, b in pairwise(edges)]
    mean = math.fsum(x) / h
    return math.fsum((a - mean) * b for a, b in zip(x, y, strict=True)) / math.fsum((a - mean) ** 2 for a in x)


def check_regime(story: Story, end: int, row: dict[str, object]) -> None:
    inside = [b.wideness for b in story.books if end - 60 * S < b.at <= end]
    if not inside or not is_observed(story, end - 60 * S, end):
        assert row["spread_regime"] is None
        check(row["wide_share_60s"], None)
        return
    mean = math.fsum(inside) / len(inside)
    own = inside[-1]
    if min(abs(value / mean - edge) for value in inside for edge in (0.8, 1.25)) > 1e-12:
        assert row["spread_regime"] == ("tight" if own < 0.8 * mean else "wide" if own > 1.25 * mean else "normal")
        assert row["wide_share_60s"] == sum(value > 1.25 * mean for value in inside) / len(inside)


def by_row(columns: dict[str, np.ndarray]) -> list[dict[str, object]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@given(stories())
def test_every_column_equals_that_of_a_plain_loop(story: Story) -> None:
    columns = streaming(rows_of(story), HORIZONS)
    assert list(columns) == [feature.name for feature in streaming_features(HORIZONS)]
    for end, row in zip(story.ends, by_row(dict(columns)), strict=True):
        for h in HORIZONS:
            check_books(story, end, h, row)
            check_trades(story, end, h, row)
        check_regime(story, end, row)


@given(stories().map(lambda story: replace(story, unsound=[])))
def test_the_slope_on_trades_equals_that_of_a_plain_loop(story: Story) -> None:
    for trade in story.trades or ():
        trade.amount = round(min(trade.amount, 1e3), 2) + 0.5  # a slope on sizes 1e20 apart is rounding alone
    columns = streaming(rows_of(story), HORIZONS)
    for row, end in enumerate(story.ends):
        for h in (30, 60):
            found, wanted = columns[f"trade_kyle_lambda_{h}s"][row], slope_of(story, end, h)
            assert math.isnan(found) if wanted is None else math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12)


@given(stories(), st.data())
def test_no_bit_depends_on_what_lies_beyond_the_longest_window_or_after_the_row(
    story: Story, data: st.DataObject
) -> None:
    whole = streaming(rows_of(story), HORIZONS)
    row = data.draw(st.integers(0, len(story.ends) - 1)) if story.ends else None
    if row is None:
        return
    end = story.ends[row]
    oldest = end - (max(HORIZONS) + TOLERANCE_S) * S
    kept = [book for book in story.books if oldest < book.at <= end] or [b for b in story.books if b.at <= end][-1:]
    cut = replace(
        story,
        books=kept,
        trades=None if story.trades is None else [t for t in story.trades if oldest < t.at <= end],
        ends=[end],
    )
    alone = streaming(rows_of(cut), HORIZONS)
    for name, values in whole.items():
        if name == "spread_regime":
            assert alone[name][0] == values[row]
        else:
            assert alone[name].tobytes() == values[row : row + 1].tobytes(), name


def grid_story(n: int, step: int) -> Story:
    made = np.random.default_rng(3)
    story_books = [
        Book(
            BEGIN + i * step,
            [(100 + made.integers(0, 9) / 8, 1.0)],
            [(102 + made.integers(0, 9) / 8, 1.0)],
            known=i > 0,
        )
        for i in range(n)
    ]
    trades = [
        Trade(BEGIN + int(at), "buy" if made.random() < 0.5 else "sell", float(made.integers(1, 9)))
        for at in sorted(made.integers(0, n * step, n))
    ]
    return Story(story_books, trades, [], [])


@pytest.mark.parametrize("step", [S // 4, S // 4 + 1], ids=["ends that share seconds", "ends that share none"])
def test_many_rows_are_worked_on_in_blocks_without_a_seam(step: int) -> None:
    story = grid_story(2_500, step)
    story.ends = [book.at for book in story.books]
    columns = streaming(rows_of(story), (30,))
    for row in (0, 300, 1_023, 1_024, 2_047, 2_048, 2_499):
        found, wanted = columns["trade_kyle_lambda_30s"][row], slope_of(story, story.ends[row], 30)
        assert math.isnan(found) if wanted is None else math.isclose(found, wanted, rel_tol=1e-9)


def test_volumes_that_differ_by_rounding_alone_have_no_slope() -> None:
    story = grid_story(40, S)
    end = BEGIN + 35 * S
    story.trades = [Trade(end - S, "buy", 0.1), Trade(end - S, "buy", 0.2), Trade(end - S, "sell", 0.3)]
    story.ends = [end]
    columns = streaming(rows_of(story), (30,))
    assert math.isnan(columns["trade_kyle_lambda_30s"][0])
    assert columns["trade_count_30s"][0] == 3.0


def test_no_rows_are_no_values() -> None:
    columns = streaming(rows_of(replace(grid_story(3, S), ends=[])), HORIZONS)
    assert {len(values) for values in columns.values()} == {0}
    nothing = streaming(rows_of(Story([], None, [], [])), HORIZONS)
    assert {len(values) for values in nothing.values()} == {0}
