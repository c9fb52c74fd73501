"""The time of feeds, cut into what was whole and what was not."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fluxforge.dataset.holes import Hole, joined
from fluxforge.domain.control import CRASH, LOST, UNSOUND_EVENTS
from fluxforge_cli.account.coverage.feeds import FeedCoverage, Seen, accounts, pieces
from tests.unit.fluxforge_cli.account.coverage.stories import BOOK, TRADES, S, only, seen, told, word

STARTED = (word("started", 0, None, "a:1"), word("resynced", 0, 1, "a:1"))


def times(found: FeedCoverage) -> Sequence[tuple[float, float, str | None]]:
    return [(piece.from_ns / S, piece.to_ns / S, piece.event) for piece in found.pieces]


def test_the_time_is_cut_where_the_feed_was_not_whole() -> None:
    found = only(
        told(*STARTED, word("gap", 10, None, "a:2"), word("resynced", 10, 12, "a:2"), word("stopped", 100)),
        seen(1, 99),
    )
    assert times(found) == [(0, 1, "started"), (1, 10, None), (10, 12, "gap"), (12, 100, None)]
    assert (found.observed_ns, found.covered_ns, found.verified_ns, found.unverifiable_ns) == (
        100 * S,
        97 * S,
        97 * S,
        0,
    )
    assert (found.holes(), found.longest()) == ([(0, S), (10 * S, 12 * S)], (10 * S, 12 * S))
    assert found.events == {"started": 1, "gap": 1}


def test_holes_that_overlap_count_once_in_time_and_each_by_what_opened_it() -> None:
    found = only(
        told(
            *STARTED,
            word("stalled", 10, 30, "a:2"),
            word("disconnected", 20, 40, "a:3"),
            word("gap", 35, 38, "a:4"),
            word("stopped", 100),
        )
    )
    assert times(found)[2:] == [(10, 20, "stalled"), (20, 40, "disconnected"), (40, 100, None)]
    assert found.holes()[1:] == [(10 * S, 40 * S)]
    assert {event: found.events[event] for event in ("stalled", "disconnected", "gap")} == {
        "stalled": 1,
        "disconnected": 1,
        "gap": 1,
    }


def test_a_hole_that_is_open_reaches_to_the_end_of_what_was_observed() -> None:
    found = only(told(*STARTED, word("stalled", 10), word("stopped", 60)), seen(1, 10))
    assert times(found) == [(0, 1, "started"), (1, 10, None), (10, 60, "stalled")]


def test_a_feed_that_fell_silent_is_observed_as_long_as_anything_of_its_collector() -> None:
    words = {BOOK: told(*STARTED, word("stalled", 10)), TRADES: told(*STARTED)}
    rows = {BOOK: {"a": seen(1, 10)}, TRADES: {"a": seen(1, 500)}}
    book, trades = accounts(words, rows, lambda *_: True)
    assert (book.to_ns, times(book)[-1]) == (500 * S, (10, 500, "stalled"))
    assert trades.covered_ns == 499 * S


def test_a_collector_that_died_vouches_for_nothing_behind_its_last_record() -> None:
    words = {
        BOOK: told(*STARTED),
        TRADES: told(word("started", 0, None, "b:1", "b"), word("recovered", 0, 1, "b:1", "b")),
    }
    rows = {BOOK: {"a": seen(1, 10)}, TRADES: {"b": seen(1, 500)}}
    book, _ = accounts(words, rows, lambda *_: True)
    assert (book.to_ns, book.covered_ns) == (10 * S, 9 * S)


def test_of_merged_legs_either_vouches_for_a_feed_that_the_other_spoke_of_last() -> None:
    quiet, busy = (feed._replace(source="ccxt.merged") for feed in (BOOK, TRADES))
    words = {
        quiet: told(*STARTED),
        busy: told(word("started", 0, None, "b:1", "b"), word("recovered", 0, 1, "b:1", "b")),
    }
    rows = {quiet: {"a": seen(1, 10)}, busy: {"b": seen(1, 500)}}
    found, _ = accounts(words, rows, lambda *_: True)
    assert (found.to_ns, found.covered_ns) == (500 * S, 499 * S)


def test_the_time_between_two_collectors_is_a_hole_and_that_after_the_last_was_not_observed() -> None:
    found = only(
        told(
            *STARTED,
            word("stopped", 50),
            word("started", 80, None, "b:1", "b"),
            word("resynced", 80, 81, "b:1", "b"),
            word("stopped", 90, boot="b"),
        )
    )
    assert times(found)[1:] == [(1, 50, None), (50, 80, "stopped"), (80, 81, "started"), (81, 90, None)]
    assert found.events["stopped"] == 1


def test_the_time_that_is_asked_for_cuts_what_is_counted() -> None:
    words = told(*STARTED, word("gap", 10, 12, "a:2"), word("gap", 40, 60, "a:3"), word("stopped", 100))
    found = only(words, start_s=50, end_s=70)
    assert times(found) == [(50, 60, "gap"), (60, 70, None)]
    assert found.events == {"gap": 1}
    assert accounts({BOOK: words}, {}, lambda *_: True, start_ns=101 * S) == []
    assert accounts({BOOK: words}, {}, lambda *_: True, end_ns=-1) == []


def test_a_gap_without_length_is_counted_and_takes_no_time() -> None:
    found = only(told(*STARTED, word("gap", 10, 10, "a:2"), word("stopped", 100)))
    assert (found.events["gap"], found.covered_ns) == (1, 99 * S)


def test_where_a_loss_would_not_show_nothing_is_verified() -> None:
    (found,) = accounts({TRADES: told(*STARTED, word("stopped", 11))}, {}, lambda _, channel: channel == "orderbook")
    assert (found.covered_ns, found.verified_ns, found.unverifiable_ns) == (10 * S, 0, 10 * S)


def test_rows_of_a_recorder_that_tells_nothing_are_unverifiable() -> None:
    found = only(None, seen(5, 25))
    assert (found.observed_ns, found.verified_ns, found.unverifiable_ns) == (20 * S, 0, 20 * S)


def test_rows_of_several_boots_add_up() -> None:
    rows = {BOOK: {"a": seen(1, 2, 10, 1, {5: 9}), "b": seen(3, 4, 20, 2, {5: 1, 7: 19})}}
    (found,) = accounts({}, rows, lambda *_: True)
    assert (found.rows, found.resent, found.lags_ms, found.observed_ns) == (30, 3, (5, 7, 7), 3 * S)


def test_percentiles_are_values_that_occurred() -> None:
    assert only(None, seen(0, 1, lags_ms={-1300: 1, 2: 98, 900: 1})).lags_ms == (-1300, 2, 2)
    assert only(None, seen(0, 1, lags_ms={3: 1})).lags_ms == (3, 3, 3)
    assert only(None, seen(0, 1)).lags_ms is None


def test_one_row_is_no_time() -> None:
    found = only(None, seen(5, 5, 1))
    assert (found.observed_ns, found.pieces, found.longest()) == (0, (), None)


EVENTS = sorted({*(event.value for event in UNSOUND_EVENTS), CRASH, LOST})
HOLES = st.lists(
    st.builds(
        lambda begin, length, event: Hole(begin, begin + length, event),
        st.integers(0, 100),
        st.integers(0, 40),
        st.sampled_from(EVENTS),
    ),
    max_size=30,
)


@given(HOLES)
def test_pieces_are_the_whole_time_in_order_and_their_holes_the_union_of_all(holes: list[Hole]) -> None:
    found = list(pieces(holes, 0, 140))
    assert (found[0].from_ns, found[-1].to_ns) == (0, 140)
    assert all(one.to_ns == other.from_ns and one.event != other.event for one, other in pairwise(found))
    account = FeedCoverage(BOOK, 0, 140, tuple(found), {}, is_verifiable=True)
    assert account.holes() == joined(holes, 0, 140)
    assert account.covered_ns + sum(end - begin for begin, end in account.holes()) == account.observed_ns
    at_rest = [not any(hole.from_ns <= at < (hole.to_ns or 0) for hole in holes) for at in range(140)]
    assert account.covered_ns == sum(at_rest)


WORDS = st.lists(
    st.builds(
        lambda event, begin, length, hole, boot: word(
            event, begin, None if length is None else begin + length, hole, boot
        ),
        st.sampled_from([*EVENTS, "resynced", "recovered"]),
        st.integers(0, 100),
        st.none() | st.integers(0, 40),
        st.sampled_from(["", "1", "2", "3"]),
        st.sampled_from(["a", "b"]),
    ),
    min_size=1,
    max_size=20,
)


@given(WORDS, st.integers(-10, 120), st.integers(1, 60))
def test_whatever_is_told_covered_and_holes_are_what_was_observed(
    words: list[object], start_s: int, length_s: int
) -> None:
    rows: dict[str, Seen] = {"a": seen(20, 110)}
    bounds = {"start_ns": start_s * S, "end_ns": (start_s + length_s) * S}
    for found in accounts({BOOK: told(*words)}, {BOOK: rows}, lambda *_: True, **bounds):  # type: ignore[arg-type] # words
        gone_ns = sum(end - begin for begin, end in found.holes())
        assert found.covered_ns + gone_ns == found.observed_ns <= length_s * S
        assert bounds["start_ns"] <= found.from_ns <= found.to_ns <= bounds["end_ns"]
        assert all(found.from_ns <= begin < end <= found.to_ns for begin, end in found.holes())
