"""Features of one book: the same bits whatever other books are worked on beside it."""

import numpy as np
import pytest

from fluxforge_etl_worker.columns import F64, I64, Side
from fluxforge_etl_worker.features.ladder import ladders
from fluxforge_etl_worker.features.registry import structural, structural_features

BOOKS = 3_000


def made_sides() -> tuple[Side, Side]:
    """Return books of 1 to 60 levels, some with steps of a tick and some of ten, and sizes from 1e-8 to 1e12."""
    made = np.random.default_rng(5)
    mid = 100 + np.cumsum(made.integers(-1, 2, BOOKS)) * 0.01
    sides = []
    for sign in (-1, 1):
        counts = made.integers(1, 60, BOOKS)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        level = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        step = np.repeat(made.choice([0.01, 0.1], BOOKS), counts)
        sizes = 10.0 ** made.uniform(-8, 12, offsets[-1])
        sides.append(Side(np.repeat(mid, counts) + sign * (0.01 + level * step), sizes, offsets))
    return sides[0], sides[1]


def columns_of(sides: tuple[Side, Side], rows: I64) -> dict[str, F64 | I64]:
    blocks = [structural(books, 10) for books in ladders(*sides, rows)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


SIDES = made_sides()
WHOLE = columns_of(SIDES, np.arange(BOOKS))


@pytest.mark.parametrize("count", [1, 2, 17, 1_000])
def test_no_bit_of_a_book_depends_on_the_books_beside_it(count: int) -> None:
    for first in range(0, BOOKS - count, 211):
        rows = np.arange(first, first + count)
        for name, values in columns_of(SIDES, rows).items():
            assert values.tobytes() == WHOLE[name][rows].tobytes(), name


def test_the_registry_names_what_is_computed_in_order() -> None:
    assert sorted(WHOLE) == sorted(feature.name for feature in structural_features(10))
