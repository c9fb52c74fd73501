import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.databento_source.book import OrderBook, UnknownOrderError

MOVES = st.tuples(st.sampled_from("ACMR"), st.integers(1, 6), st.integers(1, 8), st.integers(0, 5), st.booleans())


def test_orders_of_one_price_are_one_level_and_the_best_comes_first():
    book = OrderBook()
    book.add(1, 100, 5, is_bid=True)
    book.add(2, 100, 2, is_bid=True)
    book.add(3, 99, 1, is_bid=True)
    book.add(4, 101, 4, is_bid=False)
    book.add(5, 102, 4, is_bid=False)
    assert book.bids(10) == [(100, 7), (99, 1)]
    assert book.asks(1) == [(101, 4)]
    book.cancel(1, 3)
    book.cancel(2, 2)
    assert book.bids(10) == [(100, 2), (99, 1)]


def test_a_cancel_of_an_order_that_is_not_there_is_told():
    with pytest.raises(UnknownOrderError, match="order 9 is not in the book"):
        OrderBook().cancel(9, 1)


def test_a_side_of_one_level_replaces_what_stood_there():
    book = OrderBook()
    book.add(1, 100, 5, is_bid=True)
    book.add(2, 103, 5, is_bid=False)
    book.replace_side(101, 2, is_bid=True)
    assert (book.bids(5), book.asks(5)) == ([(101, 2)], [(103, 5)])
    book.replace_side(None, 0, is_bid=True)
    assert book.bids(5) == []


@given(st.lists(MOVES, max_size=60))
def test_levels_are_the_sums_of_the_orders_that_rest(moves):
    book, orders = OrderBook(), {}
    for action, order_id, price, size, is_bid in moves:
        if action == "R":
            book.clear()
            orders.clear()
        elif action == "C":
            if order_id not in orders:
                with pytest.raises(UnknownOrderError):
                    book.cancel(order_id, size)
                continue
            book.cancel(order_id, size)
            side, at, left = orders.pop(order_id)
            if left > size:
                orders[order_id] = side, at, left - size
        else:
            book.add(order_id, price, size, is_bid=is_bid)
            orders.pop(order_id, None)
            if size:
                orders[order_id] = is_bid, price, size
    assert len(book) == len(orders)
    assert book.bids(99) == levels(orders, is_bid=True)
    assert book.asks(99) == levels(orders, is_bid=False)


def levels(orders, *, is_bid):
    prices = {price for side, price, _ in orders.values() if side is is_bid}
    found = [(p, sum(size for s, at, size in orders.values() if (s, at) == (is_bid, p))) for p in prices]
    return sorted(found, reverse=is_bid)
