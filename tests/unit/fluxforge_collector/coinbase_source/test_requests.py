import pytest

from fluxforge_collector.coinbase_source.requests import HEARTBEATS, Request, Requests

BOOKS = Request("subscribe", "level2", ("BTC-USD", "ETH-USD"))
BTC = Request("subscribe", "level2", ("BTC-USD",))
ETH = Request("subscribe", "level2", ("ETH-USD",))


def requests(*first: Request) -> Requests:
    return Requests(first, lambda: 1.0)


def test_the_next_is_asked_when_the_last_was_answered() -> None:
    asking = requests(Request("subscribe", HEARTBEATS), BOOKS)
    assert asking.take(0.0) == Request("subscribe", HEARTBEATS)
    assert asking.take(1.0) is None
    assert asking.waited_s(3.0) == 3.0
    assert asking.granted() == Request("subscribe", HEARTBEATS)
    assert asking.waited_s(3.0) == 0.0
    assert asking.take(4.0) == BOOKS
    assert asking.granted() == BOOKS
    assert asking.take(5.0) is None
    assert asking.granted() is None


def test_a_product_that_is_named_is_left_out_and_the_others_are_asked_for() -> None:
    asking = requests(BOOKS)
    asking.take(0.0)
    assert asking.refused("ETH-USD is not a valid product", 0.0) == ETH
    assert asking.take(0.0) == BTC
    asking.granted()
    assert asking.take(4.9) is None
    assert asking.take(5.0) == ETH


def test_a_name_within_a_name_is_not_that_product() -> None:
    asking = requests(Request("subscribe", "level2", ("ETH-USD", "CBETH-USD")))
    asking.take(0.0)
    assert asking.refused("CBETH-USD is not a valid product", 0.0) == Request("subscribe", "level2", ("CBETH-USD",))
    assert asking.take(0.0) == ETH


def test_a_refusal_without_a_name_is_looked_into_product_by_product() -> None:
    asking = requests(BOOKS)
    asking.take(0.0)
    assert asking.refused("failure to subscribe", 0.0) is None
    assert asking.take(0.0) == BTC
    assert asking.granted() == BTC
    assert asking.take(0.0) == ETH
    assert asking.refused("failure to subscribe", 0.0) == ETH
    assert asking.take(0.0) is None


def test_what_is_refused_again_is_asked_for_later_and_later() -> None:
    asking = requests(BTC)
    now_s, waits = 0.0, []
    for _ in range(8):
        asking.take(now_s)
        asking.refused("no", now_s)
        until_s = next(now_s + wait_s for wait_s in range(1, 400) if asking.take(now_s + wait_s))
        waits.append(until_s - now_s)
        asking.refused("no", now_s)
        now_s = 10_000.0 + until_s
    assert waits[0] == 5.0
    assert waits == sorted(waits)
    assert waits[-1] == 300.0


@pytest.mark.parametrize("reason", ["rate limit exceeded", "Too many requests", "ratelimit"])
def test_a_busy_venue_is_asked_the_same_again(reason: str) -> None:
    asking = requests(BOOKS, BTC)
    asking.take(0.0)
    assert asking.refused(reason, 0.0) == Request("subscribe", "level2")
    assert not asking.is_due(0.9)
    assert asking.take(0.9) is None
    assert asking.take(1.0) == BOOKS


def test_products_are_left_before_they_are_subscribed_anew() -> None:
    asking = requests()
    asking.renew("level2", ("BTC-USD",), 2.0)
    asking.renew("level2", ("BTC-USD", "ETH-USD"), 2.0)
    assert asking.take(1.9) is None
    asked = []
    for _ in range(4):
        asked.append(asking.take(2.0))
        asking.granted()
    assert asked == [
        Request("unsubscribe", "level2", ("BTC-USD",)),
        BTC,
        Request("unsubscribe", "level2", ("ETH-USD",)),
        ETH,
    ]


@pytest.mark.parametrize("reason", ["rate limit exceeded", "not now", "ETH-USD cannot be left"])
def test_products_are_never_left_after_they_were_subscribed_anew(reason: str) -> None:
    asking = requests()
    asking.renew("level2", ("BTC-USD", "ETH-USD"), 0.0)
    assert asking.take(0.0) == Request("unsubscribe", "level2", ("BTC-USD", "ETH-USD"))
    asking.refused(reason, 0.0)
    asked = []
    while request := asking.take(50.0):
        asked.append(request.type)
        asking.granted()
    assert asked[-1] == "subscribe"
    assert set(asked[:-1]) == {"unsubscribe"}


def test_a_refused_unsubscribe_is_not_asked_again() -> None:
    asking = requests(Request("unsubscribe", "level2", ("BTC-USD",)))
    asking.take(0.0)
    assert asking.refused("not subscribed", 0.0) == Request("unsubscribe", "level2", ("BTC-USD",))
    assert asking.take(1000.0) is None


def test_a_refusal_of_nothing_that_was_asked_is_nobody_s() -> None:
    assert requests().refused("no", 0.0) is None
