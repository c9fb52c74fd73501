from fluxforge_collector.ibkr_source.pace import Keepalive, Pace, Waits

TWS_TICK_BY_TICK_S = 15.0

WAITS = Waits(tick_by_tick_s=15.0, keepalive_s=30.0, answer_s=10.0)


def test_a_contract_is_asked_for_once_in_the_interval_and_others_do_not_wait() -> None:
    pace = Pace(15.0)
    assert pace.ask(1, 100.0) == 0
    assert pace.ask(2, 101.0) == 0
    assert pace.ask(1, 104.0) == 11.0
    assert pace.ask(1, 115.0) == 0
    assert pace.ask(1, 115.5) == 14.5


def test_a_request_that_is_a_second_late_on_its_way_makes_the_next_one_none_too_soon() -> None:
    pace = Pace(Waits().tick_by_tick_s)
    assert pace.ask(1, 100.0) == 0
    wait_s = pace.ask(1, 100.0)
    read_s = 100.0 + 1.0
    assert 100.0 + wait_s - read_s >= TWS_TICK_BY_TICK_S


def test_a_session_that_brings_something_is_never_asked() -> None:
    keepalive = Keepalive(WAITS, 0.0)
    assert not keepalive.is_due(1, 29.0)
    assert not keepalive.is_due(2, 58.0)
    assert keepalive.next_s() == 88.0


def test_a_silent_session_is_asked_once_and_dead_without_an_answer() -> None:
    keepalive = Keepalive(WAITS, 0.0)
    assert keepalive.is_due(0, 30.0)
    assert not keepalive.is_due(0, 31.0)
    assert keepalive.next_s() == 40.0
    assert not keepalive.is_dead(39.9)
    assert keepalive.is_dead(40.0)


def test_an_answer_is_a_sign_of_life() -> None:
    keepalive = Keepalive(WAITS, 0.0)
    assert keepalive.is_due(0, 30.0)
    assert not keepalive.is_due(1, 35.0)
    assert not keepalive.is_dead(50.0)
    assert keepalive.is_due(1, 65.0)
