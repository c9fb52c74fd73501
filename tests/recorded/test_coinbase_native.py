"""Coinbase, recorded, through ccxt with the tap and through the native source: the same records, the same rows."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import ccxt.pro
import orjson
import pytest
from aiohttp import WSMsgType

from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.mixin import TapMixin
from fluxforge_collector.ccxt_source.tap import Scope, Tap
from fluxforge_collector.coinbase_source.conversation import Conversation
from fluxforge_collector.coinbase_source.plan import CHANNELS, plan
from fluxforge_collector.coinbase_source.products import Product, products_of
from fluxforge_collector.markets_wanted import MarketsWanted
from tests.recorded.recordings import replied
from tests.recorded.wire import wire
from tests.unit.fluxforge_collector.made import SECOND_NS, Desk, Line
from tests.unit.fluxforge_etl_worker.samples import Recording, forged, rows_of

COINBASE = "coinbase/COINBASE_20260809_first10s.jsonl.zst"
MARKETS = ("BTC/USD", "ETH/USD")
DEPTH = 50
HASHES = {"orderbook": "level2", "trades": "market_trades", "ticker": "ticker"}
DATASETS = ("trades", "orderbook/hf", "orderbook/bars", "orderbook/books", "ticker", "ohlcv_5m", "coverage")


@dataclass(frozen=True)
class Told:
    """What one way made of the recording."""

    lines: list[Line]
    controls: list[str]

    def data(self, channel: str, market: str) -> list[Any]:
        symbol = market.replace("/", "-")
        return [line.data for line in self.lines if (line.channel, line.symbol) == (channel, symbol)]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        recording = Recording(lane=Lane("coinbase", "coinbase", "0of1"))
        for line in self.lines:
            if line.symbol:
                data = orjson.dumps(line.data)
                last_told = line.data[-1] if isinstance(line.data, list) else line.data
                ms = last_told["start_ms" if line.channel == "ohlcv_5m" else "timestamp"]
                recording.add(line.channel, line.symbol.replace("-", "/"), line.capture_ns, data, exchange_ms=ms)
        last = self.lines[-1].capture_ns + 120 * SECOND_NS
        result = forged(recording.body, lane=recording.lane, first=self.lines[0].capture_ns, last=last)
        return {dataset: rows_of(result, dataset) for dataset in DATASETS}


def frames() -> Iterator[bytes]:
    yield from (item.text if isinstance(item.text, bytes) else item.text.encode() for item in wire(COINBASE))


def listed() -> dict[str, Product]:
    (reply,) = replied(COINBASE)
    return dict(products_of(reply))


def ccxt_markets(exchange: Any) -> list[dict[str, Any]]:
    (reply,) = replied(COINBASE)
    parsed = [exchange.parse_spot_market(product, {}) for product in orjson.loads(reply)["products"]]
    return [market for market in parsed if market is not None]


def natively() -> Told:
    channels = dict.fromkeys(CHANNELS, MarketsWanted(names=MARKETS))
    (group,) = plan(channels, listed(), shard=0, shards=1, products_per_connection=10)
    desk = Desk(feeds=group.feeds)
    conversation = Conversation(group, desk.writer, conn=1, depth=DEPTH, chance=lambda: 0.5, is_signed=False)
    for frame in frames():
        desk.clock.advance(1_000_000)
        conversation.take(frame, at_ns=desk.writer.now(), now_s=0.0)
    return Told(desk.lines(), [control.event.value for control in desk.controls])


async def _through_ccxt() -> Told:
    feeds = [Feed("coinbase", "coinbase", channel, market) for channel in HASHES for market in MARKETS]
    desk = Desk(feeds=tuple(feeds))
    exchange = type("coinbase", (TapMixin, ccxt.pro.coinbase), {})({"enableRateLimit": False})
    exchange.set_markets(ccxt_markets(exchange))
    tap = exchange.tap = Tap(desk.writer, DEPTH)
    client = exchange.client("ws://127.0.0.1:1/advanced-trade-ws.coinbase.com")
    for feed in feeds:
        assert feed.market
        scope = Scope({feed.market: desk.writer.feed(feed)})
        tap.learn(scope, [f"{HASHES[feed.channel]}::{feed.market}"], [])
        tap.carry(scope, client)
    try:
        for frame in frames():
            desk.clock.advance(1_000_000)
            client.handle_message(SimpleNamespace(type=WSMsgType.TEXT, data=frame.decode()))
    finally:
        await exchange.close()
    return Told(desk.lines(), [control.event.value for control in desk.controls])


@pytest.fixture(scope="module")
def native() -> Told:
    return natively()


@pytest.fixture(scope="module")
def through_ccxt() -> Told:
    return asyncio.run(_through_ccxt())


def test_every_product_has_the_name_that_ccxt_gives_it() -> None:
    theirs = {market["symbol"]: (market["id"], market["active"]) for market in ccxt_markets(ccxt.coinbase())}
    assert {product.market: (product.id, product.is_active) for product in listed().values()} == theirs
    assert len(theirs) == 920


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("channel", ["trades", "ticker"])
def test_trades_and_tickers_are_the_same_json(native: Told, through_ccxt: Told, channel: str, market: str) -> None:
    ours, theirs = (told.data(channel, market) for told in (native, through_ccxt))
    assert [orjson.dumps(data) for data in ours] == [orjson.dumps(data) for data in theirs]
    assert len(ours) >= 10


@pytest.mark.parametrize("market", MARKETS)
def test_books_are_the_same_json_but_for_the_nonce_that_ccxt_lacks(
    native: Told, through_ccxt: Told, market: str
) -> None:
    ours, theirs = (told.data("orderbook", market) for told in (native, through_ccxt))
    assert [orjson.dumps({**data, "nonce": None}) for data in ours] == [orjson.dumps(data) for data in theirs]
    assert len(ours) > 100
    nonces = [data["nonce"] for data in ours]
    assert nonces == sorted(set(nonces))


def test_what_the_etl_makes_of_either_is_the_same(native: Told, through_ccxt: Told) -> None:
    ours, theirs = native.rows(), through_ccxt.rows()
    for dataset in ("trades", "orderbook/hf", "orderbook/bars", "orderbook/books", "ticker"):
        assert ours[dataset], dataset
        assert ours[dataset] == theirs[dataset], dataset


@pytest.mark.parametrize("market", MARKETS)
def test_candles_are_told_as_the_venue_says_them(native: Told, market: str) -> None:
    first, *rest = native.data("ohlcv_5m", market)
    assert len(first) == 100
    starts = [candle["start_ms"] for candle in first]
    assert starts == sorted(set(starts))
    assert not any(start % 300_000 for start in starts)
    assert [[candle["start_ms"] for candle in update] for update in rest] == [[starts[-1]]]
    assert all(
        one["low"] <= min(one["open"], one["close"]) <= max(one["open"], one["close"]) <= one["high"] for one in first
    )


def test_candles_are_rows_of_their_length(native: Told) -> None:
    told = [candle for market in MARKETS for record in native.data("ohlcv_5m", market) for candle in record]
    rows = [{name: row[name] for name in told[0]} for row in native.rows()["ohlcv_5m"]]
    assert sorted(rows, key=str) == sorted(told, key=str)


def test_the_side_of_a_trade_is_the_maker_s(native: Told) -> None:
    touch: dict[str | None, tuple[float, float]] = {}
    sides = Counter[tuple[str, str]]()
    for line in native.lines:
        if line.channel == "orderbook":
            touch[line.symbol] = line.data["bids"][0][0], line.data["asks"][0][0]
        elif line.channel == "trades" and line.symbol in touch:
            bid, ask = touch[line.symbol]
            sides.update((trade["side"], "ask") for trade in line.data if trade["price"] >= ask)
            sides.update((trade["side"], "bid") for trade in line.data if trade["price"] <= bid)
    assert sides == {("sell", "ask"): 25, ("buy", "bid"): 13}


def test_nothing_of_the_recording_is_rejected_or_missing(native: Told) -> None:
    assert not {"gap", "rejected"} & set(native.controls)
