from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.segment import PreviousSegment
from fluxforge_etl_worker.features.registry import all_features
from tests.unit.fluxforge_etl_worker.samples import ASKS, BIDS, MS, OPTIONS, T0, Recording, S, forged, options, rows_of
from tests.unit.fluxforge_etl_worker.samples import table_of as table

FEED = (FeedKey("orderbook", "BTC-USDT"),)


def seqs(recording: Recording, chosen=OPTIONS, **manifest):
    found = rows_of(forged(recording.body, chosen, **manifest), "orderbook/hf")
    return [((row["ts_ns"] - T0) // MS, row["seq"]) for row in found]


def test_a_row_is_the_last_update_up_to_its_boundary():
    recording = Recording()
    for offset_ms in (-500, 0, 1, 999, 1000, 1001, 3500):
        recording.book(T0 + offset_ms * MS, BIDS, ASKS)
    assert seqs(recording) == [(0, 2), (1000, 5), (2000, 6), (4000, 7)]


def test_a_boundary_beyond_the_segment_or_up_to_the_end_of_the_one_before_is_left_out():
    recording = Recording()
    for offset_ms in (500, 1500, 2500):
        recording.book(T0 + offset_ms * MS, BIDS, ASKS)
    assert seqs(recording, last=T0 + 2500 * MS) == [(1000, 1), (2000, 2)]
    assert seqs(recording, previous=PreviousSegment("before", 1, T0 + 100 * MS)) == [(1000, 1), (2000, 2), (3000, 3)]
    late = Recording()
    late.book(T0 + S + 1, BIDS, ASKS)
    assert seqs(late, previous=PreviousSegment("before", 1, T0 + S)) == [(2000, 1)]


def test_with_interval_zero_every_update_is_a_row_and_its_time_is_its_own():
    recording = Recording()
    for offset_ns in (0, 1, 999, 1500):
        recording.book(T0 + offset_ns, BIDS, ASKS)
    rows = rows_of(forged(recording.body, options(hf_interval_ns=0)), "orderbook/hf")
    assert [(row["ts_ns"] - T0, row["capture_ns"] - T0) for row in rows] == [(0, 0), (0, 1), (0, 999), (1000, 1500)]


def test_the_state_of_the_feed_at_the_boundary_stands_beside_the_row():
    recording = Recording()
    events = {1: Event.STALLED, 2: Event.GAP, 3: Event.RESYNCED, 4: Event.DISCONNECTED, 6: Event.RESYNCED}
    for second in range(8):
        recording.book(T0 + second * S + 500 * MS, BIDS, ASKS)
        if second in events:
            recording.control(T0 + second * S + 600 * MS, Control(events[second], feeds=FEED))
    rows = rows_of(forged(recording.body), "orderbook/hf")
    assert [row["book_state"] for row in rows] == [
        "synced",
        "stale",
        "stale",
        "synced",
        "suspect",
        "suspect",
        "synced",
        "synced",
    ]


def test_a_feed_that_no_control_record_names_stays_sound():
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    recording.control(
        T0 + 1, Control(Event.GAP, feeds=(FeedKey("orderbook", "ETH-USDT"), FeedKey("trades", "BTC-USDT")))
    )
    recording.book(T0 + S, BIDS, ASKS)
    assert {row["book_state"] for row in rows_of(forged(recording.body), "orderbook/hf")} == {"synced"}


def test_every_column_of_the_specification_is_there_and_streaming_ones_are_null():
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    found = table(forged(recording.body), "orderbook/hf")
    features = all_features(10, (1, 5, 30, 60))
    keys = ["exchange", "symbol", "market", "ts", "capture_ns", "exchange_ms", "boot", "seq", "book_state"]
    assert found.column_names == [*keys, *(feature.name for feature in features)]
    null = {name for name in found.column_names if found[name].null_count}
    assert {feature.name for feature in features if feature.streaming} <= null
    missing_levels = {
        f"{what}_L{n}" for n in range(3, 10) for what in ("bid_size", "bid_price", "ask_size", "ask_price")
    }
    structural = {feature.name for feature in features if not feature.streaming}
    empty_bands = {"band_imbalance_0_5bps", "band_imbalance_5_10bps", "band_imbalance_10_25bps", "amihud_5bps"}
    assert null & structural == missing_levels | empty_bands | {"ask_size_L2", "ask_price_L2"}
    assert "trade_kyle_lambda_30s" in found.column_names
    assert "trade_kyle_lambda_5s" not in found.column_names
    assert "bid_size_L9" in found.column_names


def test_horizons_and_levels_other_than_the_default_give_columns_of_their_names():
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    found = table(forged(recording.body, options(horizons_s=(2, 45), levels_max=3)), "orderbook/hf")
    assert "log_return_2s" in found.column_names
    assert "trade_kyle_lambda_45s" in found.column_names
    assert "bid_size_L2" in found.column_names
    assert "bid_size_L3" not in found.column_names
    assert "log_return_1s" not in found.column_names


def test_a_level_just_at_the_edge_of_two_bands_is_of_the_outer_one():
    recording = Recording()
    recording.book(T0, [[9995.0, 2.0], [9990.0, 3.0], [9975.0, 5.0]], [[10005.0, 1.0]])
    (row,) = rows_of(forged(recording.body), "orderbook/hf")
    assert [row[f"bid_depth_{band}bps"] for band in ("0_5", "5_10", "10_25")] == [0.0, 2.0, 3.0]
    assert row["bid_50pct_levels"] == 2  # two and three are just half of ten
