from dataclasses import replace

import pytest

from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.segment import PreviousSegment
from fluxforge_etl_worker.history import History
from fluxforge_etl_worker.pipeline import Neighbours, forge
from tests.unit.fluxforge_etl_worker.samples import ASKS, BIDS, OPTIONS, T0, Recording, S, forged, manifest_of, rows_of

BOOK = FeedKey("orderbook", "BTC-USDT")
TRADES = FeedKey("trades", "BTC-USDT")


def test_every_control_record_gives_a_row_per_affected_feed():
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    gap = Control(
        Event.GAP,
        hole="b:1",
        scope=BOOK,
        reason="sequence",
        from_ns=T0 + 5,
        count=3,
        markets={"BTC-USDT": "BTC/USDT"},
    )
    recording.control(T0 + S, gap)
    recording.control(T0 + 2 * S, Control(Event.DISCONNECTED, feeds=(BOOK, TRADES), reason="reset"))
    rows = rows_of(forged(recording.body), "coverage")
    assert [(row["event"], row["channel"], row["symbol"]) for row in rows] == [
        ("gap", "orderbook", "BTC-USDT"),
        ("disconnected", "orderbook", "BTC-USDT"),
        ("disconnected", "trades", "BTC-USDT"),
    ]
    first = rows[0]
    assert (first["hole"], first["from_ns"], first["to_ns"], first["count"]) == ("b:1", T0 + 5, None, 3)
    assert (first["market"], first["detector"], first["boot"], first["seq"]) == ("BTC/USDT", "collector", "9f3c21ab", 1)
    assert first["ts_ns"] == T0
    assert rows[1]["from_ns"] == T0 + 2 * S


def test_the_market_of_a_row_is_told_by_its_own_record_whatever_else_the_segment_holds():
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    recording.control(T0 + S, Control(Event.GAP, scope=BOOK))
    other = FeedKey("trades", "BTC-USD_USD")
    markets = {"BTC-USDT": "BTC/USDT", "BTC-USD_USD": "BTC/USD:USD"}
    started = Control(Event.STARTED, feeds=(BOOK, other), after=After("gone", 1, T0 + S), markets=markets)
    recording.control(T0 + 2 * S, started)
    recording.book(T0 + 3 * S, [], ASKS)
    rows = [(row["event"], row["market"]) for row in rows_of(forged(recording.body), "coverage")]
    assert sorted(rows) == [
        ("crash", "BTC/USD:USD"),
        ("crash", "BTC/USDT"),
        ("empty", "BTC/USDT"),
        ("gap", "BTC-USDT"),
        ("started", "BTC/USD:USD"),
        ("started", "BTC/USDT"),
    ]


def test_a_record_that_names_no_feed_speaks_of_the_whole_lane():
    recording = Recording()
    recording.control(T0, Control(Event.CLOCK_STEP, reason="forward"))
    (row,) = rows_of(forged(recording.body), "coverage")
    assert (row["channel"], row["symbol"], row["market"]) == ("*", "*", "*")


@pytest.mark.parametrize(
    ("bids", "asks", "event"),
    [
        ([], ASKS, "empty"),
        (BIDS, [], "empty"),
        ([], [], "empty"),
        (BIDS, [[100.0, 1.0]], "crossed"),
        ([[-1.0, 1.0]], ASKS, "crossed"),
        ([[99.0, 1.0], [100.0, 1.0]], ASKS, "crossed"),
        (BIDS, [[101.0, -1.0]], "crossed"),
        ([[0.0, 1.0]], ASKS, "crossed"),
    ],
)
def test_an_invalid_book_is_listed_gives_no_features_and_stays_in_books(bids, asks, event):
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    recording.book(T0 + S, bids, asks)
    recording.book(T0 + 3 * S, BIDS, ASKS)
    result = forged(recording.body)
    (row,) = rows_of(result, "coverage")
    assert (row["event"], row["from_ns"], row["to_ns"], row["seq"], row["detector"]) == (
        event,
        T0 + S,
        T0 + S,
        2,
        "etl",
    )
    assert [found["seq"] for found in rows_of(result, "orderbook/hf")] == [1, 3]
    assert [found["seq"] for found in rows_of(result, "orderbook/books")] == [1, 2, 3]
    assert [found["n_updates"] for found in rows_of(result, "orderbook/bars") if found["duration"] == 1] == [1, 1]


def test_a_start_without_a_stop_before_it_is_a_crash_hole_per_feed():
    recording = Recording(boot="01dboot0")
    recording.book(T0, BIDS, ASKS)
    recording.boot = "newboot0"
    started = Control(Event.STARTED, feeds=(BOOK, TRADES), after=After("01dboot0", 4, T0))
    recording.control(T0 + 9 * S, started)
    rows = [row for row in rows_of(forged(recording.body), "coverage") if row["event"] == "crash"]
    assert [(row["channel"], row["from_ns"], row["to_ns"]) for row in rows] == [
        ("orderbook", T0, T0 + 9 * S),
        ("trades", T0, T0 + 9 * S),
    ]


def test_a_start_after_a_stop_is_no_crash():
    recording = Recording(boot="01dboot0")
    recording.book(T0, BIDS, ASKS)
    recording.control(T0 + 1, Control(Event.STOPPED, feeds=(BOOK,)))
    recording.boot = "newboot0"
    recording.control(T0 + 9 * S, Control(Event.STARTED, feeds=(BOOK,), after=After("01dboot0", 4, T0 + 1)))
    assert [row["event"] for row in rows_of(forged(recording.body), "coverage")] == ["stopped", "started"]


def test_a_stop_of_some_feeds_does_not_hide_that_their_collector_crashed_later():
    recording = Recording(boot="01dboot0")
    recording.book(T0, BIDS, ASKS)
    recording.control(T0 + 1, Control(Event.STOPPED, hole="01dboot0:7", feeds=(TRADES,)))
    recording.boot = "newboot0"
    recording.control(T0 + 9 * S, Control(Event.STARTED, feeds=(BOOK,), after=After("01dboot0", 4, T0 + 1)))
    assert [row["event"] for row in rows_of(forged(recording.body), "coverage")] == ["stopped", "crash", "started"]


def test_a_start_that_reaches_back_to_what_is_gone_names_no_crash():
    recording = Recording()
    recording.control(T0, Control(Event.STARTED, feeds=(BOOK,), after=After("01dboot0", 4, T0 - S)))
    assert [row["event"] for row in rows_of(forged(recording.body), "coverage")] == ["started"]


def test_what_was_gone_before_it_was_sealed_is_a_hole_of_the_whole_lane():
    recording = Recording()
    recording.ticker(T0 + S)
    recording.ticker(T0 + 9 * S)
    manifest = manifest_of(recording.body, first=T0 + S, last=T0 + 9 * S)
    torn = replace(manifest, holes=((2, 4), (7, 7)), previous=PreviousSegment("before", 1, T0))
    rows = rows_of(
        forge(torn, OPTIONS, lambda: [recording.body], Neighbours(lambda: History.of_lane_start(T0), lambda _: None)),
        "coverage",
    )
    assert {(row["event"], row["channel"], row["symbol"], row["market"], row["detector"]) for row in rows} == {
        ("lost", "*", "*", "*", "etl")
    }
    stream = "MD_ccxt_binance_0of1_1"
    assert [(row["hole"], row["from_ns"], row["to_ns"], row["count"], row["boot"], row["seq"]) for row in rows] == [
        (f"{stream}:2", T0, T0 + 9 * S, 3, stream, 2),
        (f"{stream}:7", T0, None, 1, stream, 7),
    ]
    assert rows[0]["reason"] == "messages 2 to 4 of the stream were gone before they were sealed"


def test_a_hole_at_the_begin_of_a_lane_begins_with_its_first_record():
    recording = Recording()
    recording.ticker(T0 + S)
    torn = replace(manifest_of(recording.body, first=T0 + S), holes=((1, 2),))
    (row,) = rows_of(
        forge(torn, OPTIONS, lambda: [recording.body], Neighbours(lambda: History.of_lane_start(T0), lambda _: None)),
        "coverage",
    )
    assert (row["from_ns"], row["to_ns"]) == (T0 + S, torn.last_capture_ns)


@pytest.mark.parametrize(
    ("event", "detail", "seqs"),
    [
        (Event.DROPPED, {"first_seq": 4, "last_seq": 9}, (4, 9)),
        (Event.DROPPED, {"first_seq": None, "last_seq": 9}, (None, 9)),
        (Event.DROPPED, None, (None, None)),
        (Event.REJECTED, {"seq": 7, "size_bytes": 9_000_000, "sha256": "ab"}, (7, 7)),
        (Event.REJECTED, {"url": "wss://x", "sha256": "ab"}, (None, None)),
        (Event.DROPPED, {"first_seq": 2**63, "last_seq": "9"}, (None, None)),
        (Event.CLOCK_STEP, {"first_seq": 1, "last_seq": 2}, (None, None)),
    ],
)
def test_the_seqs_that_a_record_says_are_missing_stand_in_its_row(event, detail, seqs):
    recording = Recording()
    recording.control(T0, Control(event, scope=BOOK, detail=detail))
    (row,) = rows_of(forged(recording.body), "coverage")
    assert (row["first_seq"], row["last_seq"]) == seqs


def test_what_else_bears_the_name_of_the_control_channel_is_of_the_whole_lane():
    recording = Recording()
    recording.control(T0, Control(Event.CLOCK_STEP, detail={"channel": "control"}))
    (row,) = rows_of(forged(recording.body), "coverage")
    assert (row["channel"], row["symbol"]) == ("*", "*")


def test_control_records_that_were_lost_are_a_feed_of_their_own():
    recording = Recording()
    detail = {"channel": "control", "first_seq": 3, "last_seq": 5}
    recording.control(T0, Control(Event.DROPPED, reason="bus_lost", detail=detail))
    (row,) = rows_of(forged(recording.body), "coverage")
    assert (row["channel"], row["symbol"], row["first_seq"], row["last_seq"]) == ("control", "*", 3, 5)
