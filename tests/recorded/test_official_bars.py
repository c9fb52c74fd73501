"""Bars of CME's ESU4, built from its trades, against those that Databento publishes."""

import pytest

from tests.recorded.databento import DbnBar, DbnTrade, dbn_bars, dbn_trades
from tests.unit.fluxforge_etl_worker.samples import Recording, S, forged, options, rows_of, trade

FOLDER = "databento/esu4_20240701"
TRADES = f"{FOLDER}/futures_trades_2024-07-01T23-58_2024-07-02T00-02.dbn.zst"
BARS = f"{FOLDER}/futures_ohlcv-1m_2024-07-01T23-40_2024-07-02T00-10.dbn.zst"
MARKET = "ESU4"
HALF_TICK = 0.125
MINUTE = 60 * S


def as_lane(trades: list[DbnTrade]) -> Recording:
    """Return a lane in which each trade stands between quotes of half a tick: their mid is its price, exactly."""
    recording, at = Recording(), 0
    for each in trades:
        at = max(at + 1, each.recv_ns)
        recording.book(at, [[each.price - HALF_TICK, 1.0]], [[each.price + HALF_TICK, 1.0]], MARKET)
        at += 1
        recording.trades(at, trade(None, each.side, each.price, float(each.size), at), market=MARKET)
    recording.ticker(at // MINUTE * MINUTE + MINUTE, MARKET)
    return recording


def test_bars_of_a_minute_are_the_official_ones() -> None:
    trades = dbn_trades(TRADES)
    (instrument,) = {each.instrument for each in trades}
    first, last = trades[0].recv_ns // MINUTE * MINUTE, trades[-1].recv_ns
    official = [bar for bar in dbn_bars(BARS) if bar.instrument == instrument and first <= bar.start_ns <= last]
    recording = as_lane(trades)
    result = forged(
        recording.body,
        options(bar_durations_s=(60,)),
        first=trades[0].recv_ns,
        last=recording.records[-1]["capture_ns"],
    )
    assert result.bad == ()
    bars = rows_of(result, "orderbook/bars")
    found = [
        DbnBar(
            instrument,
            bar["ts_ns"],
            bar["open"],
            bar["high"],
            bar["low"],
            bar["close"],
            bar["buy_volume"] + bar["sell_volume"],
        )
        for bar in bars
    ]
    assert len(official) == 4
    assert found == official
    assert sum(bar["trade_count"] for bar in bars) == len(trades) == 120
    assert [bar["vwap"] for bar in bars] == pytest.approx([_vwap(trades, bar.start_ns) for bar in official])


def _vwap(trades: list[DbnTrade], start_ns: int) -> float:
    inside = [each for each in trades if start_ns <= each.recv_ns < start_ns + MINUTE]
    return sum(each.price * each.size for each in inside) / sum(each.size for each in inside)
