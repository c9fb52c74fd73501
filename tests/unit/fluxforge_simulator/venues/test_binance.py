from typing import Any

import orjson
import pytest

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Request
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.venues.binance import BINANCE, FOLLOWS_SNAPSHOT_NS, BinanceDialogue
from fluxforge_simulator.venues.venue import Floor

NOW_NS = 1_763_830_000_123_456_789
STEP_NS = 100_000_000


def floor() -> Floor:
    return Floor("binance", BINANCE.instruments, seed=1, trade_share=0.5, opened=lambda _: None)


def subscribe(dialogue: BinanceDialogue, *streams: str, method: str = "SUBSCRIBE") -> dict[str, Any]:
    request = {"method": method, "params": streams, "id": 5}
    (answer,) = dialogue.hear(orjson.dumps(request).decode(), NOW_NS)
    assert answer.kind is Kind.ACK
    message: dict[str, Any] = orjson.loads(answer.payload)
    return message


def rest_book(place: Floor, limit: int = 1000) -> dict[str, Any]:
    query = {"symbol": "BTCUSDT", "limit": str(limit)}
    reply = BINANCE.rest(Request("GET", "api.binance.com", "/api/v3/depth", query), place, NOW_NS)
    assert reply is not None
    body: dict[str, Any] = orjson.loads(reply.body)
    assert reply.key == (body["lastUpdateId"],)
    return body


def test_depth_is_held_until_the_book_was_answered_and_then_continues_it_without_a_gap() -> None:
    place = floor()
    dialogue = BinanceDialogue(place, frozenset())
    assert subscribe(dialogue, "btcusdt@depth@100ms") == {"result": None, "id": 5}
    market = place.market("BTC/USDT")
    assert all(dialogue.tell(market.step(), NOW_NS) == [] for _ in range(5))
    book = rest_book(place)
    dialogue.snapshot_answered("BTC/USDT", NOW_NS)
    frames: list[Frame] = []
    for index in range(1, 20):
        told = dialogue.tell(market.step(), NOW_NS + index * STEP_NS)
        assert bool(told) == (index * STEP_NS >= FOLLOWS_SNAPSHOT_NS)
        frames += told
    last, sides = book["lastUpdateId"], {side: {p: q for p, q in book[side]} for side in ("bids", "asks")}  # noqa: C416
    for frame in frames:
        message = orjson.loads(frame.payload)
        assert message["U"] == last + 1
        assert frame.key == (message["U"], message["u"])
        last = message["u"]
        for side, field in (("bids", "b"), ("asks", "a")):
            sides[side] |= {price: quantity for price, quantity in message[field]}  # noqa: C416
    kept = {float(price) for price, quantity in sides["asks"].items() if float(quantity)}
    assert kept == {price / 100 for price, _ in market.ladders[Side.ASK].levels()}


def test_a_client_that_never_asks_for_the_book_is_told_in_the_end() -> None:
    place = floor()
    dialogue = BinanceDialogue(place, frozenset())
    subscribe(dialogue, "btcusdt@depth@100ms")
    market = place.market("BTC/USDT")
    told = [dialogue.tell(market.step(), NOW_NS + index * STEP_NS) for index in range(60)]
    assert not any(told[:50])
    assert all(told[50:])


def test_the_book_is_cut_at_the_limit() -> None:
    book = rest_book(floor(), limit=20)
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])


def test_trades_touch_and_tickers_say_what_the_market_is() -> None:
    place = floor()
    dialogue = BinanceDialogue(place, frozenset())
    subscribe(dialogue, "btcusdt@trade", "btcusdt@bookTicker", "btcusdt@miniTicker", "btcusdt@ticker")
    market = place.market("BTC/USDT")
    events: dict[str, int] = {}
    for index in range(60):
        step = market.step()
        frames = dialogue.tell(step, NOW_NS + index * STEP_NS)
        trades = [frame for frame in frames if frame.channel == Channel.TRADES]
        assert [frame.key for frame in trades] == [(trade.trade_id,) for trade in step.trades]
        for frame in frames:
            message = orjson.loads(frame.payload)
            events[message.get("e", "bookTicker")] = events.get(message.get("e", "bookTicker"), 0) + 1
            if "c" in message:
                assert float(message["c"]) == market.last_price / 100
                assert float(message["l"]) <= float(message["c"]) <= float(message["h"])
            if frame.channel == Channel.BIDSASKS:
                assert float(message["b"]) == market.touch[0] / 100
                assert float(message["a"]) == market.touch[2] / 100
    assert events["24hrMiniTicker"] == events["24hrTicker"] == 6
    assert events["trade"] > 10
    assert events["bookTicker"] > 10


def test_a_refused_symbol_gets_an_error_and_an_unknown_stream_silence() -> None:
    dialogue = BinanceDialogue(floor(), frozenset({"ETH/USDT"}))
    assert subscribe(dialogue, "ethusdt@trade")["error"]["code"] == 2
    assert subscribe(dialogue, "nonsense@trade", "btcusdt@kline_1m") == {"result": None, "id": 5}
    assert dialogue.feeds == set()


def test_feeds_come_and_go() -> None:
    dialogue = BinanceDialogue(floor(), frozenset())
    subscribe(dialogue, "btcusdt@trade")
    assert dialogue.feeds == {Feed(Channel.TRADES, "BTC/USDT")}
    subscribe(dialogue, "btcusdt@trade", method="UNSUBSCRIBE")
    assert dialogue.feeds == set()


@pytest.mark.parametrize(("path", "count"), [("/api/v3/exchangeInfo", 20), ("/fapi/v1/exchangeInfo", 0)])
def test_markets_are_listed_for_spot_alone(path: str, count: int) -> None:
    reply = BINANCE.rest(Request("GET", "api.binance.com", path, {}), floor(), NOW_NS)
    assert reply is not None
    assert len(orjson.loads(reply.body)["symbols"]) == count


def test_an_unknown_symbol_s_book_is_refused() -> None:
    request = Request("GET", "api.binance.com", "/api/v3/depth", {"symbol": "NOPE"})
    reply = BINANCE.rest(request, floor(), NOW_NS)
    assert reply is not None
    assert reply.status == 400
