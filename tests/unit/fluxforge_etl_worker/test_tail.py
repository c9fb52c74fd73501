"""The tail of a segment: its bytes, and what its successors know from it."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.errors import SegmentCorruptError
from fluxforge_etl_worker.history import History, Lookback
from fluxforge_etl_worker.pipeline import Forged, Neighbours, forge, tail_of
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.tail import Tail, history_of
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    MS,
    OPTIONS,
    T0,
    Dataset,
    Recording,
    S,
    Sealed,
    rows_of,
    sealed,
    trade,
)

BOOK = FeedKey("orderbook", "BTC-USDT")


def recording(seconds: int = 400) -> Recording:
    """Return a lane with two books and about one trade a second."""
    chance = Random(5)
    lane = Recording()
    lane.control(T0, Control(Event.STARTED, feeds=(BOOK,)))
    lane.control(T0 + 1, Control(Event.RESYNCED, feeds=(BOOK,)))
    for number in range(2 * seconds):
        at = T0 + number * S // 2 + chance.randrange(2, 400 * MS)
        move = chance.randrange(-3, 4) / 100
        bids = [[price + move, chance.expovariate(1)] for price, _ in BIDS]
        lane.book(at, bids, [[price + move, chance.expovariate(1)] for price, _ in ASKS])
        if chance.random() < 0.5:
            ids = [str(number), str(max(0, number - chance.choice([1, 60, 200])))]
            found = [trade(name, chance.choice(["buy", "sell"]), 100 + move, 1.0, at) for name in ids]
            lane.trades(at + 1, *found)
    return lane


def forged_each(
    segments: Sequence[Sealed],
    lost: frozenset[int] = frozenset(),
    tails: list[Tail] | None = None,
    options: EtlOptions = OPTIONS,
) -> list[Forged]:
    """Return what each segment becomes, and add the tails to `tails`; those of `lost` ones are known to nobody."""
    made: list[Forged] = []
    tails = [] if tails is None else tails
    for number, segment in enumerate(segments):
        previous = segment.manifest.previous
        history = History.of_lane_start(segment.manifest.first_capture_ns)
        if previous is not None:
            known = tails[max(lost, default=-1) + 1 if number > max(lost, default=-1) else 0 : number]
            history = history_of([Tail.from_bytes(tail.to_bytes(), what="t") for tail in known], previous, options)
        neighbours = Neighbours(lambda h=history: h, tails.append)
        made.append(forge(segment.manifest, options, lambda s=segment: [s.body], neighbours))
    return made


def tails_of(segments: Sequence[Sealed]) -> list[Tail]:
    tails: list[Tail] = []
    forged_each(segments, tails=tails)
    return tails


def rows(made: Sequence[Forged], dataset: str) -> list[dict[str, Any]]:
    found = [row for each in made for row in rows_of(each, dataset)]
    return sorted(found, key=lambda row: (row["ts_ns"], row.get("duration", 0), row.get("seq", 0), row.get("idx", 0)))


def test_a_tail_made_beside_the_rows_is_the_tail_made_from_the_raw_bytes() -> None:
    segments = sealed(recording().lines, [100, 400, 410, 900])
    for segment, tail in zip(segments, tails_of(segments), strict=True):
        assert tail.to_bytes() == tail_of(segment.manifest, OPTIONS, lambda s=segment: [s.body]).to_bytes()


def test_a_tail_is_read_back_as_it_was_written() -> None:
    tail = tails_of(sealed(recording(60).lines))[0]
    again = Tail.from_bytes(tail.to_bytes(), what="tail")
    assert again.to_bytes() == tail.to_bytes()
    assert (again.segment, again.previous, again.last_capture_ns) == (tail.segment, None, tail.last_capture_ns)


def test_a_tail_holds_its_lookback_and_no_more() -> None:
    tail = tails_of(sealed(recording().lines))[0]
    (past,) = tail.history.instruments.values()
    assert past.updates.capture_ns[0] > tail.last_capture_ns - OPTIONS.lookback.books_ns
    assert past.trades.capture_ns[0] > tail.last_capture_ns - OPTIONS.lookback.reach_ns
    assert past.last is not None
    assert past.last.keys.capture_ns[0] == past.updates.capture_ns[-1]
    assert tail.history.controls == ()
    assert dict(tail.history.trades_since) == {"BTC-USDT": 0}  # long before what is kept


def test_bytes_that_are_no_tail_are_refused_by_name() -> None:
    body = tails_of(sealed(recording(20).lines))[0].to_bytes()
    for spoiled in (b"", b"ARROW1", body[:-40], body[: len(body) // 2] + bytes(len(body) // 2)):
        with pytest.raises(SegmentCorruptError, match=r"tails/x\.tail\.arrow"):
            Tail.from_bytes(spoiled, what="tails/x.tail.arrow")


def test_cuts_change_no_row() -> None:
    lines = recording(250).lines
    whole = forged_each(sealed(lines))
    pieces = forged_each(sealed(lines, Random(1).sample(range(1, len(lines)), 15)))
    for dataset in (Dataset.HF, Dataset.BARS, Dataset.TRADES, Dataset.COVERAGE):
        assert rows(pieces, dataset) == rows(whole, dataset)
    assert any(row["resent"] for row in rows(whole, Dataset.TRADES))
    assert any(row["trade_kyle_lambda_60s"] is not None for row in rows(whole, Dataset.HF))


def test_after_a_lost_tail_what_reaches_back_into_it_is_null_and_nothing_else_differs() -> None:
    lines = recording().lines
    cuts = [300, 500]
    tails: list[Tail] = []
    whole, broken = forged_each(sealed(lines, cuts), tails=tails), forged_each(sealed(lines, cuts), frozenset({1}))
    assert rows(broken[:2], Dataset.HF) == rows(whole[:2], Dataset.HF)
    lost_ns = tails[1].last_capture_ns
    blind_ns = lost_ns + 30 * S
    before, after = rows_of(whole[2], Dataset.HF), rows_of(broken[2], Dataset.HF)
    assert [row["ts_ns"] for row in after] == [row["ts_ns"] for row in before if row["ts_ns"] > lost_ns + S]
    for row, was in zip(after, before[len(before) - len(after) :], strict=True):
        for horizon_s in OPTIONS.horizons_s:
            if row["ts_ns"] - horizon_s * S <= blind_ns:
                assert row[f"log_return_{horizon_s}s"] is None
                assert row[f"ofi_sum_{horizon_s}s"] is None
            elif row["ts_ns"] > lost_ns + 200 * S:
                assert row == was
    bars, known = rows_of(broken[2], Dataset.BARS), rows_of(whole[2], Dataset.BARS)
    assert not any(bar["complete"] for bar in bars if bar["ts_ns"] <= blind_ns)
    assert [bar for bar in bars if bar["ts_ns"] > lost_ns + 200 * S] == [
        bar for bar in known if bar["ts_ns"] > lost_ns + 200 * S
    ]


def test_a_tail_written_for_a_shorter_lookback_counts_as_not_known_before_it() -> None:
    segments = sealed(recording().lines, [600])
    short = replace(OPTIONS, horizons_s=(1,), bar_durations_s=(1,), tolerance_ns=2 * S)
    first = tail_of(segments[0].manifest, short, lambda: [segments[0].body])
    assert first.lookback == Lookback(60 * S, 2 * S)
    history = history_of([first], segments[1].manifest.previous, OPTIONS)
    assert history.blind_ns == first.last_capture_ns - 62 * S + 30 * S


def test_a_quiet_trades_feed_is_known_by_what_it_sent_long_ago() -> None:
    lane = Recording()
    lane.trades(T0, trade("1", "buy", 100.0, 1.0))
    for number in range(1, 500):
        lane.book(T0 + number * S, BIDS, ASKS)
    whole = forged_each(sealed(lane.lines))
    pieces = forged_each(sealed(lane.lines, [50, 230, 300, 301, 302, 490]))
    found = rows(pieces, Dataset.HF)
    assert found == rows(whole, Dataset.HF)
    assert {row["trade_count_5s"] for row in found if row["ts_ns"] > T0 + 10 * S} == {0}
    assert {bar["buy_volume"] for bar in rows(pieces, Dataset.BARS) if bar["ts_ns"] > T0 + S} == {0.0}


def test_a_lane_that_follows_another_leaves_out_the_bars_it_did_not_see_whole() -> None:
    lane = Recording()
    begin = T0 + 7 * S
    lane.control(begin, Control(Event.STARTED, feeds=(BOOK,), follows=("ccxt-binance-0of2",)))
    for number in range(1, 300):
        lane.book(begin + number * S // 2, BIDS, ASKS)
    for cuts in ([], [2], [5, 9, 30, 60], [120]):
        bars = rows(forged_each(sealed(lane.lines, cuts)), Dataset.BARS)
        firsts = {d: min(bar["ts_ns"] for bar in bars if bar["duration"] == d) for d in (1, 5, 30, 60)}
        assert firsts == {1: begin + S, 5: T0 + 10 * S, 30: T0 + 30 * S, 60: T0 + 60 * S}


def test_trades_that_were_not_processed_are_not_taken_for_none_when_they_are_processed_again() -> None:
    lane = Recording()
    for number in range(200):
        lane.trades(T0 + number * S, trade(str(number), "buy", 100.0, 1.0))
        lane.book(T0 + number * S + 1, BIDS, ASKS)
    first, second = sealed(lane.lines, [200])
    without = replace(OPTIONS, disabled=frozenset({"trades"}))
    tail = tail_of(first.manifest, without, lambda: [first.body])
    history = history_of([tail], second.manifest.previous, OPTIONS)
    made = forge(second.manifest, OPTIONS, lambda: [second.body], Neighbours(lambda: history, lambda _: None))
    counts = [row["trade_count_30s"] for row in rows_of(made, Dataset.HF)]
    assert counts[:30] == [None] * 30
    assert set(counts[31:]) == {30}


def test_a_trade_of_the_oldest_second_of_a_window_is_resent_by_an_id_a_lookback_before_it() -> None:
    lane = Recording()
    lane.trades(T0, trade("again", "buy", 100.0, 1.0))
    for second in range(1, 240):
        at = T0 + second * S
        lane.book(at, BIDS, ASKS)
        if second == 115:
            lane.trades(at + 1, trade("again", "buy", 100.0, 1.0))
    whole, pieces = forged_each(sealed(lane.lines)), forged_each(sealed(lane.lines, [170]))
    assert rows(pieces, Dataset.HF) == rows(whole, Dataset.HF)
    (again,) = [row for row in rows(whole, Dataset.TRADES) if row["ts_ns"] > T0]
    assert again["resent"]


def test_a_hole_that_began_before_the_lookback_and_ended_in_it_is_known() -> None:
    """It ended before it had to be repeated; with a short tolerance the oldest windows still reach into it."""
    short = replace(OPTIONS, tolerance_ns=5 * S)
    lane = Recording()
    for second in range(300):
        at = T0 + second * S
        if second == 100:
            lane.control(at - 1, Control(Event.GAP, feeds=(BOOK,)))
        if second == 128:
            lane.control(at - 1, Control(Event.RESYNCED, feeds=(BOOK,)))
        lane.book(at, BIDS, ASKS)
    whole = forged_each(sealed(lane.lines), options=short)
    pieces = forged_each(sealed(lane.lines, [170]), options=short)
    assert pieces[0].records == 170
    assert rows(pieces, Dataset.HF) == rows(whole, Dataset.HF)
    assert rows(pieces, Dataset.BARS) == rows(whole, Dataset.BARS)
