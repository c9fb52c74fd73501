import hashlib

import pytest

from fluxforge.domain.control import After, Event, FeedKey
from fluxforge.domain.record import Feed
from fluxforge_collector.holes import REPEAT_NS
from fluxforge_collector.lane_feed import Recovery
from fluxforge_collector.settings import Limits
from tests.unit.fluxforge_collector.made import BEGIN_NS, BOOK, BOOT, SECOND_NS, TRADES, Desk

BOOK_KEY = FeedKey("orderbook", "BTC-USDT")
TRADES_KEY = FeedKey("trades", "BTC-USDT")


def events_of(desk: Desk) -> list[str]:
    return [line.event or f"{line.channel} {line.seq}" for line in desk.lines()]


def test_a_feed_is_unsound_from_started_until_its_first_record() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.record()
    desk.record()
    desk.record(desk.trades)
    assert events_of(desk) == ["started", "resynced", "orderbook 1", "orderbook 2", "recovered", "trades 1"]
    started, resynced = desk.controls[:2]
    assert started.feeds == (BOOK_KEY, TRADES_KEY)
    assert (resynced.hole, resynced.scope, resynced.from_ns) == (f"{BOOT}:1", BOOK_KEY, BEGIN_NS)
    assert resynced.to_ns == BEGIN_NS + 1_000_000
    assert not desk.book.unsound


def test_capture_times_rise_strictly_over_records_and_control_records() -> None:
    desk = Desk()
    desk.writer.start(None)
    for _ in range(5):
        desk.record(pass_ns=0)
        desk.record(desk.trades, pass_ns=0)
    times = [line.capture_ns for line in desk.lines()]
    assert times == list(range(BEGIN_NS, BEGIN_NS + len(times)))


def test_seqs_count_each_feed_and_the_control_records_without_a_hole() -> None:
    desk = Desk()
    desk.writer.start(None)
    for _ in range(3):
        desk.record()
        desk.record(desk.trades)
    desk.writer.stop("shutdown")
    seqs: dict[str, list[int]] = {}
    for line in desk.lines():
        seqs.setdefault(line.channel, []).append(line.seq)
    assert seqs == {"orderbook": [1, 2, 3], "trades": [1, 2, 3], "control": [1, 2, 3, 4]}
    assert desk.writer.captured == 10


def test_started_says_where_the_lane_stood() -> None:
    desk = Desk(last_ns=BEGIN_NS + 50)
    desk.writer.start(After("0ld", 9, BEGIN_NS + 50))
    (started,) = desk.lines()
    assert started.control.after == After("0ld", 9, BEGIN_NS + 50)
    assert started.capture_ns == BEGIN_NS + 51


def test_a_disconnect_opens_a_hole_that_the_next_record_closes() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.record()
    desk.writer.note(Event.DISCONNECTED, [desk.book], reason="closed with code 1006", conn=3)
    assert desk.book.unsound
    desk.record()
    disconnected, resynced = desk.controls[-2:]
    assert (disconnected.hole, disconnected.scope, disconnected.reason) == (
        f"{BOOT}:2",
        BOOK_KEY,
        "closed with code 1006",
    )
    assert (resynced.event, resynced.hole, resynced.from_ns) == (Event.RESYNCED, f"{BOOT}:2", disconnected.from_ns)


def test_what_is_told_late_is_marked_and_makes_no_feed_sound() -> None:
    desk = Desk()
    desk.record(desk.trades, b'[{"price":1}]')
    desk.writer.note(Event.DISCONNECTED, [desk.trades])
    desk.writer.record(desk.trades, b'[{"price":2}]', exchange_ms=9, at_ns=desk.writer.now(), conn=2, backfill=True)
    assert desk.trades.unsound
    assert (desk.trades.last_data, desk.trades.last_ms) == (b'[{"price":1}]', 5)
    desk.record(desk.trades)
    assert events_of(desk) == ["trades 1", "disconnected", "trades 2", "recovered", "trades 3"]
    marked = [b'"source_kind":"backfill"' in line for block in desk.taken for line in block.payload.splitlines()]
    assert marked == [False, False, True, False, False]


def test_events_that_leave_feeds_sound_open_no_hole() -> None:
    desk = Desk()
    desk.writer.note(Event.SUBSCRIBED, [desk.book, desk.trades])
    assert desk.controls[-1].hole is None
    assert desk.controls[-1].feeds == (BOOK_KEY, TRADES_KEY)


def test_no_record_enters_later_than_the_repeat_time_after_an_open_hole_was_told() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.record()  # the book recovers, trades do not
    for _ in range(70):
        desk.record(pass_ns=SECOND_NS)
    told_ns = 0
    repeats = 0
    for line in desk.lines():
        if line.event == "started":
            told_ns = line.capture_ns
            repeats += line.control.repeat
            assert line.control.hole == f"{BOOT}:1"
        assert line.capture_ns < told_ns + REPEAT_NS
    assert repeats == 2
    assert desk.controls[-1].feeds == (TRADES_KEY,)


def test_a_repeat_has_a_capture_time_of_its_own_before_the_record_that_met_it() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.record(pass_ns=REPEAT_NS)
    assert events_of(desk)[:2] == ["started", "started"]
    times = [line.capture_ns for line in desk.lines()]
    assert times == sorted(set(times))


def test_a_feed_in_several_holes_leaves_each_at_a_capture_time_of_its_own() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.writer.note(Event.DISCONNECTED, [desk.book])
    desk.record()
    *_, first, second, record = desk.lines()
    assert [(line.event, line.control.hole) for line in (first, second)] == [
        ("resynced", f"{BOOT}:1"),
        ("resynced", f"{BOOT}:2"),
    ]
    assert first.capture_ns < second.capture_ns < record.capture_ns


def test_dropped_names_exactly_what_was_lost_before_the_first_record_accepted_after() -> None:
    desk = Desk(limits=Limits(block_records_max=1, waiting_records_max=4))
    desk.writer.start(None)
    while not desk.buffer.refusing:
        desk.record()
    kept = desk.book.seq
    for _ in range(5):
        desk.record()
    desk.record(desk.trades)
    assert desk.writer.dropped == 6
    taken = desk.lines()
    assert not desk.buffer.refusing
    desk.record()
    after = desk.lines()[len(taken) :]
    assert [line.event or line.channel for line in after] == ["dropped", "dropped", "resynced", "orderbook"]
    book, trades = after[0].control, after[1].control
    assert (book.scope, book.count, book.detail) == (BOOK_KEY, 5, {"first_seq": kept + 1, "last_seq": kept + 5})
    assert (trades.scope, trades.count, trades.detail) == (TRADES_KEY, 1, {"first_seq": 1, "last_seq": 1})
    assert after[-1].seq == kept + 6


def test_what_is_still_dropped_at_the_end_is_named_before_stopped() -> None:
    desk = Desk(limits=Limits(block_records_max=1, waiting_records_max=2))
    while not desk.buffer.refusing:
        desk.record()
    desk.record()
    desk.writer.stop("shutdown")
    dropped, stopped = desk.lines()[-2:]
    assert (dropped.event, dropped.data["count"], stopped.event) == ("dropped", 1, "stopped")
    assert stopped.control.reason == "shutdown"


def test_a_record_that_is_too_large_is_rejected_by_size_and_checksum_and_the_feed_lives_on() -> None:
    desk = Desk(limits=Limits(record_bytes_max=400))
    desk.record(data=b'"%b"' % (b"x" * 400))
    desk.record()
    rejected = next(line.control for line in desk.lines() if line.event == "rejected")
    assert rejected.scope == BOOK_KEY
    assert rejected.detail is not None
    assert rejected.detail["seq"] == 1
    assert len(str(rejected.detail["sha256"])) == len(hashlib.sha256().hexdigest())
    assert [line.seq for line in desk.lines() if line.channel == "orderbook"] == [2]
    assert desk.writer.dropped == 1


def test_a_record_of_just_the_greatest_size_is_entered_and_one_byte_more_is_rejected() -> None:
    desk = Desk()
    desk.record(data=b'"x"')
    size_bytes = len(desk.buffer.held()[0].payload)
    desk = Desk(limits=Limits(record_bytes_max=size_bytes))
    desk.record(data=b'"x"')
    desk.record(data=b'"xx"')
    assert events_of(desk) == ["orderbook 1", "rejected"]


@pytest.mark.parametrize(("step_ns", "reason"), [(SECOND_NS, "forward"), (-SECOND_NS, "backward")])
def test_a_clock_step_is_told_before_the_record_that_met_it(step_ns: int, reason: str) -> None:
    desk = Desk()
    desk.record()
    desk.clock.step_wall(step_ns)
    desk.record()
    *_, step, record = desk.lines()
    assert (step.event, step.control.reason, record.channel) == ("clock_step", reason, "orderbook")
    assert step.control.detail == {"step_ns": step_ns}


def test_a_feed_that_was_not_announced_is_a_defect() -> None:
    desk = Desk(feeds=(Desk().feeds[0],))
    with pytest.raises(KeyError):
        desk.writer.feed(Desk().feeds[1])


def test_every_control_record_names_the_markets_whose_id_is_another_and_no_other() -> None:
    plain = Feed("ccxt", "binance", "trades", "BTC-USD")
    desk = Desk(feeds=(BOOK, plain))
    desk.writer.start(None)
    desk.record()
    desk.writer.note(Event.GAP, [desk.trades])
    desk.clock.advance(REPEAT_NS)
    desk.record()
    desk.writer.note(Event.CONNECTED)
    desk.writer.stop("done")
    controls = [line.control for line in desk.lines() if line.channel == "control"]
    assert {control.event for control in controls} >= {Event.STARTED, Event.RESYNCED, Event.GAP, Event.STOPPED}
    assert any(control.repeat for control in controls)
    for control in controls:
        names_book = BOOK_KEY in control.concerned()
        assert control.markets == ({"BTC-USDT": "BTC/USDT"} if names_book else None)


ETH = Feed("ccxt", "binance", "orderbook", "ETH/USDT")
ETH_KEY = FeedKey("orderbook", "ETH-USDT")


def test_a_feed_that_is_added_is_unsound_until_its_first_record_and_nothing_is_said_of_the_others() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.record()
    (eth,) = desk.writer.add([ETH], "wanted")
    assert eth.unsound
    desk.record()
    desk.record(eth)
    assert events_of(desk)[3:] == ["started", "orderbook 2", "resynced", "orderbook 1"]
    started, resynced = desk.controls[2:]
    assert (started.scope, started.reason, started.after) == (ETH_KEY, "wanted", None)
    assert (resynced.scope, resynced.hole) == (ETH_KEY, started.hole)
    assert desk.writer.feed(ETH) is eth in desk.writer.feeds


def test_a_feed_that_is_removed_is_named_and_its_holes_are_told_no_more() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.record()
    desk.writer.remove([desk.trades], "not wanted")
    stopped = desk.controls[-1]
    assert (stopped.event, stopped.concerned(), stopped.reason) == (Event.STOPPED, (TRADES_KEY,), "not wanted")
    assert not stopped.ends_boot
    desk.record(pass_ns=2 * REPEAT_NS)
    assert [control for control in desk.controls if control.repeat] == []
    desk.writer.stop("shutdown")
    assert desk.controls[-1].concerned() == (BOOK_KEY,)
    assert desk.controls[-1].ends_boot


def test_a_feed_that_comes_back_goes_on_counting_and_what_it_dropped_stays_counted() -> None:
    desk = Desk()
    desk.writer.start(None)
    desk.record(desk.trades)
    desk.writer.remove([desk.trades], "not wanted")
    captured = desk.writer.captured
    (trades,) = desk.writer.add([desk.feeds[-1]], "wanted again")
    desk.record(trades)
    assert trades is desk.trades
    assert [line.seq for line in desk.lines() if line.channel == "trades"] == [1, 2]
    assert desk.writer.captured == captured + 3  # started, recovered and the record


def test_drops_of_a_feed_are_named_before_it_goes() -> None:
    desk = Desk(limits=Limits(waiting_records_max=1))
    desk.writer.start(None)
    for _ in range(5):
        desk.record(desk.trades)
    assert desk.trades.dropped
    desk.writer.remove([desk.trades], "not wanted")
    assert [control.event for control in desk.controls[-2:]] == [Event.DROPPED, Event.STOPPED]


def recoveries_of(desk: Desk) -> list[Recovery]:
    found: list[Recovery] = []
    desk.writer.on_recovered(found.append)
    return found


def test_what_a_new_boot_missed_is_told_of_the_feeds_it_began_with_once() -> None:
    desk = Desk()
    found = recoveries_of(desk)
    ended_ns = BEGIN_NS - 60 * SECOND_NS
    desk.writer.start(After("0ld", 9, ended_ns))
    desk.record(desk.trades, b'[{"id":"1"}]')
    desk.record(desk.trades, b'[{"id":"2"}]')
    assert found == [Recovery(desk.trades, ended_ns, b"", b'[{"id":"1"}]')]
    desk.writer.note(Event.DISCONNECTED, [desk.trades])
    lost_ns = desk.controls[-1].from_ns
    desk.record(desk.trades, b'[{"id":"3"}]')
    assert found[1:] == [Recovery(desk.trades, lost_ns or 0, b'[{"id":"2"}]', b'[{"id":"3"}]')]


def test_a_feed_that_is_added_has_nothing_behind_it_to_fetch() -> None:
    desk = Desk(feeds=(BOOK, TRADES))
    found = recoveries_of(desk)
    desk.writer.start(After("0ld", 9, BEGIN_NS - 60 * SECOND_NS))
    desk.clock.advance(6 * 3_600 * SECOND_NS)
    (eth,) = desk.writer.add([ETH], "wanted")
    desk.record(eth)
    assert found == []
    desk.writer.note(Event.DISCONNECTED, [eth])
    desk.record(eth)
    assert [recovery.feed for recovery in found] == [eth]


def test_the_time_in_which_a_feed_was_not_wanted_is_not_fetched_and_in_no_hole() -> None:
    desk = Desk()
    found = recoveries_of(desk)
    desk.writer.start(After("0ld", 9, BEGIN_NS - 60 * SECOND_NS))
    desk.record(desk.trades)
    spent_ns = desk.writer.spent_ns(desk.trades, desk.clock.wall_ns())
    found.clear()
    for feed in (desk.trades, desk.book):
        desk.writer.remove([feed], "not wanted")
        desk.clock.advance(10 * 3_600 * SECOND_NS)
        desk.writer.add([BOOK if feed is desk.book else TRADES], "wanted again")
        assert (feed.last_data, feed.last_ms, feed.last_ns) == (b"", None, 0)
        desk.record(feed)
    assert found == []
    assert desk.writer.spent_ns(desk.trades, desk.clock.wall_ns()) < spent_ns + SECOND_NS
