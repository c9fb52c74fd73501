import zlib
from typing import Any

import orjson
import pytest

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind, Request
from fluxforge_simulator.venues.okx import OKX, OkxDialogue
from fluxforge_simulator.venues.venue import Floor, Refusal

NOW_NS = 1_763_830_000_123_456_789
BOOK = {"channel": "books", "instId": "DOGE-USDT"}


def floor() -> Floor:
    return Floor("okx", OKX.instruments, seed=1, trade_share=0.5, opened=lambda _: None)


def asked(op: str, *args: dict[str, str]) -> str:
    return orjson.dumps({"op": op, "args": args}).decode()


def body(frame: Frame) -> Any:
    return orjson.loads(frame.payload)


def signed_crc(bids: dict[str, str], asks: dict[str, str]) -> int:
    """The venue's recipe, from the client's side."""
    tops = [sorted(bids.items(), key=lambda level: -float(level[0])), sorted(asks.items(), key=lambda x: float(x[0]))]
    parts = [text for pair in zip(tops[0][:25], tops[1][:25], strict=True) for level in pair for text in level]
    crc = zlib.crc32(":".join(parts).encode())
    return crc - 2**32 if crc >= 2**31 else crc


def test_updates_are_linked_and_their_checksum_is_that_of_the_book_they_make() -> None:
    place = floor()
    dialogue = OkxDialogue(place, frozenset())
    ack, *frames = dialogue.hear(asked("subscribe", BOOK), NOW_NS)
    assert body(ack)["arg"] == BOOK
    for _ in range(100):
        frames += dialogue.tell(place.market("DOGE/USDT").step(), NOW_NS)
    held: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    before = -1
    for frame in frames:
        (data,) = body(frame)["data"]
        assert data["prevSeqId"] == before
        assert frame.key == (before, data["seqId"])
        before = data["seqId"]
        for side, levels in held.items():
            levels.update({price: size for price, size, *_ in data[side]})
            held[side] = {price: size for price, size in levels.items() if size != "0"}
        assert (len(held["bids"]), len(held["asks"])) == (400, 400)
        assert signed_crc(held["bids"], held["asks"]) == data["checksum"]


def test_a_still_book_is_told_again_under_its_number_and_one_that_moves_is_not() -> None:
    dialogue = OkxDialogue(floor(), frozenset())
    _, snapshot = dialogue.hear(asked("subscribe", BOOK), NOW_NS)
    assert dialogue.beat(NOW_NS + 999_999_999) == []
    (again,) = dialogue.beat(NOW_NS + 1_000_000_000)
    (data,) = body(again)["data"]
    assert data["seqId"] == data["prevSeqId"] == body(snapshot)["data"][0]["seqId"]
    assert data["bids"] == data["asks"] == []
    assert data["checksum"] == body(snapshot)["data"][0]["checksum"]


def test_ping_is_answered_with_pong() -> None:
    (pong,) = OkxDialogue(floor(), frozenset()).hear("ping", NOW_NS)
    assert (pong.payload, pong.kind) == (b"pong", Kind.PING)


def test_each_argument_is_answered_by_itself() -> None:
    dialogue = OkxDialogue(floor(), frozenset({"XRP/USDT"}))
    args = [BOOK, {"channel": "trades", "instId": "XRP-USDT"}, {"channel": "candles", "instId": "DOGE-USDT"}]
    frames = dialogue.hear(asked("subscribe", *args), NOW_NS)
    assert [body(frame).get("code", body(frame).get("event", "data")) for frame in frames] == [
        *("subscribe", "data", "60018", "60018")
    ]
    assert dialogue.feeds == {Feed(Channel.ORDERBOOK, "DOGE/USDT")}
    (ack,) = dialogue.hear(asked("unsubscribe", BOOK), NOW_NS)
    assert body(ack)["event"] == "unsubscribe"
    assert dialogue.feeds == set()


@pytest.mark.parametrize(("why", "code"), [(Refusal.UNKNOWN, "60018"), (Refusal.BUSY, "60014")])
def test_a_subscription_can_be_refused_and_nothing_else_is(why: Refusal, code: str) -> None:
    dialogue = OkxDialogue(floor(), frozenset())
    (error,) = dialogue.refuse(asked("subscribe", BOOK), why)
    assert body(error)["code"] == code
    assert dialogue.refuse("ping", why) == dialogue.refuse(asked("unsubscribe", BOOK), why) == []
    assert dialogue.feeds == set()


def test_only_spot_lists_something() -> None:
    for kind, count in (("SPOT", len(OKX.instruments)), ("SWAP", 0)):
        reply = OKX.rest(Request("GET", "www.okx.com", "/api/v5/public/instruments", {"instType": kind}), floor(), 0)
        assert reply is not None
        assert len(orjson.loads(reply.body)["data"]) == count
