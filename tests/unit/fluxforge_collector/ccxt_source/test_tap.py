"""The tap on ccxt's own client, with frames put in by hand: no socket, everything else as it is."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import ccxt.pro
import orjson
import pytest
from aiohttp import WSMsgType
from ccxt.async_support.base.exchange import Exchange
from ccxt.async_support.base.ws.cache import ArrayCache
from ccxt.async_support.base.ws.client import Client

from fluxforge.domain.control import Event
from fluxforge_collector.ccxt_source.mixin import TapMixin
from fluxforge_collector.ccxt_source.tap import (
    SCOPE,
    Scope,
    SubscriptionRefusedError,
    Tap,
)
from fluxforge_collector.ccxt_source.watch_calls import IndistinctHashesError
from tests.unit.fluxforge_collector.made import BOOK, SECOND_NS, TRADES, Desk, Line

URL = "ws://127.0.0.1:1/x"
ETH = type(BOOK)("ccxt", "binance", "orderbook", "ETH/USDT")


class World:
    """A tapped exchange whose handler resolves what a frame says: `{"hash": ..., "result": {...}}`."""

    def __init__(self) -> None:
        self.desk = Desk(feeds=(BOOK, ETH, TRADES))
        kind = type("venue", (TapMixin, ccxt.pro.kraken), {"handle_message": self._handle})
        self.exchange = kind({"enableRateLimit": False})
        self.tap = self.exchange.tap = Tap(self.desk.writer, 5)
        self.client = self.exchange.client(URL)

    @staticmethod
    def _handle(_exchange: Any, client: Any, message: Any) -> None:
        client.resolve(message["result"], message["hash"])

    def scope(self, *feeds: Any) -> Scope:
        scope = Scope({feed.market: self.desk.writer.feed(feed) for feed in feeds})
        scope.silent = set(scope.feeds.values())
        return scope

    def watch(self, scope: Scope, hashes: list[str]) -> None:
        self.tap.learn(scope, hashes, hashes)
        self.tap.carry(scope, self.client)
        for name in hashes:
            self.client.future(name)

    def hear_sent(self) -> list[Any]:
        """Return what is sent from now on, which goes nowhere."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        self.client.send = send
        return sent

    def frame(self, text: str) -> None:
        self.client.handle_message(SimpleNamespace(type=WSMsgType.TEXT, data=text))

    def update(self, name: str, bid: float = 1.0) -> None:
        book = {"symbol": "x", "bids": [[bid, 1.0]], "asks": [[2.0, 1.0]], "timestamp": 5}
        self.frame(orjson.dumps({"hash": name, "result": book}).decode())

    def records(self) -> list[Line]:
        return [line for line in self.desk.lines() if line.channel != "control"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for future in made.client.futures.values():
        future.cancel()
    await made.exchange.close()


def test_ccxt_still_has_every_name_that_the_tap_stands_on() -> None:
    for name in ("handle_message", "resolve", "reject", "receive", "receive_loop", "on_error", "on_close"):
        assert callable(getattr(Client, name))
    for name in ("client", "watch", "watch_multiple", "on_connected", "on_error", "on_close", "load_order_book"):
        assert callable(getattr(Exchange, name))


async def test_every_update_of_a_learned_hash_is_a_record_though_nobody_awaits_it(world: World) -> None:
    scope = world.scope(BOOK)
    world.watch(scope, ["book:BTC"])
    for bid in (1.0, 2.0, 3.0):
        world.update("book:BTC", bid)
    assert [line.data["bids"][0][0] for line in world.records()] == [1.0, 2.0, 3.0]


async def test_a_hash_that_nobody_asked_for_makes_no_record(world: World) -> None:
    world.watch(world.scope(BOOK), ["level2::BTC/USD"])
    world.update("level2::BTC/USDC")
    assert world.records() == []


async def test_the_watch_call_gets_the_first_update_and_then_waits_for_errors_alone(world: World) -> None:
    scope = world.scope(BOOK)
    world.watch(scope, ["book:BTC"])
    first = world.client.futures["book:BTC"]
    world.update("book:BTC")
    assert first.done()
    scope.answered = True
    second = world.client.future("book:BTC")
    world.update("book:BTC")
    assert not second.done()
    assert len(world.records()) == 2


async def test_hashes_of_several_markets_are_told_apart(world: World) -> None:
    world.watch(world.scope(BOOK, ETH), ["book:BTC/USDT", "book:ETH/USDT"])
    world.update("book:ETH/USDT")
    assert [line.symbol for line in world.records()] == ["ETH-USDT"]


@pytest.mark.parametrize("hashes", [["books"], ["book:ETH/USDT", "book:BTC/USDT"]])
async def test_hashes_that_do_not_tell_markets_apart_are_refused(world: World, hashes: list[str]) -> None:
    with pytest.raises(IndistinctHashesError):
        world.watch(world.scope(BOOK, ETH), hashes)


async def test_a_frame_that_ccxt_fails_on_is_named_and_the_next_one_is_heard(world: World) -> None:
    world.watch(world.scope(BOOK), ["book:BTC"])
    world.frame('{"hash":')
    world.frame('{"nothing": 1}')
    world.update("book:BTC")
    rejected = [line.control for line in world.desk.lines() if line.event == "rejected"]
    assert [control.detail["text"] for control in rejected if control.detail] == ['{"hash":', '{"nothing": 1}']
    assert "KeyError" in str(rejected[1].reason)
    assert len(world.records()) == 1


async def test_only_the_first_4_kib_of_a_bad_frame_are_kept(world: World) -> None:
    world.frame("{" + "x" * 10_000)
    (rejected,) = (line.control for line in world.desk.lines() if line.event == "rejected")
    assert rejected.detail is not None
    assert (len(str(rejected.detail["text"])), rejected.detail["size_bytes"]) == (4096, 10_001)


async def test_a_record_bears_the_stamp_of_its_frame(world: World) -> None:
    world.watch(world.scope(BOOK), ["book:BTC"])
    resolve = world.client.resolve

    def resolve_late(*arguments: Any) -> Any:
        world.desk.clock.advance(7)
        return resolve(*arguments)

    world.client.resolve = resolve_late
    world.desk.clock.advance(123)
    came_ns = world.desk.clock.wall_ns()
    world.update("book:BTC")
    assert world.records()[0].capture_ns == came_ns


async def test_trades_that_ccxt_no_longer_held_are_told_as_a_gap_of_their_feed(world: World) -> None:
    world.watch(world.scope(TRADES), ["trade:BTC"])
    cache = ArrayCache(2)
    for number in range(5):
        cache.append({"symbol": "BTC/USDT", "id": str(number), "timestamp": number})
    world.client.resolve(cache, "trade:BTC")
    (gap,) = (line.control for line in world.desk.lines() if line.event == "gap")
    assert (gap.scope, gap.count) == (world.desk.trades.key, 3)
    assert [trade["id"] for trade in world.records()[0].data] == ["3", "4"]


async def test_a_refusal_that_names_a_market_is_its_alone(world: World) -> None:
    scope = world.scope(BOOK, ETH)
    world.watch(scope, ["book:BTC/USDT", "book:ETH/USDT"])
    refused, other = world.client.futures["book:ETH/USDT"], world.client.futures["book:BTC/USDT"]
    world.frame('{"error":"no such pair ETH/USDT","success":false}')
    assert isinstance(refused.exception(), SubscriptionRefusedError)
    assert refused.exception().markets == ("ETH/USDT",)
    assert not other.done()


async def test_a_refusal_that_names_nobody_concerns_those_who_asked_last(world: World) -> None:
    old, new = world.scope(BOOK), world.scope(ETH)
    old.asked_ns, new.asked_ns = 1, world.desk.clock.wall_ns()
    world.watch(old, ["book:BTC"])
    world.watch(new, ["book:ETH"])
    refused = world.client.futures["book:ETH"]
    world.frame('{"type":"error","message":"Failed to subscribe","hash":"","result":{}}')
    assert isinstance(refused.exception(), SubscriptionRefusedError)
    assert not world.client.futures["book:BTC"].done()


async def test_a_lost_connection_is_a_hole_of_the_feeds_it_carried(world: World) -> None:
    world.tap.opened(world.client)
    scope = world.scope(BOOK)
    scope.answered = True
    world.watch(scope, ["book:BTC"])
    world.tap.lost(world.client, "closed with code 1006")
    world.tap.lost(world.client, "told twice")
    lost = [control for control in world.desk.controls if control.event is Event.DISCONNECTED]
    assert [(control.scope, control.reason) for control in lost] == [
        (world.desk.writer.feed(BOOK).key, "closed with code 1006")
    ]
    assert not scope.answered


@pytest.mark.parametrize(("end", "is_said"), [(WSMsgType.CLOSE, True), (WSMsgType.ERROR, False)])
async def test_the_hole_of_a_lost_connection_begins_when_its_peer_was_last_heard(
    world: World, end: WSMsgType, *, is_said: bool
) -> None:
    world.tap.opened(world.client)
    world.watch(world.scope(BOOK), ["book:BTC"])
    world.update("book:BTC")
    world.desk.clock.advance(30 * SECOND_NS)
    world.client.handle_message(SimpleNamespace(type=WSMsgType.PONG, data=b"", extra=None))
    pong_ns = world.desk.clock.wall_ns()
    world.desk.clock.advance(60 * SECOND_NS)
    world.client.handle_message(SimpleNamespace(type=end, data=1006, extra=None))
    (lost,) = [control for control in world.desk.controls if control.event is Event.DISCONNECTED]
    assert lost.from_ns == (world.desk.clock.wall_ns() if is_said else pong_ns)


async def test_what_is_still_handed_out_of_a_lost_connection_does_not_end_its_hole(world: World) -> None:
    world.tap.opened(world.client)
    world.watch(world.scope(BOOK), ["book:BTC"])
    world.update("book:BTC")
    world.tap.lost(world.client, "given up")
    world.update("book:BTC")
    book = {"symbol": "x", "bids": [[1.0, 1.0]], "asks": [[2.0, 1.0]], "timestamp": 5}
    world.client.resolve(book, "book:BTC")  # as of a book that was being fetched meanwhile
    assert len(world.records()) == 1
    assert world.desk.writer.feed(BOOK).unsound


async def test_connections_closed_on_purpose_or_never_opened_are_no_event(world: World) -> None:
    world.tap.lost(world.client, "could not be dialled")
    assert world.desk.controls == []


async def test_forgetting_makes_ccxt_subscribe_silent_feeds_anew_and_leaves_the_others(world: World) -> None:
    scope = world.scope(BOOK, ETH)
    world.watch(scope, ["book:BTC/USDT", "book:ETH/USDT"])
    world.client.subscriptions.update({"book:BTC/USDT": True, "book:ETH/USDT": True})
    assert world.tap.is_subscribed(scope)
    world.update("book:BTC/USDT")
    world.tap.forget(scope)
    assert list(world.client.subscriptions) == ["book:BTC/USDT"]
    assert not world.tap.is_subscribed(scope)


async def test_what_is_watched_outside_a_watch_call_is_not_claimed(world: World) -> None:
    assert SCOPE.get() is None
    world.exchange.watch_multiple(URL, ["book:BTC"])
    world.update("book:BTC")
    assert world.records() == []


async def test_a_hash_that_brings_all_markets_makes_a_record_of_each_that_was_asked_for(world: World) -> None:
    feeds = [type(BOOK)("ccxt", "binance", "ticker", f"{base}/USDT") for base in ("BTC", "ETH")]
    world.desk.writer.add(feeds, "wanted")
    for feed in feeds:
        world.watch(world.scope(feed), ["tickers"])
    tickers = {name: {"symbol": name, "timestamp": 5} for name in ("SOL/USDT", "ETH/USDT", "BTC/USDT")}
    world.client.resolve(tickers, "tickers")
    world.client.resolve(tickers["ETH/USDT"], "tickers")
    assert [line.symbol for line in world.records()] == ["BTC-USDT", "ETH-USDT", "ETH-USDT"]


async def test_what_is_let_go_makes_no_records_and_is_ended_on_its_connection(world: World) -> None:
    sent = world.hear_sent()
    world.tap.opened(world.client)
    scope = world.scope(BOOK, ETH)
    hashes = ["book:BTC/USDT", "book:ETH/USDT"]
    world.tap.learn(scope, hashes, hashes, {"op": "subscribe", "args": ["book.BTC/USDT", "book.ETH/USDT"], "id": 1})
    world.tap.carry(scope, world.client)
    world.client.subscriptions.update(dict.fromkeys(hashes, True))
    released = world.tap.release(scope, ["ETH/USDT"])
    assert await world.tap.end(scope, released)
    (message,) = sent
    assert (message["op"], message["args"]) == ("unsubscribe", ["book.ETH/USDT"])
    assert list(world.client.subscriptions) == ["book:BTC/USDT"]
    world.update("book:ETH/USDT")
    world.update("book:BTC/USDT")
    assert [line.symbol for line in world.records()] == ["BTC-USDT"]
    world.tap.lost(world.client, "closed with code 1006")
    (lost,) = [control for control in world.desk.controls if control.event is Event.DISCONNECTED]
    assert lost.concerned() == (world.desk.writer.feed(BOOK).key,)


async def test_what_was_let_go_and_still_comes_is_taken_back_without_being_asked_for(world: World) -> None:
    scope = world.scope(BOOK, ETH)
    world.watch(scope, ["book:BTC/USDT", "book:ETH/USDT"])  # by no message that shows how to end it
    released = world.tap.release(scope, ["ETH/USDT"])
    assert not await world.tap.end(scope, released)
    world.tap.reclaim(scope, "ETH/USDT", world.desk.writer.feed(ETH), released["ETH/USDT"])
    world.update("book:ETH/USDT")
    assert [line.symbol for line in world.records()] == ["ETH-USDT"]


WHOLE = {"op": "subscribe", "args": [{"channel": "liquidation-orders", "instType": "SWAP"}], "id": 1}


async def test_a_subscription_of_a_whole_channel_is_not_ended_while_one_of_its_markets_is_wanted(world: World) -> None:
    sent = world.hear_sent()
    scope = world.scope(BOOK, ETH)
    hashes = ["book:BTC/USDT", "book:ETH/USDT"]
    world.tap.learn(scope, hashes, hashes, WHOLE)
    world.tap.carry(scope, world.client)
    world.client.subscriptions.update(dict.fromkeys(hashes, True))
    assert not await world.tap.unsubscribe(scope, ["ETH/USDT"])
    assert not await world.tap.end(scope, world.tap.release(scope, ["ETH/USDT"]))
    assert sent == []
    assert list(world.client.subscriptions) == hashes
    assert await world.tap.end(scope, world.tap.release(scope, ["BTC/USDT"]))
    assert [message["op"] for message in sent] == ["unsubscribe"]


async def test_a_subscription_that_another_watch_call_stands_on_is_not_ended_before_that_one(world: World) -> None:
    sent = world.hear_sent()
    scopes = [world.scope(BOOK), world.scope(ETH)]
    for number, scope in enumerate(scopes, 1):
        (market,) = scope.feeds
        world.tap.learn(scope, [f"book:{market}"], [f"book:{market}"], {**WHOLE, "id": number})
        world.tap.carry(scope, world.client)
    first, second = scopes
    assert not await world.tap.end(first, world.tap.release(first, ["BTC/USDT"]))
    assert sent == []
    assert await world.tap.end(second, world.tap.release(second, ["ETH/USDT"]))
    assert [message["op"] for message in sent] == ["unsubscribe"]
