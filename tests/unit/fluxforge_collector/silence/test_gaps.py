"""Gaps are remembered in bounded memory, by how usual and how recent they are."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.silence.gaps import HALF_LIFE_NS, Gaps
from fluxforge_collector.silence.limits import NS_PER_S


def learned(values: list[float]) -> Gaps:
    gaps = Gaps(1.0)
    for value in values:
        gaps.add(value, 0)
    return gaps


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=300))
def test_what_is_usual_is_the_99th_percentile_to_within_the_grid_or_the_tail_of_the_mean(values: list[float]) -> None:
    gaps = learned(values)
    exact = sorted(values)[int(0.99 * (len(values) - 1e-9))]
    mean = 4.605 * sum(values) / len(values)
    assert max(exact, mean) * 0.99 <= gaps.usual <= max(exact * 1.26, mean * 1.01)
    assert max(values) * 0.999 <= gaps.longest <= max(values) * 1.26
    assert gaps.known == len(values)


def test_nothing_known_is_nothing_usual() -> None:
    assert (Gaps(1.0).usual, Gaps(1.0).longest, Gaps(1.0).known) == (0.0, 0.0, 0)


def test_a_faster_past_is_forgotten_within_hours_and_one_long_gap_too() -> None:
    gaps, chance = Gaps(1.0), random.Random(1)
    for _ in range(20_000):
        gaps.add(gap := chance.expovariate(1.0), round(gap * NS_PER_S))
    assert gaps.usual == pytest.approx(4.6, rel=0.3)
    gaps.add(500.0, 500 * NS_PER_S)
    assert gaps.longest >= 500
    passed_ns = 0
    while passed_ns < 8 * HALF_LIFE_NS:
        gap = chance.expovariate(0.1)
        gaps.add(gap, round(gap * NS_PER_S))
        passed_ns += round(gap * NS_PER_S)
    assert gaps.usual == pytest.approx(46, rel=0.3)
    assert gaps.longest < 200


def test_a_feed_that_seldom_speaks_keeps_what_it_learned() -> None:
    gaps = Gaps(1.0)
    for gap in [100.0] + [10.0] * 100:
        gaps.add(gap, HALF_LIFE_NS)
    assert gaps.longest >= 100
