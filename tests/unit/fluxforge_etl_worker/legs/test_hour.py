"""What becomes of one hour: which books count, which only stand there, and channels of any kind."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.partition import Dataset
from fluxforge_etl_worker.legs.merge import HourOutcome, Merger
from fluxforge_etl_worker.work import Worker
from tests.unit.fluxforge_etl_worker.legs.pair import AT_ONCE, END, HOUR, LEG_B, Rows, rows
from tests.unit.fluxforge_etl_worker.samples import MS, OPTIONS, Recording, S, sealed, stored, trade

BOOK = FeedKey("orderbook", "BTC-USDT")
BEGIN = END - 600 * S
Legs = tuple[Recording, Recording]


@pytest.fixture
def legs() -> Legs:
    """Two legs whose feeds are sound from the begin on."""
    found = (Recording(), Recording(lane=LEG_B, boot="bbbbbbbb"))
    for leg in found:
        leg.control(BEGIN, Control(Event.STARTED, hole=f"{leg.boot}:1", scope=BOOK, from_ns=BEGIN))
        resynced = Control(Event.RESYNCED, hole=f"{leg.boot}:1", scope=BOOK, from_ns=BEGIN, to_ns=BEGIN + 1)
        leg.control(BEGIN + 1, resynced)
    return found


def merged(legs: Legs, store: MemoryStore, **changes: Any) -> HourOutcome:
    """Return what the hour of two legs becomes, which end with a record of the next hour."""
    chosen = replace(OPTIONS, **changes)
    worker = Worker(store, store, chosen, ManualClock(END + S))
    for leg in legs:
        leg.ticker(END + S, "SOL/USDT", last=1.0)
        for segment in sealed(leg.lines, (), leg.lane):
            stored(store, segment.body, segment.manifest)
            worker.process(leg.lane, segment.manifest.name)
    (outcome,) = Merger(worker, follows_journal=True, delays=AT_ONCE).run()
    assert outcome.is_new
    return outcome


def book(leg: Recording, at: int, bid: float, sent_ms: int, **more: Any) -> None:
    leg.book(at, [[bid, 1.0]], [[bid + 1, 1.0]], exchange_ms=sent_ms, **more)


def bids(found: Rows) -> list[float]:
    return [row["bid_px"][0] for row in found]


def mids(store: MemoryStore) -> list[float]:
    return [row["mid_price"] for row in rows(store, "ccxt.merged", "orderbook/hf")]


def test_a_leg_in_a_hole_does_not_count_while_the_other_is_sound(legs: Legs) -> None:
    a, b = legs
    at = BEGIN + 10 * S
    book(a, at, 100.0, 1)
    a.control(at + S, Control(Event.GAP, hole="9f3c21ab:2", scope=BOOK, from_ns=at + S))
    book(a, at + 2 * S, 666.0, 2)  # what a broken book looks like
    a.control(at + 4 * S, Control(Event.RESYNCED, hole="9f3c21ab:2", scope=BOOK, from_ns=at + S, to_ns=at + 4 * S))
    book(a, at + 5 * S, 104.0, 5)
    for n, bid in enumerate((100.0, 102.0, 103.0, 104.0)):
        book(b, at + (n + (n > 0)) * S + 5 * MS, bid, (1, 3, 4, 5)[n])
    store = MemoryStore()
    merged(legs, store)
    assert bids(rows(store, "ccxt.merged", "orderbook/books")) == [100.0, 102.0, 103.0, 104.0]
    assert {row["book_state"] for row in rows(store, "ccxt.merged", "orderbook/hf")} == {"synced"}
    told = [row["event"] for row in rows(store, "ccxt.merged", "coverage")]
    assert told == ["resynced"], "neither leg's hole is one of both"


def test_where_both_legs_are_in_a_hole_everything_stands_and_is_suspect(legs: Legs) -> None:
    at = BEGIN + 10 * S
    for leg, later in zip(legs, (0, 1), strict=True):
        book(leg, at + later, 100.0, 1)
        leg.control(at + S + later, Control(Event.GAP, hole=f"{leg.boot}:2", scope=BOOK, from_ns=at + S + later))
    book(legs[0], at + 2 * S, 101.0, 2)
    store = MemoryStore()
    merged(legs, store)
    assert bids(rows(store, "ccxt.merged", "orderbook/books")) == [100.0, 101.0]
    assert [row["book_state"] for row in rows(store, "ccxt.merged", "orderbook/hf")] == ["synced", "suspect"]
    gap = next(row for row in rows(store, "ccxt.merged", "coverage") if row["event"] == "gap")
    assert (gap["boot"], gap["from_ns"], gap["to_ns"], gap["detector"]) == ("bbbbbbbb", at + S + 1, None, "etl")


def test_a_feed_without_a_record_is_told_of_too(legs: Legs) -> None:
    quiet = FeedKey("liquidations", "BTC-USDT")
    for n, leg in enumerate(legs):
        at = BEGIN + (10 + n) * S
        leg.control(at, Control(Event.STARTED, hole=f"{leg.boot}:5", scope=quiet, from_ns=at))
        recovered = Control(Event.RECOVERED, hole=f"{leg.boot}:5", scope=quiet, from_ns=at, to_ns=at + 4 * S)
        leg.control(at + 4 * S, recovered)
    store = MemoryStore()
    merged(legs, store)
    (told,) = [row for row in rows(store, "ccxt.merged", "coverage") if row["channel"] == "liquidations"]
    assert (told["event"], told["to_ns"], told["boot"]) == ("recovered", BEGIN + 14 * S, "9f3c21ab")


def test_a_book_that_came_too_late_stands_among_the_books_and_makes_no_feature(legs: Legs) -> None:
    a, b = legs
    at = BEGIN + 10 * S
    for n in (1, 3):
        book(a, at + n * MS, 100.0 + n, n)
    for n in (1, 2, 3):
        book(b, at + (n + 10) * MS, 100.0 + n, n)
    store = MemoryStore()
    outcome = merged(legs, store)
    assert bids(rows(store, "ccxt.merged", "orderbook/books")) == [101.0, 103.0, 102.0]
    assert mids(store) == [103.5]
    assert [feed.overtaken for feed in outcome.feeds if feed.channel == "orderbook"] == [1]


def test_trades_are_told_apart_by_id_and_without_one_by_what_they_say(legs: Legs) -> None:
    at = BEGIN + 10 * S
    for leg, later in zip(legs, (0, MS), strict=True):
        leg.trades(at + later, trade("7", "buy", 100.0, 1.0, at), trade("8", "buy", 100.0, 1.0, at))
        same = [trade(None, "sell", 100.0, 2.0, at)] * (2 if leg is legs[0] else 1)
        leg.trades(at + S + later, *same)
    legs[1].trades(at + 3 * S, trade("9", "buy", 100.0, 1.0, at), trade("7", "buy", 100.0, 1.0, at))
    store = MemoryStore()
    merged(legs, store)
    found = rows(store, "ccxt.merged", "trades")
    assert [(row["trade_id"], row["boot"][0]) for row in found] == [
        ("7", "9"),
        ("8", "9"),
        (None, "9"),
        (None, "9"),
        ("9", "b"),
    ]


def test_a_trade_that_was_sent_again_or_fetched_later_does_not_take_the_place_of_one_as_it_happened(legs: Legs) -> None:
    a, b = legs
    at = BEGIN + 10 * S
    one, two, three = (trade(str(n), "buy", 100.0, 1.0, at) for n in (1, 2, 3))
    a.trades(at, one, two, snapshot=True)
    b.trades(at + S, one)
    a.trades(at + 2 * S, three, backfill=True)
    b.trades(at + 3 * S, three)
    for n, leg in enumerate(legs):
        leg.lines.sort(key=lambda line: orjson.loads(line)["capture_ns"])
        for later in range(4, 40, 9):
            book(leg, at + later * S + n, 100.0 + later, later)
    store = MemoryStore()
    merged(legs, store)
    found = rows(store, "ccxt.merged", "trades")
    assert [(row["trade_id"], row["resent"], row["source_kind"]) for row in found] == [
        ("2", True, None),
        ("1", False, None),
        ("3", False, None),
    ]
    (bar,) = [row for row in rows(store, "ccxt.merged", "orderbook/bars") if row["duration"] == 60]
    assert bar["trade_count"] == 2


def test_a_trades_feed_that_was_quiet_for_long_is_known(legs: Legs) -> None:
    for leg in legs:
        leg.lines.clear()
        leg.trades(END - 3600 * S - 1000 * S, trade("1", "buy", 100.0, 1.0))
        for n in range(10, 0, -1):
            book(leg, END - n * S, 100.0, 11 - n)
        leg.ticker(END + S, "SOL/USDT", last=1.0)
    store = MemoryStore()
    worker = Worker(store, store, OPTIONS, ManualClock(END + S))
    for leg in legs:
        for segment in sealed(leg.lines, (1,), leg.lane):
            stored(store, segment.body, segment.manifest)
            worker.process(leg.lane, segment.manifest.name)
    assert [one.is_new for one in Merger(worker, follows_journal=True, delays=AT_ONCE).run()] == [True, True]
    for source in ("ccxt", "ccxt.merged"):
        assert rows(store, source, "orderbook/hf")[-1]["trade_count_5s"] == 0, source


def test_channels_of_any_kind_are_merged_whatever_columns_the_legs_began_with(legs: Legs) -> None:
    a, b = legs
    at = BEGIN + 10 * S
    a.add("greeks", "BTC/USDT", at, {"delta": 0.5})
    b.add("greeks", "BTC/USDT", at + MS, {"delta": 0.5}, exchange_ms=at // MS)
    b.add("greeks", "BTC/USDT", at + S, {"delta": 0.75, "theta": "x"})
    for leg in legs:
        leg.add("ohlcv", "BTC/USDT", at + 2 * S, [[1, 1.0, 2.0, 0.5, 1.5, 9.0]])
    store = MemoryStore()
    merged(legs, store)
    assert [(row["delta"], row["more"]) for row in rows(store, "ccxt.merged", "greeks")] == [
        (0.5, None),
        (0.75, '{"theta":"x"}'),
    ]
    assert [row["close"] for row in rows(store, "ccxt.merged", "ohlcv")] == [1.5]


def test_the_partitions_may_be_any(legs: Legs) -> None:
    for n, market in enumerate(("BTC/USDT", "ETH/USDT")):
        for leg in legs:
            leg.ticker(BEGIN + (10 + n) * S, market, last=1.0 + n)
    store = MemoryStore()
    merged(legs, store, partition_cols={Dataset.TICKER: ("source", "hour")})
    assert list(store.keys("processed/ccxt.merged/ticker")) == [
        f"processed/ccxt.merged/ticker/source=ccxt%2Emerged/hour={hour}/part_ccxt-binance-0of1m_hour_20231114T22.parquet"
        for hour in ("22",)
    ]
    assert [row["last"] for row in rows(store, "ccxt.merged", "ticker")] == [1.0, 2.0]


def test_a_disabled_channel_is_left_out(legs: Legs) -> None:
    for leg in legs:
        leg.ticker(BEGIN + 10 * S, last=1.0)
        book(leg, BEGIN + 11 * S, 100.0, 1)
    store = MemoryStore()
    assert set(merged(legs, store, disabled=frozenset({"ticker"})).rows) == {
        "coverage",
        "orderbook/bars",
        "orderbook/books",
        "orderbook/hf",
    }


def test_what_one_leg_was_first_with_before_the_hour_is_not_told_again_in_it(legs: Legs) -> None:
    a, b = legs
    book(a, END - MS, 100.0, 1)
    book(b, END + MS, 100.0, 1)
    a.ticker(END + 3600 * S + S, "SOL/USDT", last=1.0)
    b.ticker(END + 3600 * S + S, "SOL/USDT", last=1.0)
    store = MemoryStore()
    worker = Worker(store, store, OPTIONS, ManualClock(END + 3601 * S))
    for leg in legs:
        for segment in sealed(leg.lines, (), leg.lane):
            stored(store, segment.body, segment.manifest)
            worker.process(leg.lane, segment.manifest.name)
    assert [one.is_new for one in Merger(worker, follows_journal=True, delays=AT_ONCE).run()] == [True, True]
    assert [row["capture_ns"] for row in rows(store, "ccxt.merged", "orderbook/books")] == [END - MS]


def two_hours(legs: Legs, store: MemoryStore) -> Rows:
    """Return the trades of two hours that were merged, of legs whose lines may stand in any order."""
    worker = Worker(store, store, OPTIONS, ManualClock(END + 3601 * S))
    for leg in legs:
        leg.lines.sort(key=lambda line: orjson.loads(line)["capture_ns"])
        leg.ticker(END + 3600 * S + S, "SOL/USDT", last=1.0)
        for segment in sealed(leg.lines, (), leg.lane):
            stored(store, segment.body, segment.manifest)
            worker.process(leg.lane, segment.manifest.name)
    outcomes = list(Merger(worker, follows_journal=True, delays=AT_ONCE).run())
    assert [one.is_new for one in outcomes] == [True, True]
    return rows(store, "ccxt.merged", "trades")


@pytest.mark.parametrize("again", ["backfill", "snapshot"])
def test_a_trade_that_one_leg_fetches_hours_after_the_other_had_it_stands_once(legs: Legs, again: str) -> None:
    a, b = legs
    sent = [trade(str(n), "buy", 100.0, 1.0, END - (500 - n) * S) for n in range(5)]
    for n, one in enumerate(sent[:3]):
        a.trades(END - (500 - n) * S, one)
    a.trades(END + 590 * S, sent[4])
    b.trades(END + 600 * S, *sent, **{again: True})
    found = two_hours(legs, MemoryStore())
    assert [(row["trade_id"], row["boot"][0]) for row in found] == [
        ("0", "9"),
        ("1", "9"),
        ("2", "9"),
        ("4", "9"),
        ("3", "b"),
    ]


def test_what_was_kept_of_a_trade_in_its_hour_stands_when_a_better_row_comes_in_the_next(legs: Legs) -> None:
    a, b = legs
    one = trade("1", "buy", 100.0, 1.0, END)
    a.trades(END - 5 * MS, one, snapshot=True)
    b.trades(END + 5 * MS, one)
    assert [(row["trade_id"], row["resent"]) for row in two_hours(legs, MemoryStore())] == [("1", True)]


def test_before_the_first_hour_nothing_was_kept(legs: Legs) -> None:
    a, b = legs
    one = trade("1", "buy", 100.0, 1.0, HOUR)
    a.trades(HOUR - 5 * MS, one, snapshot=True)
    b.trades(HOUR + 5 * MS, one)
    for leg in legs:
        leg.lines.sort(key=lambda line: orjson.loads(line)["capture_ns"])
    store = MemoryStore()
    merged(legs, store)
    assert [(row["trade_id"], row["resent"]) for row in rows(store, "ccxt.merged", "trades")] == [("1", False)]
