from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_etl_worker.columns import Instrument, Keys, TradeColumns
from fluxforge_etl_worker.resent import SeenTrades

LOOKBACK_NS = 5
Row = tuple[str | None, int, int, bool]
"""trade_id, capture_ns, idx, whether its record is a snapshot."""


def columns(rows: list[Row]) -> TradeColumns:
    count = len(rows)
    blank = np.full(count, None, dtype=object)
    zeros = np.zeros(count)
    keys = Keys(
        capture_ns=np.array([at for _, at, _, _ in rows], dtype=np.int64),
        exchange_ms=np.zeros(count, dtype=np.int64),
        seq=np.arange(1, count + 1, dtype=np.int64),
        boot=np.full(count, "boot", dtype=object),
    )
    ids = np.full(count, None, dtype=object)
    ids[:] = [trade_id for trade_id, _, _, _ in rows]
    return TradeColumns(
        instrument=Instrument("binance", "BTC-USDT", "BTC/USDT"),
        keys=keys,
        idx=np.array([idx for _, _, idx, _ in rows], dtype=np.int64),
        trade_id=ids,
        side=blank,
        price=zeros,
        amount=zeros,
        cost=zeros,
        taker_or_maker=blank,
        source_kind=blank,
        snapshot=np.array([snapshot for _, _, _, snapshot in rows], dtype=np.bool_),
    )


def by_definition(rows: list[Row]) -> list[bool]:
    return [
        snapshot
        or (
            trade_id is not None
            and any(
                other == trade_id and (was_at, was_idx) < (at, idx) and was_at > at - LOOKBACK_NS
                for other, was_at, was_idx, _ in rows
            )
        )
        for trade_id, at, idx, snapshot in rows
    ]


@st.composite
def feeds(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    at = 0
    for _ in range(draw(st.integers(0, 12))):
        at += draw(st.integers(1, LOOKBACK_NS + 1))
        ids = draw(st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=4))
        snapshot = draw(st.booleans()) and draw(st.booleans())
        rows += [(trade_id, at, idx, snapshot) for idx, trade_id in enumerate(ids)]
    return rows


@given(rows=feeds(), data=st.data())
def test_the_marks_are_those_of_the_definition_whatever_the_stretches(rows, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    seen = SeenTrades(LOOKBACK_NS)
    marks = [bool(mark) for a, b in pairwise([0, *cuts, len(rows)]) for mark in seen.mark(columns(rows[a:b]))]
    assert marks == by_definition(rows)


@given(rows=feeds(), data=st.data())
def test_earlier_trades_of_the_feed_stand_for_having_seen_them(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    before = columns(rows[:cut])
    within = before.keys.capture_ns > (rows[cut - 1][1] if cut else 0) - LOOKBACK_NS
    seen = SeenTrades(LOOKBACK_NS, before.trade_id[within], before.keys.capture_ns[within])
    assert seen.mark(columns(rows[cut:])).tolist() == by_definition(rows)[cut:]


def test_an_id_is_forgotten_just_at_the_lookback():
    seen = SeenTrades(LOOKBACK_NS)
    assert seen.mark(columns([("a", 10, 0, False), ("b", 11, 0, False)])).tolist() == [False, False]
    assert seen.mark(columns([("b", 15, 0, False), ("a", 15, 1, False)])).tolist() == [True, False]


def test_a_snapshot_is_resent_even_where_its_ids_are_new_or_missing_and_counts_as_seen():
    seen = SeenTrades(LOOKBACK_NS)
    assert seen.mark(columns([("a", 1, 0, True), (None, 1, 1, True)])).tolist() == [True, True]
    assert seen.mark(columns([("a", 2, 0, False), (None, 2, 1, False)])).tolist() == [True, False]


def test_memory_follows_the_trades_of_one_lookback():
    seen = SeenTrades(1_000)
    sizes = []
    for start in range(0, 200_000, 500):
        rows: list[Row] = [(str(at), at, 0, False) for at in range(start, start + 500)]
        assert not seen.mark(columns(rows)).any()
        sizes.append(seen.size)
    assert max(sizes) < 5_000


def test_a_trade_repeated_after_many_others_is_still_known():
    seen = SeenTrades(100_000)
    rows: list[Row] = [(str(at), at, 0, False) for at in range(50_000)]
    seen.mark(columns(rows))
    assert seen.mark(columns([("0", 99_999, 0, False), ("0", 200_000, 0, False)])).tolist() == [True, False]
