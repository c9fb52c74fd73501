"""Sequences on a tapped exchange of ccxt's own, with a venue's frames put in by hand."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import ccxt.pro
import orjson
import pytest
from aiohttp import WSMsgType

from fluxforge.domain.control import Control, Event
from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import RenewalError, Scope
from fluxforge_collector.ccxt_source.mixin import TapMixin
from fluxforge_collector.ccxt_source.sequences import PATIENCE_NS
from fluxforge_collector.ccxt_source.tap import Tap
from fluxforge_collector.continuity.catalog import detector_of
from tests.unit.fluxforge_collector.made import Desk

URL = "ws://127.0.0.1:1/x"
BTC, ETH = (Feed("ccxt", "coinbase", "orderbook", f"{base}/USD") for base in ("BTC", "ETH"))
TICKER = Feed("ccxt", "coinbase", "ticker", "BTC/USD")


class World:
    """Two books and a ticker on one connection to Coinbase, whose frames are numbered across all of them."""

    def __init__(self) -> None:
        self.desk = Desk(feeds=(BTC, ETH, TICKER))
        kind = type("coinbase", (TapMixin, ccxt.pro.coinbase), {"handle_message": self._handle})
        self.exchange = kind({"enableRateLimit": False})
        names = {feed.market: (str(feed.market).replace("/", "-"), str(feed.market)) for feed in (BTC, ETH)}
        self.tap = self.exchange.tap = Tap(
            self.desk.writer, 5, names=names.__getitem__, detector=lambda: detector_of("coinbase")
        )
        self.client = self.exchange.client(URL)
        self.number = -1
        for feed in (BTC, ETH, TICKER):
            scope = Scope({str(feed.market): self.desk.writer.feed(feed)})
            scope.answered = True
            name = f"{feed.channel}:{feed.market}"
            self.tap.learn(scope, [name], [name])
            self.tap.carry(scope, self.client)
            self.client.future(name)
        self.tap.opened(self.client)

    @staticmethod
    def _handle(_exchange: Any, client: Any, message: Any) -> None:
        if message["events"][0]["type"] == "unreadable":
            raise KeyError("price")
        market = message["events"][0]["product_id"].replace("-", "/")
        if message["channel"] == "l2_data":
            book = {"symbol": market, "bids": [[1.0, 1.0]], "asks": [[2.0, 1.0]], "timestamp": 5}
            client.resolve(book, f"orderbook:{market}")
        else:
            client.resolve({"symbol": market, "last": 1.0, "timestamp": 5}, f"ticker:{market}")

    def send(self, market: str, kind: str = "update", channel: str = "l2_data", *, lost: int = 0) -> None:
        self.number += 1 + lost
        product = market.replace("/", "-")
        event = {"type": kind, "product_id": product, "tickers": [{"product_id": product}]}
        body = {"channel": channel, "sequence_num": self.number, "events": [event]}
        self.desk.clock.advance(1_000_000)
        self.client.handle_message(SimpleNamespace(type=WSMsgType.TEXT, data=orjson.dumps(body).decode()))

    def begin(self) -> None:
        self.send("BTC/USD", "snapshot")
        self.send("ETH/USD", "snapshot")
        self.send("BTC/USD", channel="ticker")

    def controls(self, *events: Event) -> list[Control]:
        return [control for control in self.desk.controls if control.event in events]

    def feed(self, feed: Feed) -> Any:
        return self.desk.writer.feed(feed)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.begin()
    yield made
    for future in made.client.futures.values():
        future.cancel()
    await made.exchange.close()


async def test_frames_in_order_are_no_gap_and_hold_nothing(world: World) -> None:
    for _ in range(5):
        world.send("BTC/USD")
    assert not world.controls(Event.GAP)
    assert not world.feed(BTC).held
    assert not world.feed(BTC).unsound


async def test_a_lost_frame_is_told_with_its_bounds_before_the_record_behind_it(world: World) -> None:
    world.send("BTC/USD", lost=3)
    (gap,) = world.controls(Event.GAP)
    assert (gap.count, gap.detail) == (3, {"expected": 3, "got": 6})
    assert {key.channel for key in gap.concerned()} == {"orderbook", "ticker"}
    assert [line.event or line.channel for line in world.desk.lines()][-2:] == ["gap", "orderbook"]


async def test_a_broken_book_stays_unsound_until_it_comes_whole(world: World) -> None:
    world.send("BTC/USD", lost=1)
    world.send("BTC/USD")
    world.send("ETH/USD")
    assert world.feed(BTC).unsound
    assert world.feed(ETH).unsound
    world.send("BTC/USD", "snapshot")
    assert not world.feed(BTC).unsound
    assert world.feed(ETH).unsound
    (resynced,) = [control for control in world.controls(Event.RESYNCED) if control.reason == "gap"]
    assert resynced.scope == world.feed(BTC).key


async def test_what_is_no_book_is_sound_again_with_its_next_record(world: World) -> None:
    world.send("BTC/USD", lost=1)
    assert world.feed(TICKER).unsound
    world.send("BTC/USD", channel="ticker")
    assert not world.feed(TICKER).unsound


async def test_the_watch_calls_of_broken_books_are_woken_and_no_others(world: World) -> None:
    waiting = {
        name: world.client.futures[name] for name in ("orderbook:BTC/USD", "orderbook:ETH/USD", "ticker:BTC/USD")
    }
    world.send("BTC/USD", lost=1)
    assert isinstance(waiting["orderbook:BTC/USD"].exception(), RenewalError)
    assert isinstance(waiting["orderbook:ETH/USD"].exception(), RenewalError)
    assert not waiting["ticker:BTC/USD"].done()


async def test_a_book_that_does_not_become_whole_in_time_costs_the_connection(world: World) -> None:
    world.send("BTC/USD", lost=1)
    world.desk.clock.advance(PATIENCE_NS + 1)
    world.send("BTC/USD")
    (lost,) = world.controls(Event.DISCONNECTED)
    assert "did not become whole" in str(lost.reason)


async def test_a_frame_that_ccxt_fails_on_breaks_what_it_brings_until_a_whole_book_comes(world: World) -> None:
    waiting = world.client.futures["orderbook:BTC/USD"]
    world.send("BTC/USD", "unreadable")
    world.send("BTC/USD")
    (gap,) = world.controls(Event.GAP)
    assert (gap.scope, gap.reason) == (world.feed(BTC).key, "ccxt failed on a frame")
    assert isinstance(waiting.exception(), RenewalError)
    assert world.feed(BTC).unsound
    assert not world.feed(ETH).unsound
    world.send("BTC/USD", "snapshot")
    assert not world.feed(BTC).unsound


async def test_a_ticker_that_ccxt_fails_on_is_a_gap_until_the_next_one(world: World) -> None:
    world.send("BTC/USD", "unreadable", "ticker")
    (gap,) = world.controls(Event.GAP)
    assert gap.scope == world.feed(TICKER).key
    assert world.feed(TICKER).unsound
    world.send("BTC/USD", channel="ticker")
    assert not world.feed(TICKER).unsound


async def test_a_book_that_ccxt_goes_on_failing_on_does_not_cost_its_neighbours_the_connection(world: World) -> None:
    for _ in range(3):
        world.send("BTC/USD", "unreadable")
        world.desk.clock.advance(PATIENCE_NS + 1)
        world.send("ETH/USD")
    assert world.feed(BTC).unsound
    assert not world.feed(ETH).unsound
    assert not world.controls(Event.DISCONNECTED)


async def test_frames_lost_again_and_again_are_all_counted_and_open_one_hole_of_what_is_silent(world: World) -> None:
    for _ in range(4):
        world.send("ETH/USD", lost=2)
    assert [gap.count for gap in world.controls(Event.GAP)] == [2]
    world.send("BTC/USD", "snapshot")
    world.send("ETH/USD", "snapshot")
    world.send("BTC/USD", channel="ticker")
    assert sum(gap.count or 0 for gap in world.controls(Event.GAP)) == 8
    assert not any(world.feed(feed).unsound for feed in (BTC, ETH, TICKER))


async def test_gaps_of_a_broken_book_are_counted_and_open_no_hole_each() -> None:
    venue = Binance("BTC/USDT")
    venue.tap.fetched("BTC/USDT", '{"lastUpdateId": 5}')
    venue.update("BTC/USDT", 6, 8)
    for first in range(12, 52, 4):
        venue.update("BTC/USDT", first, first)
    assert [gap.count for gap in venue.gaps()] == [3]
    venue.tap.fetched("BTC/USDT", '{"lastUpdateId": 60}')
    assert [(gap.count, gap.detail) for gap in venue.gaps()] == [
        (3, {"expected": 9, "got": 12}),
        (27, {"expected": 45, "got": 48}),
    ]
    await venue.exchange.close()


async def test_a_lost_connection_holds_nothing_any_more(world: World) -> None:
    world.send("BTC/USD", lost=1)
    world.tap.lost(world.client, "closed with code 1006")
    assert not world.feed(BTC).held
    assert world.feed(BTC).unsound


class Binance:
    """Books of one venue id, `BTCUSDT`, each on a connection of its own."""

    def __init__(self, *markets: str) -> None:
        feeds = {market: Feed("ccxt", "binance", "orderbook", market) for market in markets}
        self.desk = Desk(feeds=tuple(feeds.values()))
        kind = type("binance", (TapMixin, ccxt.pro.binance), {"handle_message": lambda *_: None})
        self.exchange = kind({"enableRateLimit": False})
        self.tap = self.exchange.tap = Tap(
            self.desk.writer, 5, names=lambda _: ("BTCUSDT",), detector=lambda: detector_of("binance")
        )
        self.feeds = {market: self.desk.writer.feed(feed) for market, feed in feeds.items()}
        self.clients = {market: self.exchange.client(f"{URL}/{market}") for market in markets}
        for market, client in self.clients.items():
            self.tap.carry(Scope({market: self.feeds[market]}), client)
            self.tap.opened(client)

    def update(self, market: str, first: int, last: int, *, previous: int | None = None) -> None:
        body = {"e": "depthUpdate", "s": "BTCUSDT", "U": first, "u": last}
        body |= {} if previous is None else {"pu": previous}
        self.clients[market].handle_message(SimpleNamespace(type=WSMsgType.TEXT, data=orjson.dumps(body).decode()))

    def gaps(self) -> list[Control]:
        return [control for control in self.desk.controls if control.event is Event.GAP]


async def test_a_book_fetched_for_the_connection_makes_it_whole() -> None:
    venue = Binance("BTC/USDT")
    venue.tap.fetched("BTC/USDT", '{"lastUpdateId": 5}')
    venue.update("BTC/USDT", 6, 8)
    venue.update("BTC/USDT", 12, 13)
    assert venue.feeds["BTC/USDT"].held
    venue.tap.fetched("BTC/USDT", '{"lastUpdateId": 14}')
    assert not venue.feeds["BTC/USDT"].held
    (gap,) = venue.gaps()
    assert (gap.count, gap.detail) == (3, {"expected": 9, "got": 12})
    await venue.exchange.close()


async def test_a_book_fetched_for_a_swap_is_not_its_spot_markets_of_the_same_id() -> None:
    venue = Binance("BTC/USDT", "BTC/USDT:USDT")
    venue.tap.fetched("BTC/USDT", '{"lastUpdateId": 100}')
    venue.update("BTC/USDT", 99, 110)
    venue.tap.fetched("BTC/USDT:USDT", '{"lastUpdateId": 9000}')
    venue.update("BTC/USDT:USDT", 8990, 9005, previous=8989)
    venue.update("BTC/USDT", 111, 120)
    assert venue.gaps() == []
    venue.update("BTC/USDT", 150, 160)
    (gap,) = venue.gaps()
    assert (gap.scope, gap.count) == (venue.feeds["BTC/USDT"].key, 29)
    venue.tap.fetched("BTC/USDT", '{"lastUpdateId": 170}')
    venue.update("BTC/USDT:USDT", 9006, 9300, previous=9005)
    assert len(venue.gaps()) == 1
    await venue.exchange.close()
