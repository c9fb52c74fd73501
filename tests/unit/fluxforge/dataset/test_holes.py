"""Holes as they are folded of what `coverage` tells."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import pytest

from fluxforge.dataset.holes import FeedName, Hole, Told, joined, told_of
from fluxforge.domain.control import FeedKey
from fluxforge_etl_worker.coverage import WHOLE_LANE, CoverageRow, coverage_table

BTC, ETH = FeedKey("orderbook", "BTC-USDT"), FeedKey("trades", "ETH-USDT")
S = 1_000_000_000


def said(
    event: str,
    from_s: float,
    to_s: float | None = None,
    hole: str | None = None,
    *,
    boot: str = "a",
    feed: FeedKey = BTC,
) -> CoverageRow:
    to_ns = None if to_s is None else int(to_s * S)
    return CoverageRow(
        feed, feed.symbol, hole, event, int(from_s * S), to_ns, None, "collector", None, boot, int(from_s * 10)
    )


def told(*rows: CoverageRow, exchange: str = "binance", source: str = "ccxt") -> dict[FeedName, Told]:
    frame = pl.from_arrow(coverage_table(exchange, [replace(row, seq=n) for n, row in enumerate(rows)]))
    assert isinstance(frame, pl.DataFrame)
    return told_of(frame.lazy().with_columns(source=pl.lit(source)))


def holes(*rows: CoverageRow, feed: FeedKey = BTC) -> Sequence[tuple[float, float | None, str]]:
    found = told(*rows)[FeedName("ccxt", "binance", feed.channel, feed.symbol)].holes()
    return [(hole.from_ns / S, None if hole.to_ns is None else hole.to_ns / S, hole.event) for hole in found]


def test_all_that_is_told_of_a_hole_is_one_hole_by_what_opened_it() -> None:
    assert holes(
        said("started", 0, None, "a:1"),
        said("resynced", 0, 2, "a:1"),
        said("stalled", 10, None, "a:2"),
        said("stalled", 10, None, "a:2"),  # told again while it is open
        said("resynced", 10, 95.5, "a:2"),
        said("subscribed", 20),
        said("crossed", 30, 30),
    ) == [(0, 2, "started"), (10, 95.5, "stalled")]


def test_a_hole_that_is_told_of_in_another_order_is_the_same() -> None:
    rows = [said("resynced", 10, 95, "a:2"), said("gap", 10, None, "a:2"), said("started", 0, None, "a:1")]
    assert holes(*rows) == holes(*reversed(rows)) == [(0, 95, "started"), (10, 95, "gap")]


def test_a_hole_that_nobody_closed_is_open() -> None:
    assert holes(said("resynced", 1, 1, "a:1"), said("disconnected", 5, None, "a:2")) == [(5, None, "disconnected")]


def test_a_gap_that_heals_at_once_is_a_hole_without_length() -> None:
    rows = said("gap", 5, None, "a:2", feed=ETH), said("recovered", 5, 5, "a:2", feed=ETH)
    assert holes(*rows, feed=ETH) == [(5, 5, "gap")]


def test_a_hole_of_which_only_the_end_is_told_is_a_gap_and_a_sound_word_of_no_time_is_none() -> None:
    assert holes(said("resynced", 5, 9, "a:2"), said("resynced", 12, 12, "a:3")) == [(5, 9, "gap")]


def test_the_end_of_a_crash_is_no_hole_of_its_own() -> None:
    assert holes(said("crash", 5, None, "b:1", boot="b"), said("resynced", 5, 9, "b:1")) == [(5, 9, "crash")]


def test_what_a_boot_left_open_ends_where_the_next_one_starts() -> None:
    assert holes(
        said("started", 0, None, "a:1"),
        said("resynced", 0, 1, "a:1"),
        said("stopped", 10),
        said("started", 30, None, "b:1", boot="b"),
        said("resynced", 30, 31, "b:1", boot="b"),
    ) == [(0, 1, "started"), (10, 30, "stopped"), (30, 31, "started")]


def test_what_a_boot_left_open_ends_with_the_next_sound_record_where_the_next_start_was_lost() -> None:
    assert holes(
        said("started", 0, None, "a:1"),
        said("resynced", 0, 1, "a:1"),
        said("stopped", 10),
        said("resynced", 31, 31, "b:1", boot="b"),
    ) == [(0, 1, "started"), (10, 31, "stopped")]


def test_another_boots_sound_record_does_not_close_what_its_own_boot_closes_later() -> None:
    assert holes(
        said("started", 0, None, "a:1"),
        said("resynced", 4, 4, "z:9", boot="z"),
        said("resynced", 9, 9, "a:2"),
    ) == [(0, 9, "started")]


def test_what_a_succeeded_boot_says_afterwards_concerns_nobody() -> None:
    assert holes(
        said("started", 0, None, "a:1"),
        said("resynced", 0, 1, "a:1"),
        said("started", 30, None, "b:1", boot="b"),
        said("resynced", 30, 31, "b:1", boot="b"),
        said("dropped", 29, None, "a:2"),
        said("dropped", 40, None, "a:3"),
        said("lane_closed", 60),
    ) == [(0, 1, "started"), (29, 30, "dropped"), (30, 31, "started")]


def test_a_crash_bears_the_id_of_the_start_that_follows_it_and_is_a_hole_of_its_own() -> None:
    assert holes(
        said("started", 30, None, "b:1", boot="b"),
        said("resynced", 30, 31, "b:1", boot="b"),
        replace(said("crash", 12, 30, "b:1", boot="b"), detector="etl"),
    ) == [(12, 30, "crash"), (30, 31, "started")]


def test_what_is_said_of_a_lane_is_said_of_the_feeds_that_its_boot_speaks_of() -> None:
    rows = (
        said("resynced", 1, 1, "a:1"),
        said("recovered", 1, 1, "b:1", boot="b", feed=ETH),
        said("dropped", 5, 6, boot="a", feed=WHOLE_LANE),
    )
    assert holes(*rows) == [(5, 6, "dropped")]
    assert holes(*rows, feed=ETH) == []


def test_what_is_said_of_a_stream_is_said_of_every_feed_of_the_exchange() -> None:
    rows = said("resynced", 1, 1), said("recovered", 1, 1, boot="b", feed=ETH)
    lost = said("lost", 5, 6, boot="MD_ccxt_binance_0of1_1", feed=WHOLE_LANE)
    assert holes(*rows, lost) == holes(*rows, lost, feed=ETH) == [(5, 6, "lost")]


def test_what_is_said_of_the_wire_is_said_of_no_other_feed() -> None:
    wire = FeedKey("wire", "*")
    rows = (
        said("started", 0, None, "a:1"),
        said("started", 0, None, "a:1", feed=wire),
        said("recovered", 0, 1, "a:1", feed=wire),  # of the same hole, which has not ended for the book
        said("dropped", 5, 6, "a:2", feed=wire),
    )
    assert holes(*rows) == [(0, None, "started")]
    assert holes(*rows, feed=wire) == [(0, 1, "started"), (5, 6, "dropped")]


def test_messages_lost_at_the_end_of_a_segment_are_a_hole_until_any_boot_is_sound() -> None:
    rows = said("resynced", 1, 1), said("lost", 5, None, boot="MD_x"), said("resynced", 9, 9, boot="b")
    assert holes(*rows) == [(5, 9, "lost")]


def test_dropped_control_records_are_no_feed() -> None:
    assert list(told(said("dropped", 1, 2, feed=FeedKey("control", "*")), said("gap", 1, 2))) == [
        FeedName("ccxt", "binance", "orderbook", "BTC-USDT")
    ]


def test_a_feed_is_known_from_its_first_word_and_not_from_a_crash_before_it() -> None:
    (one,) = told(
        said("crash", 12, 30, "b:1", boot="b"),
        said("started", 30, None, "b:1", boot="b"),
        said("gap", 40, 41, boot="b"),
    ).values()
    assert (one.since_ns, one.last_ns, one.boot) == (30 * S, 41 * S, "b")


def test_a_word_of_a_succeeded_boot_does_not_say_that_the_feed_lives() -> None:
    (one,) = told(
        said("started", 0, None, "a:1"), said("started", 30, None, "b:1", boot="b"), said("stopped", 90)
    ).values()
    assert (one.boot, one.last_ns) == ("b", 30 * S)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([(1, 3), (3, 5), (2, 4)], [(1, 5)]),
        ([(1, 2), (3, None)], [(1, 2), (3, 10)]),
        ([(-5, 0), (-5, 1), (9, 50), (10, 11)], [(0, 1), (9, 10)]),
        ([(4, 4)], []),
    ],
)
def test_holes_are_joined_between_two_times(
    times: list[tuple[int, int | None]], expected: list[tuple[int, int]]
) -> None:
    assert joined([Hole(begin, end, "gap") for begin, end in times], 0, 10) == expected
