from fluxforge_simulator.market.statistics import DayStatistics


def test_the_day_begins_with_the_move_that_was_asked_for() -> None:
    day = DayStatistics.begin(10_100, 500, 0.01)
    assert day.open == 10_000
    assert day.low < 10_000
    assert day.high > 10_100
    assert day.volume == 500


def test_trades_widen_the_range_and_add_up() -> None:
    day = DayStatistics.begin(100, 10, 0.0)
    turnover = day.turnover
    day.take(500, 3)
    day.take(1, 2)
    assert (day.high, day.low, day.volume) == (500, 1, 15)
    assert day.turnover == turnover + 1502
    assert day.vwap == day.turnover / 15
