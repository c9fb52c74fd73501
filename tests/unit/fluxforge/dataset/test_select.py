"""Which partitions may hold what is asked for."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from fluxforge.dataset import Selection
from fluxforge.domain.errors import UsageError

DAY = ("exchange=binance", "symbol=BTC-USDT", "date=2026-11-22")


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({}, True),
        ({"exchange": "binance"}, True),
        ({"exchange": ["kraken", "binance"]}, True),
        ({"exchange": "kraken"}, False),
        ({"symbol": "BTC/USDT"}, True),
        ({"symbol": "BTC-USDT"}, True),
        ({"symbol": ["ETH/USDT"]}, False),
        ({"start": "2026-11-22T23:59:59"}, True),
        ({"start": "2026-11-23"}, False),
        ({"end": "2026-11-22"}, False),
        ({"end": "2026-11-22T00:00:01"}, True),
        ({"start": date(2026, 11, 22), "end": date(2026, 11, 23)}, True),
        ({"start": datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2)))}, True),
        ({"start": datetime(2026, 11, 23, 2, tzinfo=timezone(timedelta(hours=2)))}, False),
    ],
)
def test_a_partition_that_cannot_hold_it_is_not_read(given, holds):
    assert Selection.of(**given).may_hold(DAY) is holds


def test_hours_are_told_apart_and_unknown_directories_are_read():
    selection = Selection.of(start="2026-11-22T10:00", end="2026-11-22T11:00")
    held = [hour for hour in range(24) if selection.may_hold((*DAY, f"hour={hour:02d}"))]
    assert held == [10]
    assert selection.may_hold(("exchange=binance",))
    assert selection.may_hold(("date=soon",))
    assert not Selection.of(symbol="BTC/USD:BTC").may_hold(("symbol=BTC-USD",))
    assert Selection.of(symbol="1000%/X").may_hold(("symbol=1000%25-X",))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"start": "yesterday"}, "start: expected a time such as"),
        ({"end": "2026-13-01"}, "end: expected a time such as"),
        ({"start": "2026-11-22", "end": "2026-11-22"}, "must lie before end"),
    ],
)
def test_what_is_no_time_is_refused(given, says):
    with pytest.raises(UsageError, match=says):
        Selection.of(**given)
    assert Selection.of(start="2026-11-22").start == datetime(2026, 11, 22, tzinfo=UTC)
