from typing import Any

import orjson
import pytest

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Request
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.venues.bybit import BYBIT, BybitDialogue
from fluxforge_simulator.venues.venue import Floor, Refusal

NOW_NS = 1_763_830_000_123_456_789


def floor() -> Floor:
    return Floor("bybit", BYBIT.instruments, seed=1, trade_share=0.5, opened=lambda _: None)


def asked(op: str, *topics: str) -> str:
    return orjson.dumps({"op": op, "req_id": "7", "args": topics}).decode()


def body(frame: Frame) -> Any:
    return orjson.loads(frame.payload)


@pytest.mark.parametrize("depth", [50, 200, 1000])
def test_a_client_that_applies_what_it_is_told_has_the_book_to_the_depth(depth: int) -> None:
    place = floor()
    dialogue = BybitDialogue(place, frozenset())
    ack, *frames = dialogue.hear(asked("subscribe", f"orderbook.{depth}.SOLUSDT"), NOW_NS)
    assert (body(ack)["success"], body(ack)["req_id"]) == (True, "7")
    market = place.market("SOL/USDT")
    for _ in range(100):
        frames += dialogue.tell(market.step(), NOW_NS)
    held: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    for frame in frames:
        for side, levels in held.items():
            levels.update(dict(body(frame)["data"][side]))
            held[side] = {price: size for price, size in levels.items() if size != "0"}
    first = body(frames[0])["data"]["u"]
    assert [body(frame)["data"]["u"] for frame in frames] == list(range(first, first + len(frames)))
    assert [frame.key for frame in frames] == [(number,) for number in range(first, first + len(frames))]
    for name, side in (("b", Side.BID), ("a", Side.ASK)):
        prices = {float(market.instrument.price(price)) for price, _ in market.ladders[side].levels(depth)}
        assert {float(price) for price in held[name]} == prices


def test_one_topic_that_is_not_there_makes_the_message_fail() -> None:
    dialogue = BybitDialogue(floor(), frozenset({"XRP/USDT"}))
    for bad in ("orderbook.51.SOLUSDT", "publicTrade.XRPUSDT", "publicTrade.5.SOLUSDT", "kline.1.SOLUSDT", "news"):
        (answer,) = dialogue.hear(asked("subscribe", "publicTrade.SOLUSDT", bad), NOW_NS)
        assert body(answer)["success"] is False
        assert body(answer)["ret_msg"].endswith(bad)
    assert dialogue.feeds == set()


def test_a_feed_is_left_with_the_last_of_its_topics() -> None:
    dialogue = BybitDialogue(floor(), frozenset())
    dialogue.hear(asked("subscribe", "orderbook.50.SOLUSDT", "orderbook.200.SOLUSDT"), NOW_NS)
    dialogue.hear(asked("unsubscribe", "orderbook.50.SOLUSDT"), NOW_NS)
    assert dialogue.feeds == {Feed(Channel.ORDERBOOK, "SOL/USDT")}
    dialogue.hear(asked("unsubscribe", "orderbook.200.SOLUSDT"), NOW_NS)
    assert dialogue.feeds == set()


def test_ping_is_answered_with_its_id() -> None:
    (pong,) = BybitDialogue(floor(), frozenset()).hear('{"op":"ping","req_id":"3"}', NOW_NS)
    assert pong.kind is Kind.PING
    assert (body(pong)["ret_msg"], body(pong)["req_id"]) == ("pong", "3")


@pytest.mark.parametrize("why", list(Refusal))
def test_a_subscription_can_be_refused_and_nothing_else_is(why: Refusal) -> None:
    dialogue = BybitDialogue(floor(), frozenset())
    (error,) = dialogue.refuse(asked("subscribe", "publicTrade.SOLUSDT"), why)
    assert body(error)["success"] is False
    assert dialogue.refuse(asked("unsubscribe", "publicTrade.SOLUSDT"), why) == []
    assert dialogue.refuse('{"op":"ping"}', why) == []


def test_only_spot_lists_something() -> None:
    for category, count in (("spot", len(BYBIT.instruments)), ("linear", 0)):
        request = Request("GET", "api.bybit.com", "/v5/market/instruments-info", {"category": category})
        reply = BYBIT.rest(request, floor(), NOW_NS)
        assert reply is not None
        assert len(orjson.loads(reply.body)["result"]["list"]) == count
