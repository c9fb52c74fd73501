"""The wire on ccxt's own client, with frames put in by hand."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import ccxt
import ccxt.pro
import orjson
import pytest
from aiohttp import WSMsgType

from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.mixin import TapMixin
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.ccxt_source.tap import Tap
from fluxforge_collector.ccxt_source.wire import Wire, answered
from fluxforge_collector.wire_records import Answer, Frame, Setup, WireItem, item_of, wire_feed
from tests.unit.fluxforge_collector.made import Desk

TRADES = Feed("ccxt", "kraken", "trades", "BTC/USD")
VENUE = VenueSettings("kraken", 50, {}, api_key="KEY", api_secret="SECRET", options={"of": "SECRET"})


class World:
    """A tapped exchange of which the wire is captured."""

    def __init__(self) -> None:
        feed = wire_feed("ccxt", "kraken")
        self.desk = Desk(feeds=(TRADES, feed))
        self.exchange = type("venue", (TapMixin, ccxt.pro.kraken), {"handle_message": lambda *_: None})({})
        self.wire = self.exchange.wire = Wire(VENUE, self.exchange)
        self.feed = self.desk.writer.feed(feed)

    def begin(self) -> Any:
        self.wire.begin(self.desk.writer, self.feed, {"watchTrades": [TRADES]})
        self.exchange.tap = Tap(self.desk.writer, 50)
        self.exchange.tap.wire = self.wire
        return self.exchange.client("ws://127.0.0.1:1/x")

    def items(self) -> list[WireItem]:
        return [item_of([line.data]) for line in self.desk.lines() if line.channel == "wire"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.exchange.close()


async def answer(status: int, text: str) -> str:
    answered("GET", "http://x", status, text)
    return text


async def test_what_was_answered_before_the_lane_could_be_written_stands_behind_the_setup(world: World) -> None:
    await world.wire.fetch(lambda: answer(200, "[1]"), "GET", "http://x", None)
    world.begin()
    setup, told = world.items()
    assert isinstance(setup, Setup)
    assert setup.channels == {"watchTrades": ("BTC/USD",)}
    assert told == Answer("GET", "http://x", None, 200, "[1]")


async def test_credentials_are_withheld(world: World) -> None:
    client = world.begin()
    with pytest.raises(ConnectionError):  # it is not connected
        await client.send({"apiKey": "KEY", "sign": "SECRET"})
    await world.wire.fetch(lambda: answer(200, ""), "POST", "http://x?key=KEY", "s=SECRET")
    setup, sent, told = world.items()
    assert isinstance(setup, Setup)
    assert setup.options["of"] == "***"
    assert sent == Frame('{"apiKey":"***","sign":"***"}', sent=True)
    assert isinstance(told, Answer)
    assert (told.url, told.body) == ("http://x?key=***", "s=***")


async def test_a_request_that_failed_is_told_by_its_error(world: World) -> None:
    world.begin()

    async def fail() -> None:
        raise ccxt.RequestTimeout("too late")

    with pytest.raises(ccxt.RequestTimeout):
        await world.wire.fetch(fail, "GET", "http://x", None)
    assert world.items()[1:] == [Answer("GET", "http://x", None, None, "", "RequestTimeout")]


async def test_an_answer_that_the_client_refuses_is_told_as_it_came(world: World) -> None:
    world.begin()

    async def refuse() -> None:
        await answer(429, "slow down")
        raise ccxt.RateLimitExceeded("429")

    with pytest.raises(ccxt.RateLimitExceeded):
        await world.wire.fetch(refuse, "GET", "http://x", None)
    assert world.items()[1:] == [Answer("GET", "http://x", None, 429, "slow down")]


async def test_text_and_binary_frames_are_records_and_control_frames_are_none(world: World) -> None:
    client = world.begin()
    for kind, data in ((WSMsgType.TEXT, "{}"), (WSMsgType.PONG, b"x"), (WSMsgType.BINARY, b"[]")):
        client.handle_message(SimpleNamespace(type=kind, data=data))
    assert world.items()[1:] == [Frame("{}"), Frame(b"[]")]


async def test_a_client_without_wire_is_ccxts_own(world: World) -> None:
    world.exchange.wire = None
    world.exchange.tap = Tap(world.desk.writer, 50)
    client = world.exchange.client("ws://127.0.0.1:1/x")
    assert client.send.__func__ is type(client).send
    client.handle_message(SimpleNamespace(type=WSMsgType.TEXT, data=orjson.dumps({}).decode()))
    assert world.desk.lines() == []
