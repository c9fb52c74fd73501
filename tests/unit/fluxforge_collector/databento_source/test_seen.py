from fluxforge_collector.databento_source.seen import OVERLAP_NS, REACH_NS, Seen, Stream

TRADES = Stream("trades", 1, 7)
OTHER = Stream("trades", 1, 8)
NOW = 10 * REACH_NS


def add(seen: Seen, *times: int, stream: Stream = TRADES) -> list[bool]:
    return [seen.add(stream, at_ns=at_ns, event_ns=at_ns - 1) for at_ns in times]


def test_nothing_is_replayed_of_what_was_never_seen() -> None:
    assert Seen().begin_ns("trades", NOW) is None


def test_where_nothing_was_seen_a_replay_begins_where_listening_did() -> None:
    assert Seen().begin_ns("trades", NOW, unseen_ns=NOW - 7) == NOW - 7
    assert Seen().begin_ns("trades", NOW, unseen_ns=7) == NOW - REACH_NS


def test_a_replay_begins_a_little_before_the_newest_event_of_the_schema() -> None:
    seen = Seen()
    add(seen, NOW - 50, NOW - 90)
    add(seen, NOW - 70, stream=OTHER)
    add(seen, NOW - 10, stream=Stream("ohlcv-1s", 1, 7))
    assert seen.begin_ns("trades", NOW) == NOW - 51 - OVERLAP_NS


def test_a_replay_begins_no_earlier_than_the_gateway_reaches_back() -> None:
    seen = Seen()
    add(seen, 5)
    assert seen.begin_ns("trades", NOW) == NOW - REACH_NS


def test_while_nothing_is_told_again_everything_is_new() -> None:
    assert add(Seen(), 5, 5, 4, 6) == [True] * 4


def test_what_was_seen_is_told_again_up_to_the_last_of_its_time() -> None:
    seen = Seen()
    add(seen, 4, 5, 5)
    seen.expect_replay("trades")
    assert add(seen, 4, 5, 5, 5, 6) == [False, False, False, True, True]


def test_a_replay_that_breaks_off_and_begins_again_tells_nothing_twice() -> None:
    seen = Seen()
    add(seen, 4, 5)
    seen.expect_replay("trades")
    assert add(seen, 4, 5, 6, 6) == [False, False, True, True]
    seen.expect_replay("trades")
    assert add(seen, 5, 6, 6, 7) == [False, False, False, True]


def test_a_replay_that_breaks_off_before_it_caught_up_loses_nothing() -> None:
    seen = Seen()
    add(seen, 4, 5)
    seen.expect_replay("trades")
    assert add(seen, 4) == [False]
    seen.expect_replay("trades")
    assert add(seen, 4, 5, 6) == [False, False, True]


def test_each_instrument_and_schema_is_known_by_itself() -> None:
    seen = Seen()
    add(seen, 9)
    candles = Stream("ohlcv-1s", 1, 7)
    add(seen, 9, stream=candles)
    seen.expect_replay("trades")
    assert add(seen, 3, stream=OTHER) == [True]
    assert add(seen, 3, stream=candles) == [True]


def test_once_caught_up_late_records_are_new() -> None:
    seen = Seen()
    add(seen, 5)
    seen.expect_replay("trades")
    assert add(seen, 6, 4) == [True, True]
