from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.ccxt_source.pacing import PACES, UNLIMITED, Pace, Turns, Window, pace_of


def turns_at(pace: Pace, asked_s: list[float]) -> list[float]:
    turns = Turns(pace)
    return [now_s + turns.wait_s(now_s) for now_s in asked_s]


@given(
    pace=st.sampled_from([*PACES.values(), pace_of("none of these")]),
    gaps_s=st.lists(st.floats(0, 2, allow_nan=False) | st.just(0.0), min_size=1, max_size=300),
)
def test_no_window_of_a_venue_ever_holds_more_subscriptions_than_it_takes(pace: Pace, gaps_s: list[float]) -> None:
    now_s, asked_s = 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        asked_s.append(now_s)
    given_s = turns_at(pace, asked_s)
    assert given_s == sorted(given_s)
    for window in pace.windows:
        for first, beyond in zip(given_s, given_s[window.count :], strict=False):
            assert beyond - first >= window.span_s - 1e-6


def test_turns_are_given_at_once_as_long_as_the_venue_takes_them() -> None:
    assert turns_at(Pace((Window(3, 1.0),)), [5.0, 5.0, 5.0, 5.0, 9.0]) == [5.0, 5.0, 5.0, 6.0, 9.0]
    assert turns_at(UNLIMITED, [5.0] * 1000) == [5.0] * 1000


def test_a_long_window_holds_back_what_a_short_one_would_let_go() -> None:
    pace = Pace((Window(2, 1.0), Window(3, 60.0)))
    assert turns_at(pace, [0.0] * 4) == [0.0, 0.0, 1.0, 60.0]


def test_a_new_connection_begins_the_long_windows_anew_and_not_the_short_one() -> None:
    turns = Turns(Pace((Window(2, 1.0), Window(3, 60.0))))
    assert [turns.wait_s(0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    turns.renew()
    assert [1.0 + turns.wait_s(1.0) for _ in range(2)] == [1.0, 60.0]


def test_200_subscriptions_of_a_venue_that_is_not_known_take_their_time() -> None:
    assert turns_at(pace_of("none of these"), [0.0] * 200)[-1] == 49.0
