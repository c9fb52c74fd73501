"""Stories: generated and hand-made instruments, as lines and as the oracle sees them; and the comparison of both."""

import math
from typing import Any

from hypothesis import strategies as st

from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.partition import Dataset
from fluxforge_etl_worker.pipeline import Forged
from fluxforge_etl_worker.settings import EtlOptions
from tests.unit.fluxforge_etl_worker import oracle
from tests.unit.fluxforge_etl_worker.oracle import Happening, Row, Story, Trade, Update
from tests.unit.fluxforge_etl_worker.samples import MS, T0, Recording, S, rows_of, trade

_SIZES = st.one_of(
    st.sampled_from([1.0, 0.5, 0.1, 0.0]), st.floats(min_value=1e-8, max_value=1e8, allow_subnormal=False)
)
_STEPS = st.lists(st.integers(1, 40), max_size=13)
_GAPS = st.sampled_from([1, MS, 250 * MS, 250 * MS, S, 5 * S, 59 * S, 60 * S, 60 * S + 1])
_EVENTS = st.sampled_from(["gap", "stalled", "started", "resynced", "resynced", "disconnected"])


@st.composite
def books(draw: st.DrawFn, tick: float) -> tuple[list[oracle.Level], list[oracle.Level]]:
    """Return a book: ragged, now and then one-sided, empty or crossed."""
    best_bid = draw(st.integers(600, 10**6))
    gap = draw(st.sampled_from([1, 1, 1, 2, 30, 500, 0, -5]))
    sides = []
    for price, sign in ((best_bid, -1), (best_bid + gap, 1)):
        found = []
        for step in draw(_STEPS):
            found.append((price * tick, draw(_SIZES)))
            price += sign * step  # noqa: PLW2901 - walking down the side
        sides.append(found)
    return sides[0], sides[1]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Return a story of updates, trades and control records; the feed is sometimes followed by another segment."""
    tick = draw(st.sampled_from([0.01, 1e-8, 0.5, 100.0, 1.0]))
    at = T0 + draw(st.sampled_from([0, 1, 250 * MS, 59 * S]))
    story = Story([], trades=draw(st.sampled_from([None, []])))
    for _ in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(["book", "book", "book", "trade", "control"]))
        if kind == "book":
            story.updates.append(Update(at, *draw(books(tick))))
        elif kind == "trade" and story.trades is not None:
            side = draw(st.sampled_from(["buy", "sell", None]))
            story.trades.append(Trade(at, side, draw(st.integers(1, 1000)) * tick, draw(_SIZES)))
        elif kind == "control":
            event = draw(_EVENTS)
            after = at - draw(st.sampled_from([1, S, 70 * S])) if event == "started" else None
            story.happenings.append(Happening(at, event, after))
        at += draw(_GAPS)
    story.upper = at
    story.lower = draw(st.sampled_from([None, T0 - 1, T0 - S, T0 - 30 * S]))
    story.final = draw(st.booleans())
    return story


def record(story: Story, market: str = "BTC/USDT") -> Recording:
    """Return the lines of a story; numbers its updates."""
    recording = Recording()
    symbol = market.replace("/", "-")
    moments: list[tuple[int, Any]] = [(item.at, item) for item in (*story.updates, *story.happenings)]
    moments += [(item.at, item) for item in story.trades or ()]
    for at, item in sorted(moments, key=lambda moment: moment[0]):
        if isinstance(item, Update):
            item.seq = recording.book(at, item.bids, item.asks, market)
        elif isinstance(item, Trade):
            recording.trades(at, trade(None, item.side, item.price, item.amount, at), market=market)
        else:
            feeds = (FeedKey("orderbook", symbol), FeedKey("ticker", symbol))
            after = After("0ld", 3, item.after) if item.after is not None else None
            recording.control(at, Control(Event(item.event), feeds=feeds, after=after))
    return recording


def compare(result: Forged, story: Story, options: EtlOptions) -> None:
    """Check every structural column, every key and every bar column against the oracle."""
    found = rows_of(result, Dataset.HF)
    expected = oracle.hf_rows(story, options.hf_interval_ns)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        # The difference of two prices holds what rounding each of them leaves: some 1e-16 of a price.
        same_row(mine, _floored(theirs, "ts_ns"), scales={"vwap_spread": mine["mid_price"] * 1e-5})
    bars = rows_of(result, Dataset.BARS)
    wanted = [row for duration in options.bar_durations_s for row in oracle.bar_rows(story, duration)]
    wanted.sort(key=lambda row: (row["start_ns"], row["duration"]))
    assert [(bar["ts_ns"], bar["duration"]) for bar in bars] == [(row["start_ns"], row["duration"]) for row in wanted]
    for mine, theirs in zip(bars, wanted, strict=True):
        scale = theirs.pop("sum_ofi_scale")
        theirs.pop("start_ns")
        same_row(mine, theirs, scales={"sum_ofi": float(str(scale))})


def _floored(row: Row, key: str) -> Row:
    return {**row, key: int(str(row[key])) // 1000 * 1000}


_UNIT_SCALE = ("imbalance", "offset")


def same_row(mine: dict[str, Any], theirs: Row, scales: dict[str, float] | None = None) -> None:
    for name, value in theirs.items():
        assert name in mine, name
        if isinstance(value, float) and isinstance(mine[name], float):
            # Sums of signed terms are compared relative to the terms, which are shares of one here.
            scale = (scales or {}).get(name, 1.0 if any(mark in name for mark in _UNIT_SCALE) else 0.0)
            assert math.isclose(mine[name], value, rel_tol=1e-9, abs_tol=1e-9 * scale), (name, mine[name], value)
        else:
            assert mine[name] == value, (name, mine[name], value)
