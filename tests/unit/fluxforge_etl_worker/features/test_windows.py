"""Sums over windows: against a plain loop, and the same bits whatever stood before."""

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fluxforge_etl_worker.features.windows import NS_PER_S, Sums, Timeline

BEGIN = 1_700_000_000 * NS_PER_S
TERMS = st.one_of(
    st.floats(-1e12, 1e12),
    st.sampled_from([1e-8, 1e12, -1e12, 0.1, 0.0, float("nan")]),
)
# Times that meet the borders of cells and windows, and times that do not.
TIMES = st.one_of(
    st.integers(0, 30).map(lambda s: BEGIN + s * NS_PER_S),
    st.integers(0, 30 * NS_PER_S).map(lambda ns: BEGIN + ns),
    st.tuples(st.integers(0, 30), st.sampled_from([-1, 1])).map(lambda t: BEGIN + t[0] * NS_PER_S + t[1]),
)
EVENTS = st.lists(st.tuples(TIMES, TERMS), max_size=60).map(lambda events: sorted(events, key=lambda event: event[0]))
ENDS = st.lists(TIMES, min_size=1, max_size=20).map(lambda times: sorted(set(times)))
HORIZONS = st.sampled_from([1, 2, 5, 17, 30])


def arrays(events: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([at for at, _ in events], dtype=np.int64),
        np.array([term for _, term in events], dtype=np.float64),
    )


def sums(events: list[tuple[int, float]], ends: list[int], horizon_s: int) -> np.ndarray:
    at, terms = arrays(events)
    timeline = Timeline.of(at)
    return Sums.of(timeline, terms).over(timeline.windows(np.array(ends, dtype=np.int64), horizon_s))


@given(EVENTS, ENDS, HORIZONS)
def test_a_sum_holds_the_known_terms_of_its_window_and_no_other(events, ends, horizon_s) -> None:
    found = sums(events, ends, horizon_s)
    for end, value in zip(ends, found, strict=True):
        inside = [term for at, term in events if end - horizon_s * NS_PER_S < at <= end and not math.isnan(term)]
        assert abs(value - math.fsum(inside)) <= 1e-14 * math.fsum(map(abs, inside))


@given(EVENTS, ENDS, HORIZONS)
def test_a_window_counts_its_events_and_knows_what_stood_before(events, ends, horizon_s) -> None:
    windows = Timeline.of(arrays(events)[0]).windows(np.array(ends, dtype=np.int64), horizon_s)
    for row, end in enumerate(ends):
        start = end - horizon_s * NS_PER_S
        assert windows.counts[row] == sum(start < at <= end for at, _ in events)
        assert windows.first[row] == sum(at <= start for at, _ in events)


@given(EVENTS, ENDS, HORIZONS)
@example([(BEGIN, -0.0)], [BEGIN, BEGIN + 1], 1)
def test_a_sum_is_the_same_bit_for_bit_whatever_stood_before_and_after(events, ends, horizon_s) -> None:
    whole = sums(events, ends, horizon_s)
    for row, end in enumerate(ends):
        needed = [event for event in events if end - horizon_s * NS_PER_S < event[0] <= end]
        assert sums(needed, [end], horizon_s).tobytes() == whole[row : row + 1].tobytes()


def test_a_small_term_is_not_lost_behind_a_great_one_that_left_the_window() -> None:
    events = [(BEGIN + NS_PER_S // 2, 1e16), (BEGIN + 2 * NS_PER_S, 1e-8), (BEGIN + 2 * NS_PER_S + 5, 1e-8)]
    assert sums(events, [BEGIN + 2 * NS_PER_S + 5], 1).tolist() == [2e-8]


def test_a_crowded_second_is_summed_like_a_quiet_one() -> None:
    events = [(BEGIN + 1 + i, 0.1) for i in range(1_000)] + [(BEGIN + NS_PER_S + 1 + i, 0.1) for i in range(64)]
    one_by_one = 0.0
    for _ in range(700):
        one_by_one += 0.1
    assert sums(events, [BEGIN + 700], 1).tolist() == [one_by_one]
    assert math.isclose(sums(events, [BEGIN + 2 * NS_PER_S + 40], 2)[0], 102.4)


def test_without_events_every_window_is_empty() -> None:
    assert sums([], [BEGIN, BEGIN + 1], 5).tolist() == [0.0, 0.0]
    assert sums([(BEGIN, 1.0)], [], 5).tolist() == []
