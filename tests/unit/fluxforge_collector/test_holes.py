from fluxforge.domain.control import Event, FeedKey
from fluxforge_collector.holes import NEVER_NS, REPEAT_NS, Holes

BOOK = FeedKey("orderbook", "BTC-USDT")
TRADES = FeedKey("trades", "BTC-USDT")


def opened(*, event: Event = Event.STARTED, at_ns: int = 100) -> Holes:
    holes = Holes("9f3c21ab")
    holes.open(event, [BOOK, TRADES], reason=None, from_ns=at_ns, at_ns=at_ns)
    return holes


def test_each_feed_leaves_a_shared_hole_by_a_record_of_its_own() -> None:
    holes = opened()
    (book,) = holes.close(BOOK, at_ns=200)
    assert (book.event, book.hole, book.scope) == (Event.RESYNCED, "9f3c21ab:1", BOOK)
    assert (book.from_ns, book.to_ns) == (100, 200)
    assert holes.is_open(TRADES)
    (trades,) = holes.close(TRADES, at_ns=300)
    assert (trades.event, trades.hole) == (Event.RECOVERED, "9f3c21ab:1")
    assert not holes.is_open(TRADES)


def test_a_feed_leaves_all_its_holes_at_once_oldest_first() -> None:
    holes = opened()
    holes.open(Event.DISCONNECTED, [BOOK], reason="1006", from_ns=150, at_ns=150)
    assert [control.hole for control in holes.close(BOOK, at_ns=200)] == ["9f3c21ab:1", "9f3c21ab:2"]
    assert [control.reason for control in opened().close(BOOK, at_ns=200)] == [None]


def test_a_sound_feed_has_nothing_to_close() -> None:
    holes = opened()
    holes.close(BOOK, at_ns=200)
    assert holes.close(BOOK, at_ns=300) == []


def test_an_open_hole_is_told_again_at_the_latest_after_the_repeat_time() -> None:
    holes = opened()
    holes.close(BOOK, at_ns=200)
    assert holes.due_ns == 100 + REPEAT_NS
    assert holes.repeats(99 + REPEAT_NS) == []
    (repeat,) = holes.repeats(100 + REPEAT_NS)
    assert repeat.repeat
    assert (repeat.event, repeat.hole, repeat.feeds, repeat.from_ns) == (Event.STARTED, "9f3c21ab:1", (TRADES,), 100)
    assert holes.due_ns == 100 + 2 * REPEAT_NS


def test_nothing_is_due_once_every_hole_is_closed() -> None:
    holes = opened()
    holes.close(BOOK, at_ns=200)
    holes.close(TRADES, at_ns=200)
    assert holes.due_ns == NEVER_NS
    assert holes.repeats(10 * REPEAT_NS) == []


def test_the_time_in_holes_counts_once_however_many_hold_a_feed() -> None:
    holes = opened()
    assert (holes.spent_ns(BOOK, 150), holes.spent_ns(TRADES, 150)) == (50, 50)
    holes.open(Event.DISCONNECTED, [BOOK], reason=None, from_ns=150, at_ns=150)
    holes.close(BOOK, at_ns=200)
    holes.close(BOOK, at_ns=300)
    assert (holes.spent_ns(BOOK, 1000), holes.spent_ns(TRADES, 1000)) == (100, 900)
    holes.open(Event.STALLED, [BOOK], reason=None, from_ns=1000, at_ns=1500)
    assert holes.spent_ns(BOOK, 1500) == 100 + 500
    holes.open(Event.GAP, [BOOK], reason=None, from_ns=1600, at_ns=1600)
    holes.close(BOOK, at_ns=1700)
    assert holes.spent_ns(BOOK, 5000) == 100 + 700
    assert holes.spent_ns(FeedKey("ticker", "BTC-USDT"), 5000) == 0


def test_the_time_in_which_a_feed_was_not_wanted_is_in_no_hole() -> None:
    holes = opened()
    holes.leave(BOOK, at_ns=150)
    assert holes.spent_ns(BOOK, 10_000) == 50
    holes.open(Event.STARTED, [BOOK], reason=None, from_ns=10_000, at_ns=10_000)
    holes.close(BOOK, at_ns=10_007)
    assert holes.spent_ns(BOOK, 20_000) == 57
