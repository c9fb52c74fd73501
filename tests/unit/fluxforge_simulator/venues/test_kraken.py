import json
import zlib
from typing import Any

import pytest

from fluxforge_simulator.frame import Frame, Kind
from fluxforge_simulator.market.market import Market
from fluxforge_simulator.venues.kraken import KRAKEN, KrakenDialogue, checksum
from fluxforge_simulator.venues.venue import Floor

NOW_NS = 1_763_830_000_123_456_789


def floor() -> Floor:
    return Floor("kraken", KRAKEN.instruments, seed=1, trade_share=0.5, opened=lambda _: None)


def parsed(frame: Frame) -> Any:
    """Numbers as they are written: the checksum is about their digits."""
    return json.loads(frame.payload, parse_float=str)


def client_checksum(book: dict[str, dict[str, str]]) -> int:
    """The venue's recipe, from the client's side and over text."""
    asks = sorted(book["asks"].items(), key=lambda level: float(level[0]))[:10]
    bids = sorted(book["bids"].items(), key=lambda level: -float(level[0]))[:10]
    digits = [text.replace(".", "").lstrip("0") for level in (*asks, *bids) for text in level]
    return zlib.crc32("".join(digits).encode())


def test_the_checksum_is_the_one_of_the_venue_s_documented_example() -> None:
    # fmt: off
    asks = ("45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660 "
            "45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827")
    bids = ("45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586 "
            "45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238")
    # fmt: on
    assert checksum(units(asks), units(bids)) == 3310070434


def units(text: str) -> list[tuple[int, int]]:
    """Pairs of ticks and lots."""
    numbers = [int(number.replace(".", "")) for number in text.split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@pytest.mark.parametrize("depth", [10, 25, 1000])
def test_a_client_that_cuts_its_book_agrees_with_every_checksum(depth: int) -> None:
    place = floor()
    dialogue = KrakenDialogue(place, frozenset())
    request = {"method": "subscribe", "params": {"channel": "book", "symbol": ["ADA/USD"], "depth": depth}, "req_id": 7}
    ack, snapshot = dialogue.hear(json.dumps(request), NOW_NS)
    assert parsed(ack)["result"]["symbol"] == "ADA/USD"
    assert snapshot.kind is Kind.SNAPSHOT
    book: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    frames, market = [snapshot], place.market("ADA/USD")
    for _ in range(400):
        frames += dialogue.tell(market.step(), NOW_NS)
    assert len(frames) > 300
    for frame in frames:
        message = parsed(frame)["data"][0]
        for side, sign in (("bids", -1), ("asks", 1)):
            for level in message[side]:
                book[side][level["price"]] = level["qty"]
                if float(level["qty"]) == 0:
                    del book[side][level["price"]]
            kept = sorted(book[side], key=lambda price: sign * float(price))[:depth]
            book[side] = {price: book[side][price] for price in kept}
        assert client_checksum(book) == message["checksum"]
    shown = {price for price, _ in market.ladders[next(iter(market.ladders))].levels(depth)}
    assert {int(price.replace(".", "")) for price in book["bids"]} == shown


def test_ping_is_answered_with_its_id() -> None:
    (pong,) = KrakenDialogue(floor(), frozenset()).hear('{"method":"ping","req_id":3}', NOW_NS)
    assert parsed(pong)["method"] == "pong"
    assert parsed(pong)["req_id"] == 3
    assert pong.kind is Kind.PING


def test_an_unlisted_and_a_refused_symbol_get_the_venue_s_error() -> None:
    dialogue = KrakenDialogue(floor(), frozenset({"BTC/USD"}))
    request = {"method": "subscribe", "params": {"channel": "trade", "symbol": ["NO/USD", "BTC/USD", "ETH/USD"]}}
    unlisted, refused, accepted = (parsed(frame) for frame in dialogue.hear(json.dumps(request), NOW_NS))
    assert unlisted["error"] == "Currency pair not supported NO/USD"
    assert refused["success"] is False
    assert accepted["success"] is True
    assert {feed.symbol for feed in dialogue.feeds} == {"ETH/USD"}


def test_heartbeats_come_with_subscriptions_alone() -> None:
    dialogue = KrakenDialogue(floor(), frozenset())
    assert dialogue.beat(NOW_NS) == []
    dialogue.hear('{"method":"subscribe","params":{"channel":"trade","symbol":["ETH/USD"]}}', NOW_NS)
    assert [frame.payload for frame in dialogue.beat(NOW_NS)] == [b'{"channel":"heartbeat"}']


def test_trades_are_told_with_their_ids_and_the_taker_s_side() -> None:
    place = floor()
    dialogue = KrakenDialogue(place, frozenset())
    dialogue.hear('{"method":"subscribe","params":{"channel":"trade","symbol":["ETH/USD"]}}', NOW_NS)
    market: Market = place.market("ETH/USD")
    for _ in range(50):
        step = market.step()
        frames = dialogue.tell(step, NOW_NS)
        ids = [trade["trade_id"] for frame in frames for trade in parsed(frame)["data"]]
        assert ids == [trade.trade_id for trade in step.trades]
        assert [frame.key for frame in frames] == ([tuple(ids)] if ids else [])
