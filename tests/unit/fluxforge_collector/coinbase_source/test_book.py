import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.coinbase_source.book import Book, number

Updates = list[dict[str, str]]


def level(side: str, price: str, size: str) -> dict[str, str]:
    return {"side": side, "event_time": "2026-08-09T21:05:48.1Z", "price_level": price, "new_quantity": size}


def book() -> Book:
    return Book(
        [
            level("bid", "99.5", "1"),
            level("bid", "100", "2"),
            level("offer", "101.5", "3"),
            level("offer", "101", "4"),
            level("offer", "102", "0"),
        ]
    )


def test_both_sides_are_told_best_first() -> None:
    assert book().top(5) == ([(100.0, 2.0), (99.5, 1.0)], [(101.0, 4.0), (101.5, 3.0)])


def test_no_more_than_the_depth_is_told() -> None:
    assert book().top(1) == ([(100.0, 2.0)], [(101.0, 4.0)])


def test_a_level_is_set_added_and_taken_away() -> None:
    changed = book()
    changed.apply(
        [
            level("bid", "100.00", "7"),
            level("bid", "99.75", "5"),
            level("offer", "101", "0"),
            level("offer", "100.5", "1"),
            level("offer", "555", "0"),
        ]
    )
    assert changed.top(5) == ([(100.0, 7.0), (99.75, 5.0), (99.5, 1.0)], [(100.5, 1.0), (101.5, 3.0)])


@pytest.mark.parametrize(
    "bad",
    [
        level("ask", "1", "1"),
        level("bid", "nan", "1"),
        level("bid", "1", "inf"),
        level("bid", "", "1"),
        {"side": "bid"},
    ],
)
def test_what_is_no_level_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Book([bad])
    with pytest.raises((KeyError, ValueError)):
        book().apply([bad])


def test_a_number_that_json_cannot_write_is_none() -> None:
    assert number("1e2") == 100.0
    with pytest.raises(ValueError, match="expected a number, was '1e999'"):
        number("1e999")


levels = st.builds(
    level,
    st.sampled_from(["bid", "offer"]),
    st.integers(1, 30).map(lambda ticks: f"{ticks / 4}"),
    st.integers(0, 4).map(str),
)


@given(st.lists(levels), st.lists(st.lists(levels)), st.integers(1, 8))
def test_a_book_is_what_its_last_sizes_say(whole: Updates, changes: list[Updates], depth: int) -> None:
    kept = Book(whole)
    for updates in changes:
        kept.apply(updates)
    sizes: dict[str, dict[float, float]] = {"bid": {}, "offer": {}}
    for update in [*whole, *(update for updates in changes for update in updates)]:
        sizes[update["side"]][float(update["price_level"])] = float(update["new_quantity"])
    bids, asks = (sorted((p, s) for p, s in sizes[side].items() if s) for side in ("bid", "offer"))
    assert kept.top(depth) == (bids[::-1][:depth], asks[:depth])
