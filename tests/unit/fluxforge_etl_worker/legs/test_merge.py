"""Two legs that lost different records become what one leg would have been that lost none."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge_etl_worker.legs.hour import HOUR_NS
from fluxforge_etl_worker.legs.ledger import Delays
from fluxforge_etl_worker.legs.merge import HourOutcome
from tests.unit.fluxforge_etl_worker.legs.pair import (
    END,
    HOUR,
    LANE,
    LATER,
    LEG_B,
    by_symbol,
    lane,
    merger,
    rows,
    split,
    worked,
)
from tests.unit.fluxforge_etl_worker.samples import Recording, S, options, sealed, stored, worker_on
from tests.unit.fluxforge_etl_worker.steps import At, KilledError, SteppedStore, everything, killed

RECORDS = 500
BOOK = FeedKey("orderbook", "BTC-USDT")
DATASETS = ("orderbook/hf", "orderbook/bars", "orderbook/books", "trades", "ticker")


def pair(seed: int = 1, cuts: tuple[int, ...] = (60, 200), lost: float = 0.5) -> MemoryStore:
    """Return a store in which both legs stand in Parquet."""
    store = MemoryStore()
    a, b = split(lane(RECORDS), Random(seed), lost=lost)
    worked(store, LANE, a, cuts)
    worked(store, LEG_B, b, [cut + 31 for cut in cuts])
    return store


@pytest.fixture(scope="module")
def perfect() -> MemoryStore:
    store = MemoryStore()
    worked(store, LANE, lane(RECORDS))
    return store


def within(found: list[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """Return the rows of the two hours that are over."""
    ends = [row["ts_ns"] + (row["duration"] * S if dataset == "orderbook/bars" else 0) for row in found]
    return [row for row, end in zip(found, ends, strict=True) if HOUR < end <= END + HOUR_NS]


@pytest.mark.parametrize("seed", range(3))
def test_the_merged_hours_are_those_of_the_leg_that_lost_nothing(perfect: MemoryStore, seed: int) -> None:
    store = pair(seed)
    outcomes = list(merger(store).run())
    assert [(one.is_new, bool(one.waits_for)) for one in outcomes[:2]] == [(True, False), (True, False)]
    for dataset in DATASETS:
        found, wanted = rows(store, "ccxt.merged", dataset), within(rows(perfect, "ccxt", dataset), dataset)
        assert len(wanted) > 10 or dataset == "ticker"
        # Compared as text: a float that differs in its last bit is another.
        assert repr(by_symbol(found)) == repr(by_symbol(wanted)), dataset
    states = {row["book_state"] for row in rows(store, "ccxt.merged", "orderbook/hf")}
    assert {"synced", "suspect"} <= states
    hours = {row["ts_ns"] > END for row in rows(store, "ccxt.merged", "orderbook/hf")}
    assert hours == {True, False}, "the story should go over the full hour"


def test_hours_come_out_alike_in_any_order_and_however_the_legs_were_cut() -> None:
    one, other = pair(), pair(cuts=(10, 11, 150, 290))
    for _ in merger(one).run():
        pass
    for begin in (END, HOUR):
        moment = _moment(begin)
        assert [outcome.is_new for outcome in merger(other).run(first=moment, last=moment)] == [True]
    for dataset in DATASETS:
        assert repr(rows(one, "ccxt.merged", dataset)) == repr(rows(other, "ccxt.merged", dataset))


def test_who_captured_a_row_stays_beside_it() -> None:
    store = pair()
    list(merger(store).run())
    boots = {row["boot"].startswith("b9") for row in rows(store, "ccxt.merged", "orderbook/books")}
    assert boots == {True, False}
    own = {(row["boot"], row["seq"]) for leg in ("ccxt", "ccxt.b") for row in rows(store, leg, "trades")}
    assert {(row["boot"], row["seq"]) for row in rows(store, "ccxt.merged", "trades")} <= own


def test_what_leg_a_captured_before_leg_b_began_is_known_in_the_first_hour() -> None:
    store = MemoryStore()
    for leg, began in ((Recording(), END - 8 * HOUR_NS), (Recording(lane=LEG_B, boot="bbbbbbbb"), END - 1800 * S)):
        leg.control(began, Control(Event.STARTED, hole=f"{leg.boot}:1", scope=BOOK, from_ns=began))
        resynced = Control(Event.RESYNCED, hole=f"{leg.boot}:1", scope=BOOK, from_ns=began, to_ns=began + 1)
        leg.control(began + 1, resynced)
        leg.book(END - 60 * S, [[100.0, 1.0]], [[200.0, 1.0]])
        leg.ticker(END + S, last=1.0)
        worked(store, leg.lane, leg.lines)
    list(merger(store).run(last=_moment(HOUR)))
    (told,) = rows(store, "ccxt.merged", "coverage")
    assert (told["event"], told["from_ns"], told["to_ns"]) == ("resynced", HOUR + 1, HOUR + 1)
    assert (told["boot"], told["detector"]) == ("9f3c21ab", "etl")


def test_the_legs_stay_as_they_are_and_a_second_run_changes_nothing() -> None:
    store = pair()
    before = everything(store)
    first = list(merger(store).run())
    after = everything(store)
    assert {key: body for key, body in after.items() if key in before} == before
    assert {key.split("/")[1] for key in after.keys() - before.keys() if key.startswith("processed/")} == {
        "ccxt.merged"
    }
    again = list(merger(store).run())
    assert everything(store) == after
    assert [one.is_new for one in again[:2]] == [False, False]
    assert [one.begin for one in again] == [one.begin for one in first]


def test_the_run_says_how_the_legs_did_feed_by_feed() -> None:
    outcome = next(merger(pair()).run())
    feeds = {(feed.channel, feed.symbol): feed for feed in outcome.feeds}
    books = feeds["orderbook", "BTC-USDT"]
    assert books.a.only > 5
    assert books.b.only > 5
    assert books.ties + books.a.only + books.b.only == books.rows
    assert sum(feed.rows for feed in outcome.feeds if feed.channel == "trades") == outcome.rows["trades"]


def test_an_hour_waits_until_both_legs_are_in_parquet_beyond_it() -> None:
    store = MemoryStore()
    a, b = split(lane(RECORDS), Random(1), lost=0.5)
    worked(store, LANE, a)
    early = [line for line in b if b'"capture_ns":' in line][:40]
    worked(store, LEG_B, early)
    (waiting, *_) = _first(store)
    assert "ccxt-binance-0of1b: sealed up to" in waiting
    assert next(merger(store, is_over=True).run()).is_new


def test_an_hour_waits_for_a_sealed_segment_that_no_worker_has_met() -> None:
    store = MemoryStore()
    a, b = split(lane(RECORDS), Random(1), lost=0.5)
    worked(store, LANE, a)
    (segment,) = sealed(b, (), LEG_B)
    stored(store, segment.body, segment.manifest)
    assert _first(store, is_over=True) == (
        f"ccxt-binance-0of1b {segment.manifest.name}: it is sealed, and not in Parquet yet",
    )
    worker_on(store).process(LEG_B, segment.manifest.name)
    assert _first(store) == ()


def outage(leg: Recording, number: int) -> tuple[list[bytes], list[bytes]]:
    """Return the lines of two segments of a leg that crashed ten minutes before the full hour, for twenty minutes."""
    began = END - 1800 * S + number

    def lives(at: int, after: After | None = None) -> None:
        hole = f"{leg.boot}:1"
        leg.control(at, Control(Event.STARTED, hole=hole, scope=BOOK, from_ns=at, after=after))
        leg.control(at + 1000, Control(Event.RESYNCED, hole=hole, scope=BOOK, from_ns=at, to_ns=at + 1000))
        for n in range(1, 20):
            leg.book(at + n * 60 * S, [[100.0 + n, 1.0]], [[200.0, 1.0]])

    lives(began)
    cut, last_ns, boot = len(leg.lines), leg.records[-1]["capture_ns"], leg.boot
    leg.restart(f"{'ab'[number]}2222222")
    lives(END + 600 * S + number, After(boot, 5, last_ns))
    return leg.lines[:cut], leg.lines[cut:]


def test_a_crash_that_the_next_hour_tells_of_is_waited_for_and_is_a_hole_of_this_one() -> None:
    store, later = MemoryStore(), []
    for number, leg in enumerate((Recording(), Recording(lane=LEG_B, boot="bbbbbbbb"))):
        first, rest = outage(leg, number)
        before, after = sealed([*first, *rest], (len(first),), leg.lane)
        for segment in (before, after):
            stored(store, segment.body, segment.manifest)
        worker_on(store).process(leg.lane, before.manifest.name)
        later.append((leg.lane, after.manifest.name))
    assert [what.rpartition(": ")[2] for what in _first(store, is_over=True)] == [
        "it is sealed, and not in Parquet yet"
    ] * 2, "also where nobody asks how far the legs came"
    for leg_lane, name in later:
        worker_on(store).process(leg_lane, name)
    list(merger(store, is_over=True).run(first=_moment(END)))
    assert _first(store) == ()
    told = [(row["event"], row["from_ns"], row["to_ns"]) for row in rows(store, "ccxt.merged", "coverage")]
    crash_ns = END - 1800 * S + 19 * 60 * S + 1
    assert told[-2:] == [("crash", crash_ns, None), ("resynced", crash_ns, END + 600 * S + 1000)]


@pytest.mark.parametrize("told_s", [9, 10])
def test_an_hour_waits_until_a_stall_that_began_in_it_would_be_told_of(told_s: int) -> None:
    store = MemoryStore()
    for leg in (Recording(), Recording(lane=LEG_B, boot="bbbbbbbb")):
        leg.ticker(END - S, last=1.0)
        leg.ticker(END + 10 * S, last=2.0)
        worked(store, leg.lane, leg.lines)
    waits = tuple(
        f"ccxt-binance-{shard}: sealed up to 2023-11-14 23:00:10, wanted beyond 2023-11-14 23:00:10"
        for shard in ("0of1", "0of1b")
    )
    assert _first(store, delays=Delays(told_ns=told_s * S, sealed_ns=0)) == (() if told_s < 10 else waits)


@pytest.mark.parametrize(
    ("shards", "missing"),
    [
        ((), ["0of1"]),
        (("0of1",), []),
        (("0of2",), ["1of2"]),
        (("0of1", "1of2"), ["0of2"]),
        (("0of2", "1of2"), []),
    ],
)
def test_an_hour_waits_for_a_lane_of_which_nothing_is_sealed_yet(shards: tuple[str, ...], missing: list[str]) -> None:
    store = MemoryStore()
    for n, shard in enumerate((*shards, "0of1b")):
        leg = Recording(lane=Lane("ccxt", "binance", shard), boot=f"aaaaaaa{n}")
        leg.ticker(END - S, last=1.0)
        leg.ticker(END + S + n, last=2.0)
        worked(store, leg.lane, leg.lines)
    waits = tuple(f"ccxt-binance-{shard}: nothing of it is sealed yet" for shard in missing)
    assert _first(store) == waits
    assert _first(store, is_over=True) == ()


def test_a_segment_whose_name_tells_no_hour_hides_none_before_it() -> None:
    store = MemoryStore()
    for leg in (Recording(), Recording(lane=LEG_B, boot="bbbbbbbb")):
        leg.ticker(END - HOUR_NS - S, last=1.0)
        leg.ticker(END - S, last=2.0)
        leg.ticker(END + 2 * HOUR_NS + S, last=3.0)
        (old,) = sealed(leg.lines[:1], (), leg.lane)
        by_hand = replace(old.manifest, name="zz_old", file="zz_old.ndjson")
        stored(store, old.body, by_hand)
        worker_on(store).process(leg.lane, by_hand.name)
        worked(store, leg.lane, leg.lines[1:], (1,))
    outcomes = list(merger(store).run())[:4]
    assert [(one.is_new, one.begin) for one in outcomes] == [
        (True, _moment(END - 2 * HOUR_NS + n * HOUR_NS)) for n in range(4)
    ]
    assert [row["last"] for row in rows(store, "ccxt.merged", "ticker")] == [1.0, 2.0]


def test_an_hour_that_is_not_over_is_not_looked_at() -> None:
    assert list(merger(pair(), now=END - 1).run()) == []


def test_without_books_nothing_is_merged() -> None:
    with pytest.raises(ConfigurationError, match="keep_books: true"):
        list(merger(pair(), options(keep_books=False)).run())


def test_an_exchange_with_one_leg_is_none_of_ours(perfect: MemoryStore) -> None:
    assert list(merger(perfect).run()) == []


def test_a_rescue_lane_of_a_leg_counts_as_that_leg() -> None:
    store = MemoryStore()
    a, b = split(lane(RECORDS), Random(1), lost=0.0)
    worked(store, LANE, a)
    worked(store, LEG_B, b[:5] + b[-1:])
    worked(store, Lane("ccxt", "binance", "0of1br9f3c"), b[5:-1])
    outcome = next(merger(store).run())
    assert outcome.is_new
    assert {feed.b.only for feed in outcome.feeds} == {0}
    assert all(feed.a.only == 0 for feed in outcome.feeds)


def test_a_leg_that_stopped_in_order_is_not_waited_for() -> None:
    a, b = (Recording(), Recording(lane=LEG_B, boot="bbbbbbbb"))
    feeds = (FeedKey("ticker", "BTC-USDT"),)
    for leg in (a, b):
        leg.control(END - 9 * S, Control(Event.STARTED, feeds=feeds))
        leg.ticker(END - 8 * S, last=1.0)
    a.control(END - 7 * S, Control(Event.STOPPED, feeds=feeds))
    store = MemoryStore()
    worked(store, LANE, a.lines)
    worked(store, LEG_B, b.lines)
    assert _first(store) == ("ccxt-binance-0of1b: sealed up to 2023-11-14 22:59:52, wanted beyond 2023-11-14 23:00:00",)


def test_a_leg_that_was_started_again_after_it_stopped_is_waited_for_as_long_as_sealing_takes() -> None:
    a, b = (Recording(), Recording(lane=LEG_B, boot="bbbbbbbb"))
    feeds = (FeedKey("ticker", "BTC-USDT"),)
    for leg in (a, b):
        leg.control(END - 9 * S, Control(Event.STARTED, feeds=feeds))
        leg.ticker(END - 8 * S, last=1.0)
    a.control(END - 7 * S, Control(Event.STOPPED, feeds=feeds, from_ns=END - 7 * S))
    cut = len(a.lines)
    a.restart("a2222222")
    a.control(END - 6 * S, Control(Event.STARTED, feeds=feeds))
    a.ticker(END - 5 * S, last=2.0)
    b.ticker(END + S, last=1.0)
    store, sealing = MemoryStore(), Delays(told_ns=0, sealed_ns=300 * S)
    first, rest = sealed(a.lines, (cut,), LANE)
    stored(store, first.body, first.manifest)
    worker_on(store).process(LANE, first.manifest.name)
    worked(store, LEG_B, b.lines)
    assert _first(store, now=END + 300 * S - 1, delays=sealing) == (
        "ccxt-binance-0of1: sealed up to 2023-11-14 22:59:53, wanted beyond 2023-11-14 23:00:00",
    )
    stored(store, rest.body, rest.manifest)
    worker_on(store).process(LANE, rest.manifest.name)
    assert "sealed up to 2023-11-14 22:59:55" in _first(store, now=END + 300 * S, delays=sealing)[0], (
        "it did not end in order"
    )


def test_a_feed_that_was_left_off_is_no_end_of_its_collector() -> None:
    a, b = (Recording(), Recording(lane=LEG_B, boot="bbbbbbbb"))
    for leg in (a, b):
        leg.ticker(END - 8 * S, last=1.0)
    left = Control(Event.STOPPED, hole="9f3c21ab:7", feeds=(FeedKey("trades", "OLD-USDT"),), from_ns=END - 7 * S)
    a.control(END - 7 * S, left)
    b.ticker(END + S, last=1.0)
    store = MemoryStore()
    worked(store, LANE, a.lines)
    worked(store, LEG_B, b.lines)
    assert "ccxt-binance-0of1: sealed up to" in _first(store)[0]


def test_parts_that_are_lost_between_commit_and_place_are_made_again() -> None:
    whole, store = pair(), pair()
    list(merger(whole).run(last=_moment(HOUR)))

    def lost() -> None:
        for key in list(store.keys(".tmp")):
            store.delete(key)
        raise KilledError

    lane_of_hour = "commits/ccxt-binance-0of1m/hour_20231114T22"

    def step(operation: str) -> None:
        if operation.startswith("move ") and store.size(f"{lane_of_hour}.json") is not None:
            lost()

    with pytest.raises(KilledError):
        list(merger(SteppedStore(store, step)).run(last=_moment(HOUR)))
    assert not list(store.keys("processed/ccxt.merged"))
    list(merger(store).run(last=_moment(HOUR)))
    assert store.size(f"{lane_of_hour}.r2.json") is not None
    for dataset in DATASETS:
        assert rows(store, "ccxt.merged", dataset) == rows(whole, "ccxt.merged", dataset)
    assert not list(store.keys(".tmp"))


def test_files_that_the_compactor_merged_meanwhile_are_looked_for_anew() -> None:
    whole, store = pair(), pair()
    list(merger(whole).run(last=_moment(HOUR)))
    renamed: list[str] = []

    def step(operation: str) -> None:
        verb, _, key = operation.partition(" ")
        if verb == "size" and key.startswith("processed/ccxt/trades") and key.endswith("1.parquet") and not renamed:
            renamed.append(key)
            store.move(key, key.replace("part_", "again_"))

    list(replace(merger(SteppedStore(store, step)), follows_journal=False).run(last=_moment(HOUR)))
    assert renamed
    assert rows(store, "ccxt.merged", "trades") == rows(whole, "ccxt.merged", "trades")


def test_a_run_of_many_hours_reads_what_is_told_of_the_legs_once() -> None:
    store, opened = pair(), Counter[str]()

    def step(operation: str) -> None:
        verb, _, key = operation.partition(" ")
        if verb == "size" and "/coverage/" in key and "ccxt.merged" not in key:
            opened[key] += 1

    outcomes = list(merger(SteppedStore(store, step)).run())
    assert (sum(one.is_new for one in outcomes), sum(bool(one.waits_for) for one in outcomes)) == (2, 9)
    assert len(opened) > 2
    assert set(opened.values()) == {1}


def test_what_somebody_left_beside_an_hour_that_is_in_place_goes() -> None:
    store = pair()
    list(merger(store).run())
    before = everything(store)
    store.create(".tmp/ccxt-binance-0of1m_hour_20231114T22.1-abcdef01/00001.parquet", b"of one who came too late")
    store.create(".tmp/ccxt-binance-0of1_hour_20231114T22.1-abcdef01/00001.parquet", b"another's")
    list(merger(store).run())
    assert set(everything(store)) - set(before) == {".tmp/ccxt-binance-0of1_hour_20231114T22.1-abcdef01/00001.parquet"}


def test_killed_before_any_operation_the_next_run_ends_it_and_nothing_is_left_over() -> None:
    recording = Recording()
    for n in range(4):
        recording.book(END - 2 * S + n, [[100.0 + n, 1.0]], [[200.0, 1.0]])
    recording.ticker(END + S, last=1.0)
    store = MemoryStore()
    a, b = split(recording.lines, Random(1), lost=0.5)
    worked(store, LANE, a)
    worked(store, LEG_B, b)
    begun = {key: store.read(key) for key in store.keys("")}
    few = options(hf_interval_ns=60 * S, horizons_s=(1,), bar_durations_s=(1,))
    now = END + 1
    list(merger(store, few, now).run())
    whole, number = everything(store), 0
    while True:
        broken = MemoryStore()
        for key, body in begun.items():
            broken.create(key, body)
        step = At(number, killed)
        try:
            list(merger(SteppedStore(broken, step), few, now).run())
        except KilledError:
            for key in broken.keys("processed/ccxt.merged"):
                assert broken.read(key) == whole[key], "a part of an hour is the whole part"
        list(merger(broken, few, now).run())
        assert everything(broken) == whole
        if not step.was_reached:
            break
        number += 1
    assert number > 20


def _first(store: MemoryStore, now: int = LATER, **more: Any) -> tuple[str, ...]:
    outcome: HourOutcome = next(merger(store, now=now, **more).run())
    return outcome.waits_for


def _moment(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // 10**9, tz=UTC)
