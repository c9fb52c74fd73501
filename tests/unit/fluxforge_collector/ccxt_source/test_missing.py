from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.ccxt_source.missing import missing_candles, missing_trades


def trades(*ids: int) -> list[dict[str, Any]]:
    return [{"id": str(id_), "timestamp": 1000 + id_, "price": 1.0} for id_ in ids]


def record(*ids: int) -> bytes:
    return orjson.dumps(trades(*ids))


def ids_of(found: Any) -> list[int]:
    return [int(trade["id"]) for trade in found.items]


def test_only_what_stands_between_the_two_records_is_missing() -> None:
    found = missing_trades(trades(*range(1, 12)), before=record(3, 4), first=record(8, 9), from_ms=1004)
    assert found is not None
    assert (ids_of(found), found.is_whole) == ([5, 6, 7], True)


def test_nothing_is_missing_where_the_stream_went_on_without_a_loss() -> None:
    found = missing_trades(trades(*range(1, 12)), before=record(7), first=record(8), from_ms=1004)
    assert found is not None
    assert (ids_of(found), found.is_whole) == ([], True)


def test_a_list_that_does_not_hold_the_first_trade_behind_the_hole_is_not_trusted() -> None:
    assert missing_trades(trades(1, 2, 3), before=record(1), first=record(8), from_ms=1001) is None
    assert missing_trades([], before=record(1), first=record(8), from_ms=1001) is None
    others = [{**trade, "id": f"a{trade['id']}"} for trade in trades(1, 2, 8)]
    assert missing_trades(others, before=record(1), first=record(8), from_ms=1001) is None


def test_a_list_that_does_not_reach_back_is_taken_as_far_as_it_goes() -> None:
    found = missing_trades(trades(*range(6, 12)), before=record(3, 4), first=record(8, 9), from_ms=1004)
    assert found is not None
    assert (ids_of(found), found.is_whole) == ([6, 7], False)


def test_without_a_record_before_time_alone_tells_what_is_missing() -> None:
    found = missing_trades(trades(*range(1, 12)), before=b"", first=record(8), from_ms=1005)
    assert found is not None
    assert (ids_of(found), found.is_whole) == ([5, 6, 7], True)


def test_a_list_newest_first_is_put_in_order() -> None:
    found = missing_trades(trades(9, 8, 7, 6, 5), before=record(5), first=record(8), from_ms=1005)
    assert found is not None
    assert ids_of(found) == [6, 7]


@given(captured=st.integers(1, 30), lost=st.integers(0, 30), after=st.integers(1, 30), reach=st.integers(0, 40))
def test_live_and_backfilled_together_are_every_trade_once(captured: int, lost: int, after: int, reach: int) -> None:
    before = list(range(1, captured + 1))
    hole = list(range(captured + 1, captured + lost + 1))
    behind = list(range(captured + lost + 1, captured + lost + after + 1))
    listed = ([*before, *hole, *behind])[-(reach + after + lost) :]
    found = missing_trades(
        trades(*listed), before=record(*before[-2:]), first=record(*behind[:3]), from_ms=1000 + captured
    )
    assert found is not None
    assert ids_of(found) == hole


def test_candles_that_do_not_reach_both_ends_of_the_hole_are_taken_and_not_called_whole() -> None:
    rows = [[minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0] for minute in range(20)]
    for listed, taken in ((rows[5:], [5, 6, 7, 8]), (rows[:6], [3, 4, 5]), ([], [])):
        found = missing_candles(listed, before=orjson.dumps(rows[3:4]), first=orjson.dumps(rows[9:10]), from_ms=0)
        assert ([row[0] // 60_000 for row in found.items], found.is_whole) == (taken, False)


def test_candles_go_from_the_one_the_hole_began_in_to_the_one_it_ended_in() -> None:
    rows = [[minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0] for minute in range(10)]
    found = missing_candles(rows, before=orjson.dumps(rows[3:4]), first=orjson.dumps(rows[6:7]), from_ms=200_000)
    assert ([row[0] // 60_000 for row in found.items], found.is_whole) == ([3, 4, 5], True)
