from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_etl_worker.legs.arrivals import UNTIMED_REACH_NS, Arrivals, Identity, Matched, leads, matched

MS = 1_000_000
ROWS = st.tuples(st.integers(0, 1), st.integers(0, 40), st.sampled_from("abcd"), st.integers(0, 2))


def arrivals(rows: Sequence[tuple[int, int, Any, int]], kind: Identity) -> Arrivals:
    """Return rows of (leg, ms, what it says, rank)."""
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    return Arrivals(
        np.array([ms * MS for _, ms, _, _ in ordered], dtype=np.int64),
        np.array([leg for leg, _, _, _ in ordered], dtype=np.int64),
        np.full(len(ordered), kind, dtype=np.int64),
        [says for _, _, says, _ in ordered],
        np.array([rank for _, _, _, rank in ordered], dtype=np.int64),
    )


def kept(rows: Arrivals, found: Matched) -> list[tuple[int, int, Any]]:
    return [(int(rows.leg[n]), int(rows.capture_ns[n] // MS), rows.says[n]) for n in np.flatnonzero(found.won)]


@given(st.lists(ROWS, max_size=60))
def test_of_named_updates_none_is_lost_and_none_stands_twice_and_the_best_that_came_first_wins(rows: list[Any]) -> None:
    given_rows = arrivals(rows, Identity.NAMED)
    found = kept(given_rows, matched(given_rows, are_states=True))
    best = {says: min((rank, ms, leg) for leg, ms, other, rank in rows if other == says) for _, _, says, _ in rows}
    assert sorted(found) == sorted((leg, ms, says) for says, (_, ms, leg) in best.items())


@given(
    rows=st.lists(ROWS, max_size=60),
    kind=st.sampled_from([Identity.TIMED, Identity.UNTIMED]),
    are_states=st.booleans(),
)
def test_of_unnamed_updates_a_row_has_one_like_of_the_other_leg_at_most_and_the_first_of_both_wins(
    *, rows: list[Any], kind: Identity, are_states: bool
) -> None:
    given_rows = arrivals([(leg, ms, says, 0) for leg, ms, says, _ in rows], kind)
    found = matched(given_rows, are_states=are_states)
    groups = Counter(found.winner.tolist())
    assert set(groups) == set(np.flatnonzero(found.won).tolist())
    for winner, count in groups.items():
        members = np.flatnonzero(found.winner == winner)
        assert count <= 2
        assert len({int(given_rows.leg[n]) for n in members}) == count
        assert len({given_rows.says[n] for n in members}) == 1
        assert winner == members[0]
    # Of what either leg said n times at least n rows are kept.
    said = Counter((int(leg), says) for leg, says in zip(given_rows.leg, given_rows.says, strict=True))
    stands = Counter(says for _, _, says in kept(given_rows, found))
    assert all(stands[says] >= count for (_, says), count in said.items())


@given(
    st.lists(st.sampled_from("ab"), max_size=40),
    st.lists(st.sampled_from([0, 0, 1, 2]), min_size=40, max_size=40),
    st.integers(0, 3),
)
def test_what_one_leg_missed_the_other_fills_in_and_no_update_is_made_of_two(
    sent: list[str], lost_by: list[int], lag_ms: int
) -> None:
    updates = [(f"{says}{n // 3}", n * 10) for n, says in enumerate(sent)]
    rows = [
        (leg, at + lag_ms * leg, says, 0)
        for (says, at), loses in zip(updates, lost_by, strict=False)
        for leg in (0, 1)
        if loses != leg + 1
    ]
    given_rows = arrivals(rows, Identity.TIMED)
    found = kept(given_rows, matched(given_rows, are_states=True))
    # Two that say the same are told apart only by a leg that has both.
    for says, count in Counter(says for says, _ in updates).items():
        stands = sum(other == says for _, _, other in found)
        most = max((sum(leg == one and said == says for leg, _, said, _ in rows) for one in (0, 1)), default=0)
        assert most <= stands <= count


def test_equal_times_are_leg_a_s() -> None:
    rows = arrivals([(1, 5, "x", 0), (0, 5, "x", 0)], Identity.TIMED)
    assert kept(rows, matched(rows, are_states=True)) == [(0, 5, "x")]


def test_a_live_trade_beats_one_that_was_sent_again_before_it() -> None:
    rows = arrivals([(1, 5, "x", 1), (0, 7, "x", 0), (1, 3, "x", 2)], Identity.NAMED)
    assert kept(rows, matched(rows, are_states=True)) == [(0, 7, "x")]


def test_rows_without_a_time_are_one_update_only_when_they_came_together() -> None:
    far = UNTIMED_REACH_NS // MS + 1
    rows = arrivals([(0, 0, "x", 0), (1, far, "x", 0)], Identity.UNTIMED)
    assert len(kept(rows, matched(rows, are_states=True))) == 2
    near = arrivals([(0, 0, "x", 0), (1, far - 1, "x", 0)], Identity.UNTIMED)
    assert len(kept(near, matched(near, are_states=True))) == 1


def test_a_state_that_comes_after_a_later_one_is_overtaken() -> None:
    # A misses 2; B is 5 ms behind, and brings it when A has shown 3 already.
    legs = [(0, 10, "1", 0), (0, 12, "3", 0), (0, 40, "4", 0)]
    legs += [(1, 15, "1", 0), (1, 16, "2", 0), (1, 17, "3", 0), (1, 45, "4", 0), (1, 50, "5", 0)]
    rows = arrivals(legs, Identity.TIMED)
    found = matched(rows, are_states=True)
    assert [rows.says[n] for n in np.flatnonzero(found.won)] == ["1", "3", "2", "4", "5"]
    assert [rows.says[n] for n in np.flatnonzero(found.overtaken)] == ["2"]


def test_pairs_do_not_cross_when_a_state_comes_back() -> None:
    # B misses the first x: its x is the later one of A, or y would seem to be overtaken.
    rows = arrivals(
        [(0, 10, "x", 0), (0, 20, "y", 0), (0, 30, "x", 0), (1, 21, "y", 0), (1, 31, "x", 0)], Identity.TIMED
    )
    found = matched(rows, are_states=True)
    assert kept(rows, found) == [(0, 10, "x"), (0, 20, "y"), (0, 30, "x")]
    assert not found.overtaken.any()


def test_what_happened_may_come_in_another_order() -> None:
    legs = [(0, 10, "x", 0), (0, 11, "y", 0), (1, 12, "y", 0), (1, 13, "x", 0)]
    rows = arrivals(legs, Identity.TIMED)
    found = matched(rows, are_states=False)
    assert kept(rows, found) == [(0, 10, "x"), (0, 11, "y")]
    assert not found.overtaken.any()
    assert len(kept(rows, matched(rows, are_states=True))) == 3, "of a state that comes back nobody can tell"


def test_leads_tell_who_was_first_by_how_much_and_what_one_leg_only_had() -> None:
    legs = [(0, 10, "1", 0), (1, 12, "1", 0), (0, 20, "2", 0), (1, 24, "2", 0), (1, 30, "3", 0), (0, 31, "3", 0)]
    legs += [(0, 40, "4", 0), (1, 50, "5", 0), (1, 51, "6", 0), (0, 60, "7", 0), (1, 60, "7", 0)]
    rows = arrivals(legs, Identity.TIMED)
    found = matched(rows, are_states=True)
    one = leads("trades", "BTC-USDT", rows, found, found.won)
    assert (one.rows, one.ties, one.overtaken) == (7, 1, 0)
    assert (one.a.first, one.a.only, one.a.lead_median_ms) == (2, 1, 3.0)
    assert one.a.lead_p99_ms == pytest.approx(3.98)
    assert (one.b.first, one.b.only, one.b.lead_median_ms, one.b.lead_p99_ms) == (1, 2, 1.0, 1.0)
    assert leads("trades", "BTC-USDT", rows, found, found.won & False).rows == 0
