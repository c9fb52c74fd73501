"""How many values of a range exceed a threshold: exact, against a plain count."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_etl_worker.features.ranks import count_above

VALUES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.1, 0.2, 0.3])), max_size=80)
THRESHOLDS = st.one_of(st.floats(-0.1, 1.1), st.sampled_from([0.1, 0.2, 0.3, float("nan")]))


@given(VALUES, st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80), THRESHOLDS), max_size=40))
def test_counts_equal_those_of_a_plain_loop(values, ranges) -> None:
    bounds = [sorted((min(a, len(values)), min(b, len(values)))) for a, b, _ in ranges]
    found = count_above(
        np.array(values, dtype=np.float64),
        np.array([first for first, _ in bounds], dtype=np.int64),
        np.array([stop for _, stop in bounds], dtype=np.int64),
        np.array([threshold for *_, threshold in ranges], dtype=np.float64),
    )
    expected = [
        sum(value > threshold for value in values[first:stop])
        for (first, stop), (*_, threshold) in zip(bounds, ranges, strict=True)
    ]
    assert found.tolist() == expected


def test_counts_of_many_values_are_exact() -> None:
    made = np.random.default_rng(7)
    values = made.integers(0, 500, 20_000).astype(np.float64)
    first = made.integers(0, 20_000, 3_000)
    stop = np.minimum(first + made.integers(0, 4_000, 3_000), 20_000)
    threshold = made.integers(-1, 501, 3_000).astype(np.float64)
    expected = [int((values[a:b] > limit).sum()) for a, b, limit in zip(first, stop, threshold, strict=True)]
    assert count_above(values, first, stop, threshold).tolist() == expected
