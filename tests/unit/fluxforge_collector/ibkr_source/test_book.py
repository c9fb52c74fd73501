import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.ibkr_source.book import (
    DELETE,
    INSERT,
    UNSETTLED_READS_MAX,
    UPDATE,
    Book,
    RowsBrokenError,
)


def book(*rows: tuple[int, int, float, float, bool], rows_max: int = 5) -> Book:
    made = Book(rows_max)
    apply(made, *rows)
    return made


def apply(made: Book, *rows: tuple[int, int, float, float, bool]) -> None:
    for operation, position, price, size, is_bid in rows:
        made.take(operation, position, (price, size, ""), is_bid=is_bid)


TOUCH = ((INSERT, 0, 10.0, 1.0, True), (INSERT, 0, 11.0, 2.0, False))


def test_a_book_is_told_once_both_sides_stand_at_the_end_of_a_read() -> None:
    made = book(TOUCH[0])
    assert made.settled() is None
    apply(made, TOUCH[1])
    assert made.settled() == ([(10.0, 1.0)], [(11.0, 2.0)])


def test_a_side_that_stays_empty_keeps_no_book_back_that_already_changes() -> None:
    made = book((INSERT, 0, 10.0, 1.0, True), (UPDATE, 0, 10.0, 2.0, True))
    assert made.settled() == ([(10.0, 2.0)], [])


def test_an_insert_shifts_the_rows_below_and_a_delete_shifts_them_back() -> None:
    made = book(*TOUCH, (INSERT, 1, 9.0, 3.0, True), (INSERT, 0, 10.5, 4.0, True))
    assert made.settled() == ([(10.5, 4.0), (10.0, 1.0), (9.0, 3.0)], [(11.0, 2.0)])
    apply(made, (DELETE, 1, 0.0, 0.0, True))
    assert made.settled() == ([(10.5, 4.0), (9.0, 3.0)], [(11.0, 2.0)])


def test_rows_pushed_beyond_the_depth_are_forgotten_and_their_delete_changes_nothing() -> None:
    made = book(*TOUCH, (INSERT, 0, 10.5, 4.0, True), rows_max=1)
    apply(made, (DELETE, 1, 0.0, 0.0, True))
    assert made.settled() == ([(10.5, 4.0)], [(11.0, 2.0)])


@pytest.mark.parametrize("row", [(INSERT, 2, 9.0, 1.0, True), (UPDATE, 3, 9.0, 1.0, True), (7, 0, 9.0, 1.0, True)])
def test_a_row_behind_a_missing_one_breaks_the_book(row: tuple[int, int, float, float, bool]) -> None:
    with pytest.raises(RowsBrokenError, match=f"operation {row[0]} at row {row[1]} of 1"):
        apply(book(*TOUCH), row)


def test_a_change_under_way_is_not_told_until_its_rows_are_in_order() -> None:
    made = book(*TOUCH, (INSERT, 1, 9.0, 3.0, True))
    assert made.settled()
    apply(made, (UPDATE, 0, 9.0, 5.0, True))  # both rows now bear one price
    assert made.settled() is None
    apply(made, (UPDATE, 1, 8.0, 6.0, True))
    assert made.settled() == ([(9.0, 5.0), (8.0, 6.0)], [(11.0, 2.0)])


def test_rows_that_stay_out_of_order_break_the_book() -> None:
    made = book(*TOUCH, (INSERT, 1, 12.0, 3.0, True))
    for _ in range(UNSETTLED_READS_MAX - 1):
        assert made.settled() is None
    with pytest.raises(RowsBrokenError, match="out of order"):
        made.settled()


def test_rows_of_several_makers_at_one_price_are_one_level() -> None:
    made = Book(5)
    for position, maker in enumerate(("ARCA", "NSDQ")):
        made.take(INSERT, position, (10.0, 100.0, maker), is_bid=True)
        made.take(INSERT, position, (11.0 + position, 1.0, maker), is_bid=False)
    assert made.settled() == ([(10.0, 200.0)], [(11.0, 1.0), (12.0, 1.0)])


def test_a_cleared_book_begins_anew() -> None:
    made = book(*TOUCH)
    made.clear()
    apply(made, (INSERT, 0, 20.0, 1.0, True))
    assert made.settled() is None


@given(st.lists(st.tuples(st.floats(0.5, 99.5), st.floats(1, 9)), min_size=1, max_size=30))
def test_prices_inserted_where_they_belong_give_the_best_in_order(levels: list[tuple[float, float]]) -> None:
    made = book((INSERT, 0, 100.0, 1.0, False), rows_max=8)
    held: list[float] = []
    sizes: dict[float, float] = {}
    for price, size in levels:
        if price in sizes:
            continue
        position = sum(other > price for other in held)
        if position >= 8:
            continue
        held = sorted([*held, price], reverse=True)[:8]
        sizes[price] = size
        made.take(INSERT, position, (price, size, ""), is_bid=True)
    assert made.settled() == ([(price, sizes[price]) for price in held], [(100.0, 1.0)])
