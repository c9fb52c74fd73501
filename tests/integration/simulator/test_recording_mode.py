"""Unmodified ccxt.pro on real recordings: what it heard is what the ledger says was sent."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from fluxforge_simulator import SimulateOptions, Simulator
from tests.integration.simulator.clients import client, heard, ledger_lines, recorded, told, until

pytestmark = pytest.mark.timeout(300)

SPOT = ("binance/spot_btcusdt_20240808.gz", "binance/spot_btcusdt_20240809.gz")
BOOK, TRADES, TICKER = "watch_order_book", "watch_trades", "watch_ticker"
SETTLE_S = 60.0  # playing waits for a number of subscriptions, not for them to settle


class Case(NamedTuple):
    exchange: str
    files: tuple[str, ...]
    watches: tuple[tuple[Any, ...], ...]
    sent: dict[tuple[str, str, str], int]
    topics: int = 2
    """How many subscriptions its watches make; playing waits for all of them."""


CASES = {
    "binanceusdm": Case(
        "binanceusdm",
        ("binance/usdm_ethusdt_20240808.gz",),
        ((BOOK, "ETH/USDT:USDT"), (TRADES, "ETH/USDT:USDT")),
        {("data", "orderbook", "ETH/USDT:USDT"): 6581, ("data", "trades", "ETH/USDT:USDT"): 14076},
    ),
    "binancecoinm": Case(
        "binancecoinm",
        ("binance/cm_ethusd_perp_20240808.gz",),
        ((BOOK, "ETH/USD:ETH"), ("watch_bids_asks", ["ETH/USD:ETH"])),
        {},
    ),
    "binance 2021": Case(
        "binance",
        ("binance/BINANCE_20210405_2min.jsonl.zst",),
        ((BOOK, "MANA/USDT"), ("watch_trades_for_symbols", ["MANA/USDT"], None, None, {"name": "aggTrade"})),
        {("data", "orderbook", "MANA/USDT"): 843, ("data", "trades", "MANA/USDT"): 98},
    ),
    "okx": Case(
        "okx",
        ("okx/OKX_20220513.jsonl.zst",),
        tuple((method, symbol) for method in (BOOK, TRADES, TICKER) for symbol in ("BTC/USDT", "UNI/USD:UNI")),
        {
            ("data", "orderbook", "BTC/USDT"): 97,
            ("snapshot", "orderbook", "BTC/USDT"): 1,
            ("data", "trades", "BTC/USDT"): 69,
            ("data", "ticker", "BTC/USDT"): 25,
            ("data", "orderbook", "UNI/USD:UNI"): 92,
        },
        topics=6,
    ),
    "gemini": Case(
        "gemini",
        ("gemini/GEMINI_20260809.jsonl.zst",),
        tuple((method, symbol) for method in (BOOK, TRADES) for symbol in ("BTC/USD", "ETH/USD")),
        {("data", "orderbook", "BTC/USD"): 105, ("snapshot", "orderbook", "BTC/USD"): 1},
    ),
    "kucoin": Case("kucoin", ("kucoin/KUCOIN_20210425.jsonl.zst",), ((BOOK, "SNX/BTC"), (TRADES, "SNX/BTC")), {}),
    "bitfinex": Case(
        "bitfinex",
        ("bitfinex/BITFINEX_20210405_2min.jsonl.zst",),
        tuple((method, "ZRX/ETH") for method in (BOOK, TRADES, TICKER)),
        {("data", "orderbook", "ZRX/ETH"): 4613, ("data", "ticker", "ZRX/ETH"): 13},
        topics=3,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_recording_reaches_the_client_whole_and_in_order(name: str, tmp_path: Path) -> None:
    case, path = CASES[name], tmp_path / "ledger.ndjson"
    options = SimulateOptions(
        recordings=recorded(*case.files), ledger=path, speed=None, wait_for=case.topics, settle_s=SETTLE_S
    )
    async with Simulator(options) as simulator, client(case.exchange, simulator.port, *case.watches) as tapped:
        await until(simulator.finished.is_set)
        assert tapped.errors == []
        assert len(tapped.updates) >= len(
            {symbol if isinstance(symbol, str) else symbol[0] for _, symbol, *_ in case.watches}
        )
        lines = ledger_lines(path)
    counts = Counter((line["kind"], line["channel"], line["symbol"]) for line in lines)
    assert {feed: counts[feed] for feed in case.sent} == case.sent
    assert heard(tapped.frames) == told(lines)
    assert counts.total() > sum(case.sent.values())


async def test_two_days_of_binance_are_one_recording(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    (markets,) = recorded("binance/exchangeInfo_spot_20250807.json")
    watches = (("watch_order_book_for_symbols", ["BTC/USDT"]), ("watch_trades_for_symbols", ["BTC/USDT"]))
    options = SimulateOptions(
        recordings=recorded(*reversed(SPOT)), ledger=path, speed=None, markets=markets, wait_for=2, settle_s=SETTLE_S
    )
    async with Simulator(options) as simulator, client("binance", simulator.port, *watches) as tapped:
        assert len(tapped.markets) == 25
        await until(simulator.finished.is_set)
        lines = ledger_lines(path)
    counts = Counter((line["kind"], line["channel"]) for line in lines)
    assert counts["data", "trades"] == 19_904
    assert counts["data", "orderbook"] == 6_493
    assert counts["rest", "orderbook"] == 1
    assert counts["skipped", "orderbook"] == 2
    assert counts["skipped", "bidsasks"] == 73_174
    assert tapped.updates == {"orderbook::BTC/USDT": 6_494, "trade::BTC/USDT": 19_904}
    assert tapped.errors == []
    assert heard(tapped.frames) == told(lines)
    ids = [line["key"][0] for line in lines if line["kind"] == "data" and line["channel"] == "trades"]
    assert len(set(ids)) == 19_904
    assert ids == sorted(ids)


async def test_coinbase_is_numbered_without_a_hole_although_channels_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    watches = tuple((method, symbol) for method in (BOOK, TRADES, TICKER) for symbol in ("BTC/USD", "ETH/USD"))
    files = recorded("coinbase/COINBASE_20260809_first10s.jsonl.zst")
    options = SimulateOptions(recordings=files, ledger=path, speed=20.0, wait_for=6, settle_s=SETTLE_S)
    async with Simulator(options) as simulator, client("coinbase", simulator.port, *watches) as tapped:
        await until(simulator.finished.is_set)
        lines = ledger_lines(path)
    counts = Counter((line["kind"], line["channel"], line["symbol"]) for line in lines)
    assert counts["data", "orderbook", "BTC/USD"] == 163
    assert counts["snapshot", "orderbook", "BTC/USD"] == 1
    assert counts["skipped", "heartbeats", ""] == 10
    assert max(line["bytes"] for line in lines if line["kind"] == "snapshot") > 5_000_000
    assert heard(tapped.frames) == told(lines)
    numbers = [orjson.loads(frame)["sequence_num"] for frame in next(iter(tapped.frames.values()))]
    assert numbers == list(range(len(numbers)))
    assert [line["key"][0] for line in lines if line["kind"] in {"data", "snapshot"}] == numbers[6:]
    assert tapped.updates["level2::BTC/USD"] == 164
    assert tapped.crossed == 0


async def test_bids_and_asks_are_played_to_those_alone_who_subscribed_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    watches = (("watch_bids_asks", ["BTC/USDT"]),)
    options = SimulateOptions(recordings=recorded(SPOT[0]), ledger=path, speed=None, settle_s=0.3)
    async with Simulator(options) as simulator, client("binance", simulator.port, *watches) as tapped:
        await until(simulator.finished.is_set)
        lines = ledger_lines(path)
    counts = Counter((line["kind"], line["channel"]) for line in lines)
    assert counts["data", "bidsasks"] == 28_040
    assert counts["skipped", "orderbook"] == 3_451
    assert counts["skipped", "trades"] == 9_757
    assert heard(tapped.frames) == told(lines)


async def test_the_recorded_pace_is_kept_times_the_speed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    watches = ((TRADES, "BTC/USDT"), (TICKER, "BTC/USDT"))
    options = SimulateOptions(
        recordings=recorded("okx/OKX_20220513.jsonl.zst"), ledger=path, speed=5.0, wait_for=2, settle_s=SETTLE_S
    )
    async with Simulator(options) as simulator, client("okx", simulator.port, *watches):
        await until(simulator.finished.is_set)
        lines = [line for line in ledger_lines(path) if line["kind"] in {"data", "skipped"}]
    took_s = (lines[-1]["sent_ns"] - lines[0]["sent_ns"]) / 1e9
    assert 2.0 < took_s < 8.0, "10.3 recorded seconds at five times the pace; a busy machine adds to it"
