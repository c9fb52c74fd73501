from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fluxforge_cli.account.audit import ranges

SOME = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda one: (one[0], one[0] + one[1])), max_size=9)


def numbers(some: object) -> list[int]:
    return [n for first, last in some for n in range(first, last + 1)]  # type: ignore[attr-defined]


def tidy(found: ranges.Ranges) -> bool:
    """Whether ranges rise and neither touch nor overlap."""
    return all(one[1] + 1 < other[0] for one, other in pairwise(found)) and all(first <= last for first, last in found)


@given(st.lists(SOME, max_size=4))
def test_a_union_holds_what_any_holds(sets: list[list[tuple[int, int]]]) -> None:
    found = ranges.union(*sets)
    assert tidy(found)
    assert numbers(found) == sorted({n for some in sets for n in numbers(some)})


@given(SOME, SOME)
def test_what_is_taken_is_no_longer_there(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = ranges.union(one), ranges.union(other)
    left, shared = ranges.minus(a, b), ranges.common(a, b)
    assert tidy(left)
    assert numbers(left) == sorted({*numbers(a)} - {*numbers(b)})
    assert numbers(shared) == sorted({*numbers(a)} & {*numbers(b)})
    assert ranges.union(left, shared) == a


@given(SOME)
def test_what_stands_twice_is_repeated(some: list[tuple[int, int]]) -> None:
    every = numbers(some)
    found = ranges.repeated(some)
    assert tidy(found)
    assert numbers(found) == sorted({n for n in every if every.count(n) > 1})


@given(SOME)
def test_size_and_top_count_and_end(some: list[tuple[int, int]]) -> None:
    found = ranges.union(some)
    assert ranges.size(found) == len(numbers(found))
    assert ranges.top(found) == max(numbers(found), default=0)


def test_empty_ranges_are_nothing() -> None:
    assert ranges.union([(5, 4)], [(1, 2)], [(3, 3)]) == ((1, 3),)
    assert ranges.repeated([(5, 4), (5, 4), (5, 5)]) == ()
