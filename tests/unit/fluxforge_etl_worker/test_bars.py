import math

import pytest

from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import PreviousSegment
from tests.unit.fluxforge_etl_worker.samples import MS, T0, Recording, S, forged, options, rows_of, trade

ONE = options(bar_durations_s=(1,))


def book(recording: Recording, at: int, mid: float, bid_size: float = 1.0, ask_size: float = 1.0) -> None:
    recording.book(at, [[mid - 0.5, bid_size]], [[mid + 0.5, ask_size]])


def test_a_bar_by_hand():
    recording = Recording()
    book(recording, T0 - 10 * MS, 100.0)
    book(recording, T0 + 200 * MS, 102.0, bid_size=3.0)
    recording.trades(T0 + 300 * MS, trade("1", "buy", 102.0, 2.0), trade("2", "sell", 101.0, 1.0))
    recording.trades(T0 + 400 * MS, trade("3", "sell", 1.0, 50.0), backfill=True)
    book(recording, T0 + 700 * MS, 101.0)
    book(recording, T0 + S, 105.0)
    (_, bar) = rows_of(forged(recording.body, ONE, last=T0 + S), "orderbook/bars")
    assert bar["ts_ns"] == T0
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (102.0, 102.0, 101.0, 101.0)
    assert (bar["mean_spread"], bar["min_spread"], bar["max_spread"]) == (1.0, 1.0, 1.0)
    assert bar["mean_relative_spread"] == pytest.approx((1 / 102 + 1 / 101) / 2)
    assert bar["mean_l1_imbalance"] == pytest.approx((0.5 + 0.0) / 2)
    assert bar["twap_mid"] == pytest.approx((102 * 0.5 + 101 * 0.3) / 0.8)
    # first update: bid rises to a size of 3, ask rises away from a size of 1; second: bid falls from 3, ask falls to 1
    assert bar["sum_ofi"] == pytest.approx((3.0 + 1.0) + (-3.0 - 1.0))
    assert bar["realized_variance"] == pytest.approx(math.log(102 / 100) ** 2 + math.log(101 / 102) ** 2)
    assert (bar["n_updates"], bar["trade_count"], bar["buy_volume"], bar["sell_volume"]) == (2, 2, 2.0, 1.0)
    assert bar["vwap"] == pytest.approx((102 * 2 + 101) / 3)
    assert bar["complete"] is True


def test_volumes_are_null_without_trades_captured_and_zero_without_trades_made():
    recording = Recording()
    book(recording, T0, 100.0)
    (unknown,) = rows_of(forged(recording.body, ONE), "orderbook/bars")
    assert [unknown[name] for name in ("buy_volume", "sell_volume", "trade_count", "vwap")] == [None] * 4
    recording.control(T0 + S - 1, Control(Event.RECOVERED, feeds=(FeedKey("trades", "BTC-USDT"),)))
    (known,) = rows_of(forged(recording.body, ONE), "orderbook/bars")
    assert [known[name] for name in ("buy_volume", "sell_volume", "trade_count", "vwap")] == [0.0, 0.0, 0, None]
    late = Recording()
    book(late, T0, 100.0)
    late.trades(T0 + S, trade("1", "buy", 100.0, 1.0))
    (unknown,) = rows_of(forged(late.body, ONE), "orderbook/bars")
    assert [unknown[name] for name in ("buy_volume", "sell_volume", "trade_count", "vwap")] == [None] * 4


def test_a_bar_is_of_the_segment_in_which_it_ends_and_incomplete_where_what_came_before_is_not_known():
    recording = Recording()
    for n in range(4):
        book(recording, T0 + n * S + 500 * MS, 100.0)
    previous = PreviousSegment("before", 1, T0 + 100 * MS)
    rows = rows_of(forged(recording.body, ONE, previous=previous, last=T0 + 3500 * MS), "orderbook/bars")
    assert [row["ts_ns"] for row in rows] == [T0, T0 + S, T0 + 2 * S]
    assert [row["complete"] for row in rows] == [False] * 3  # of a lane's holes nothing is known for a while


def test_after_the_end_of_a_lane_open_bars_are_emitted_as_incomplete():
    recording = Recording()
    for n in range(3):
        book(recording, T0 + n * 500 * MS, 100.0)
    rows = rows_of(forged(recording.body, ONE, last=T0 + S, final=True), "orderbook/bars")
    assert [(row["ts_ns"], row["complete"]) for row in rows] == [(T0, True), (T0 + S, False)]


def test_a_lane_that_follows_others_emits_only_bars_it_saw_begin():
    recording = Recording()
    recording.control(T0 + 1, Control(Event.STARTED, feeds=(), follows=("ccxt-binance-0of2",)))
    book(recording, T0 + 500 * MS, 100.0)
    book(recording, T0 + 1500 * MS, 100.0)
    rows = rows_of(forged(recording.body, ONE, first=T0 + 1), "orderbook/bars")
    assert [row["ts_ns"] for row in rows] == [T0 + S]


def test_a_rescue_lane_gives_books_and_no_bars_or_feature_rows():
    lane = Lane("ccxt", "binance", "0of1r9f3c21ab")
    recording = Recording(lane)
    book(recording, T0, 100.0)
    assert forged(recording.body, ONE, lane=lane).rows == {"orderbook/books": 1}


def test_a_bar_is_incomplete_where_the_feed_was_unsound_or_nothing_was_known_at_its_start():
    recording = Recording()
    feed = (FeedKey("orderbook", "BTC-USDT"),)
    book(recording, T0, 100.0)  # at the start itself
    book(recording, T0 + 1200 * MS, 100.0)
    recording.control(T0 + 2500 * MS, Control(Event.GAP, feeds=feed))
    book(recording, T0 + 2600 * MS, 100.0)
    recording.control(T0 + 3100 * MS, Control(Event.RESYNCED, feeds=feed))
    book(recording, T0 + 3200 * MS, 100.0)
    book(recording, T0 + 4200 * MS, 100.0)
    book(recording, T0 + 65_000 * MS + 1, 100.0)
    rows = rows_of(forged(recording.body, ONE, last=T0 + 70 * S), "orderbook/bars")
    assert [(row["ts_ns"] - T0) // S for row in rows] == [0, 1, 2, 3, 4, 65]
    assert [row["complete"] for row in rows] == [True, True, False, False, True, False]
    assert rows[3]["sum_ofi"] is None  # the first update after the hole does not know the one before
    assert rows[4]["sum_ofi"] == 0.0
    assert rows[5]["realized_variance"] is None  # further apart than the tolerance


def test_what_a_new_collector_does_not_deliver_any_more_was_not_whole_when_the_one_before_crashed():
    recording = Recording()
    book(recording, T0, 100.0)
    recording.book(T0 + 1, [[9.0, 1.0]], [[10.0, 1.0]], "ETH/USDT")
    feed = (FeedKey("orderbook", "BTC-USDT"),)
    recording.control(T0 + 3 * S, Control(Event.STARTED, feeds=feed, after=After("0ld", 1, T0 + 1)))
    rows = rows_of(forged(recording.body, ONE, last=T0 + 4 * S), "orderbook/bars")
    assert [(row["market"], row["complete"]) for row in rows] == [("BTC/USDT", False), ("ETH/USDT", False)]


def test_a_trade_at_the_edge_of_two_bars_is_of_the_one_that_begins_there():
    recording = Recording()
    book(recording, T0, 100.0)
    recording.trades(T0, trade("1", "buy", 100.0, 1.0))
    recording.trades(T0 + S, trade("2", "buy", 100.0, 2.0))  # nothing was quoted there: no bar
    book(recording, T0 + 2 * S, 100.0)
    recording.trades(T0 + 2 * S, trade("3", "buy", 100.0, 4.0))
    rows = rows_of(forged(recording.body, ONE), "orderbook/bars")
    assert [(row["ts_ns"], row["buy_volume"]) for row in rows] == [(T0, 1.0), (T0 + 2 * S, 4.0)]


def test_a_bar_that_ends_with_the_last_record_of_the_segment_before_is_left_to_that_one():
    recording = Recording()
    book(recording, T0 + S + 1, 100.0)
    book(recording, T0 + 2 * S, 100.0)
    rows = rows_of(forged(recording.body, ONE, previous=PreviousSegment("before", 1, T0 + S)), "orderbook/bars")
    assert [row["ts_ns"] for row in rows] == [T0 + S, T0 + 2 * S]


def test_just_the_tolerance_before_is_known_to_an_update_and_too_old_for_the_start_of_a_bar():
    recording = Recording()
    book(recording, T0, 100.0)
    book(recording, T0 + 60 * S, 100.0)
    book(recording, T0 + 120 * S + 1, 100.0)
    rows = rows_of(forged(recording.body, ONE), "orderbook/bars")
    assert [(row["sum_ofi"], row["complete"]) for row in rows] == [(None, True), (0.0, True), (None, False)]
