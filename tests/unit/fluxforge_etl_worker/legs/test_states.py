from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge.domain.control import Event, FeedKey
from fluxforge_etl_worker.coverage import COLLECTOR, CoverageRow
from fluxforge_etl_worker.history import CONTROL_REACH_NS
from fluxforge_etl_worker.legs.states import Timeline, controls, hole_rows, leg_timeline, merged_timeline
from fluxforge_etl_worker.soundness import BookState, soundness_of

BOOK = FeedKey("orderbook", "BTC-USDT")
SYNCED, STALE, SUSPECT = BookState.SYNCED, BookState.STALE, BookState.SUSPECT


def row(event: str, from_ns: int, to_ns: int | None = None, **more: Any) -> CoverageRow:
    values = {"hole": None, "boot": "b1", "seq": from_ns, "reason": None, "count": 3, **more}
    return CoverageRow(BOOK, "BTC/USDT", event=event, from_ns=from_ns, to_ns=to_ns, detector=COLLECTOR, **values)


def leg(*rows: CoverageRow) -> Timeline:
    return leg_timeline(rows, has_records=True)


def states(timeline: Timeline) -> list[tuple[int, BookState]]:
    return [(change.at_ns, change.state) for change in timeline.changes]


def begun(at_ns: int = 10, boot: str = "b1") -> list[CoverageRow]:
    hole = f"{boot}:1"
    return [row("started", at_ns - 5, hole=hole, boot=boot), row("resynced", at_ns - 5, at_ns, hole=hole, boot=boot)]


def test_a_leg_captures_nothing_before_it_is_told_of_and_all_when_nobody_ever_tells() -> None:
    assert leg(*begun()).before is SUSPECT
    assert states(leg(*begun())) == [(10, SYNCED)]
    assert leg_timeline([], has_records=True).at(0) is SYNCED
    assert leg_timeline([], has_records=False).at(0) is SUSPECT


def test_a_hole_lasts_until_its_own_end_and_a_stall_is_stale() -> None:
    found = leg(
        *begun(),
        row("stalled", 20, hole="b1:2"),
        row("gap", 22, hole="b1:3"),
        row("resynced", 20, 30, hole="b1:2"),
        row("resynced", 22, 33, hole="b1:3"),
    )
    assert states(found) == [(10, SYNCED), (20, STALE), (30, SUSPECT), (33, SYNCED)]


@pytest.mark.parametrize("event", ["stopped", "lane_closed", "gap"])
def test_what_a_life_left_open_is_closed_by_the_next_one(event: str) -> None:
    found = leg(*begun(), row(event, 20, hole="b1:9" if event == "gap" else None), *begun(40, "b2"))
    assert states(found) == [(10, SYNCED), (20, SUSPECT), (40, SYNCED)]


def test_a_crash_counts_from_the_last_record() -> None:
    found = leg(*begun(), row("crash", 20, 35, hole="b2:1", boot="b2"), *begun(40, "b2"))
    assert states(found) == [(10, SYNCED), (20, SUSPECT), (40, SYNCED)]


def test_a_lost_stretch_ends_by_itself_when_nobody_speaks_and_else_when_the_feed_is_told_to_be_sound() -> None:
    lost = row("lost", 100, 200, hole="MD:7")
    end_ns = 200 + CONTROL_REACH_NS
    assert states(leg(*begun(), lost)) == [(10, SYNCED), (100, SUSPECT), (end_ns, SYNCED)]
    told = [row("gap", 300, hole="b1:4"), row("resynced", 300, 2 * end_ns, hole="b1:4")]
    assert states(leg(*begun(), lost, *told)) == [(10, SYNCED), (100, SUSPECT), (2 * end_ns, SYNCED)]


def test_events_that_say_nothing_of_soundness_change_nothing() -> None:
    assert states(leg(*begun(), row("connected", 12), row("rejected", 13), row("crossed", 14))) == [(10, SYNCED)]


def test_a_record_is_judged_by_what_was_before_it() -> None:
    found = leg(*begun(), row("stalled", 20, hole="b1:2"), row("resynced", 20, 30, hole="b1:2"))
    assert found.is_sound_before(np.array([10, 11, 20, 21, 30, 31])).tolist() == [False, True, True, False, False, True]


def test_a_hole_counts_only_where_the_other_leg_has_one_too() -> None:
    a = leg(*begun(), row("gap", 20, hole="b1:2"), row("resynced", 20, 40, hole="b1:2"))
    b = leg(
        *begun(11, "b2"), *(row("stalled", 30, boot="b2", hole="b2:2"), row("resynced", 30, 50, boot="b2", hole="b2:2"))
    )
    both = merged_timeline(a, b)
    assert states(both) == [(10, SYNCED), (30, STALE), (40, SYNCED)]
    rows = hole_rows(BOOK, both, 0, 100)
    assert [(one.event, one.hole, one.from_ns, one.to_ns, one.boot) for one in rows] == [
        ("resynced", "b1:1", 5, 10, "b1"),
        ("stalled", "b2:2", 30, None, "b2"),
        ("resynced", "b2:2", 30, 40, "b1"),
    ]
    assert {one.count for one in rows} == {None}
    later = hole_rows(BOOK, both, 35, 100)
    assert [(one.event, one.hole) for one in later] == [("resynced", "b2:2")], "a hole keeps its name over the hour"


def test_a_hole_that_ends_by_itself_is_told_to_end() -> None:
    lost = [row("lost", 100, 200, hole="MD:7")]
    both = merged_timeline(leg(*begun(), *lost), Timeline(SUSPECT))
    assert [(one.event, one.to_ns) for one in hole_rows(BOOK, both, 50, 1 << 62)] == [
        ("lost", None),
        ("resynced", 200 + CONTROL_REACH_NS),
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (begun(), [("resynced", 51, 51)]),
        ([*begun(), row("stalled", 20, hole="b1:2"), row("gap", 30, hole="b1:3")], [("stalled", 51, None)]),
        ([], []),
        (begun(60), [("resynced", 55, 60)]),
    ],
)
def test_the_first_hour_says_in_which_state_a_feed_enters_it(
    rows: list[CoverageRow], told: list[tuple[str, int, int | None]]
) -> None:
    found = hole_rows(BOOK, leg(*rows), 50, 100, first_ns=50)
    assert [(one.event, one.from_ns, one.to_ns) for one in found] == told
    assert hole_rows(BOOK, leg(*begun()), 100, 150, first_ns=50) == [], "later hours do not"


def test_no_hole_begins_before_the_first_hour_and_a_hole_keeps_its_name_in_it() -> None:
    timeline = leg(*begun(), row("gap", 20, hole="b1:2"), row("resynced", 20, 120, hole="b1:2"))
    (entered,) = hole_rows(BOOK, timeline, 50, 100, first_ns=50)
    (ended,) = hole_rows(BOOK, timeline, 100, 150, first_ns=50)
    assert (entered.event, entered.hole, entered.from_ns) == ("gap", "b1:2", 51)
    assert (ended.event, ended.hole, ended.from_ns, ended.to_ns) == ("resynced", "b1:2", 51, 120)


def test_a_hole_that_changes_its_kind_is_told_of_by_the_kind_it_has_then() -> None:
    timeline = leg(
        *begun(),
        row("stalled", 20, hole="b1:2"),
        row("gap", 30, hole="b1:3"),
        row("resynced", 20, 40, hole="b1:2"),
        row("resynced", 30, 60, hole="b1:3"),
    )
    found = [(one.event, one.hole, one.from_ns, one.to_ns) for one in hole_rows(BOOK, timeline, 15, 100)]
    assert found == [("stalled", "b1:2", 20, None), ("gap", "b1:2", 40, None), ("resynced", "b1:2", 20, 60)]


STATES = st.lists(
    st.tuples(st.integers(1, 200), st.sampled_from([SYNCED, STALE, SUSPECT])), max_size=8, unique_by=lambda one: one[0]
)


def made(before: BookState, changes: list[tuple[int, BookState]]) -> Timeline:
    """Return the timeline of what coverage rows would say."""
    second = 1_000_000_000
    rows: list[CoverageRow] = [] if before is SYNCED else [row("started", 0)]
    if before is SYNCED:
        rows = [row("started", -2), row("resynced", -2, -1)]
    state = before
    for at, now in sorted(changes):
        if now is state:
            continue
        if state is not SYNCED:
            rows.append(row("resynced", at * second - 1, at * second - 1))
        if now is not SYNCED:
            rows.append(row("stalled" if now is STALE else "gap", at * second))
        state = now
    return leg(*rows)


@given(st.sampled_from([SYNCED, SUSPECT]), STATES, st.sampled_from([SYNCED, SUSPECT]), STATES, st.integers(0, 150))
def test_the_control_records_say_what_the_better_leg_says_at_any_time(
    before_a: BookState,
    changes_a: list[tuple[int, BookState]],
    before_b: BookState,
    changes_b: list[tuple[int, BookState]],
    after_s: int,
) -> None:
    second = 1_000_000_000
    a, b = made(before_a, changes_a), made(before_b, changes_b)
    both = merged_timeline(a, b)
    until_ns = 300 * second
    rows = controls(BOOK, both, (a, b), after_s * second, until_ns)
    assert all(after_s * second < one.capture_ns <= until_ns for one in rows)
    told = soundness_of(BOOK, rows)
    times = np.arange(after_s * second + 1, until_ns, second // 2)
    wanted = [min(a.at(at), b.at(at), key=[SYNCED, STALE, SUSPECT].index) for at in times.tolist()]
    assert told.states_at(times).tolist() == wanted
    # What is not sound is told again, so that a look back of half a minute meets it.
    open_ns = [one.capture_ns for one in rows if one.control.event is not Event.RESYNCED]
    for begin, end in pairwise(both.changes):
        inside = [at for at in open_ns if begin.at_ns <= at < end.at_ns]
        if begin.state is not SYNCED and begin.at_ns > after_s * second:
            assert len(inside) == 1 + (end.at_ns - begin.at_ns - 1) // CONTROL_REACH_NS
