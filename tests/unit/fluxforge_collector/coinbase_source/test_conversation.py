"""One connection's conversation with the simulator's own dialogue, frame by frame, and with frames made to measure."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from fluxforge.domain.control import Control, Event
from fluxforge_collector.coinbase_source.conversation import ConnectionLostError, Conversation
from fluxforge_collector.coinbase_source.plan import plan
from fluxforge_collector.coinbase_source.products import products_of
from fluxforge_collector.coinbase_source.requests import Request
from fluxforge_collector.markets_wanted import MarketsWanted
from fluxforge_simulator.frame import Frame
from fluxforge_simulator.frame import Request as RestRequest
from fluxforge_simulator.venues.coinbase import COINBASE
from fluxforge_simulator.venues.venue import Floor
from tests.unit.fluxforge_collector.made import BEGIN_NS, Desk, Line

ALL = ("market_trades", "ticker", "candles", "level2")
BOTH = ("BTC/USD", "ETH/USD")


class Talk:
    """A conversation, the venue it is held with, and the lane it is written to. `lose` says which frames get lost."""

    def __init__(
        self,
        *,
        channels: tuple[str, ...] = ("market_trades", "ticker", "level2"),
        markets: tuple[str, ...] = BOTH,
        refused: frozenset[str] = frozenset(),
        is_signed: bool = False,
    ) -> None:
        self.now_s = 1000.0
        self.lose: Callable[[Frame], bool] = lambda _: False
        self.asked: list[Request] = []
        self.floor = Floor("coinbase", COINBASE.instruments, seed=1, trade_share=0.9, opened=lambda _: None)
        reply = COINBASE.rest(RestRequest("GET", "", "/api/v3/brokerage/market/products", {}), self.floor, 0)
        assert reply is not None
        wanted = dict.fromkeys(channels, MarketsWanted(names=markets))
        (group,) = plan(wanted, products_of(reply.body), shard=0, shards=1, products_per_connection=9)
        self.desk = Desk(feeds=group.feeds)
        self.dialogue = COINBASE.dialogue(self.floor, refused)
        self.conversation = Conversation(
            group, self.desk.writer, conn=1, depth=3, chance=lambda: 1.0, is_signed=is_signed
        )

    def speak(self) -> None:
        """Send what is due until nothing is, and hear the answers."""
        while request := self.conversation.next_request(self.now_s):
            self.asked.append(request)
            message = {"type": request.type, "channel": request.channel, "product_ids": request.products}
            self.hear(self.dialogue.hear(orjson.dumps(message).decode(), BEGIN_NS))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            for symbol in BOTH:
                self.hear(self.dialogue.tell(self.floor.market(symbol).step(), BEGIN_NS))

    def hear(self, frames: list[Frame]) -> None:
        for frame in frames:
            if not self.lose(frame):
                self.take(frame.payload)

    def take(self, payload: bytes) -> None:
        self.desk.clock.advance(1_000_000)
        self.conversation.take(payload, at_ns=self.desk.writer.now(), now_s=self.now_s)

    def say(self, **fields: Any) -> None:
        """Say something as the venue, with its next number."""
        number = self.dialogue._sequence
        self.dialogue._sequence += 1
        self.take(orjson.dumps({"timestamp": "2026-08-09T21:05:48.4Z", "sequence_num": number, **fields}))

    def controls(self, *events: Event) -> list[Control]:
        return [control for control in self.desk.controls if control.event in events]

    def books(self, symbol: str = "BTC-USD") -> list[Line]:
        return [line for line in self.desk.lines() if (line.channel, line.symbol) == ("orderbook", symbol)]


def trade_of(product: str) -> dict[str, str]:
    time = "2026-08-09T21:05:48Z"
    return {"product_id": product, "trade_id": "9", "price": "1", "size": "1", "side": "BUY", "time": time}


def symbols(control: Control) -> set[str]:
    return {f"{feed.channel}:{feed.symbol}" for feed in control.concerned()}


EVERY_FEED = {
    f"{channel}:{symbol}" for channel in ("trades", "ticker", "orderbook") for symbol in ("BTC-USD", "ETH-USD")
}


def test_heartbeats_are_asked_for_first_and_books_last() -> None:
    talk = Talk(channels=ALL)
    talk.speak()
    assert [request.channel for request in talk.asked] == ["heartbeats", "market_trades", "ticker", "candles", "level2"]
    assert next(symbols(control) for control in talk.controls(Event.SUBSCRIBED)) == {"trades:BTC-USD", "trades:ETH-USD"}
    assert len(talk.controls(Event.SUBSCRIBED)) == 4


def test_every_frame_is_a_record_and_books_are_the_market_s() -> None:
    talk = Talk()
    talk.speak()
    talk.step(50)
    lines = talk.desk.lines()
    market = talk.floor.market("BTC/USD")
    last = [line for line in lines if (line.channel, line.symbol) == ("orderbook", "BTC-USD")][-1]
    bid, _, ask, _ = market.touch
    assert (last.data["bids"][0][0], last.data["asks"][0][0]) == (bid / 100, ask / 100)
    assert len(last.data["bids"]) == len(last.data["asks"]) == 3
    assert sum(line.channel == "orderbook" for line in lines) == 102
    assert not talk.controls(Event.GAP, Event.REJECTED)


def test_a_lost_frame_makes_every_feed_suspect_and_each_book_is_told_from_its_next_whole_one_on() -> None:
    talk = Talk()
    talk.speak()
    talk.step(5)
    before = {symbol: len(talk.books(symbol)) for symbol in ("BTC-USD", "ETH-USD")}
    expected = talk.dialogue._sequence
    lost = iter([True, True])
    talk.lose = lambda _: next(lost, False)
    talk.step()
    (gap,) = talk.controls(Event.GAP)
    assert symbols(gap) == EVERY_FEED
    assert gap.count == 2
    assert gap.detail == {"expected": expected, "got": expected + 2}
    talk.step(5)
    assert {symbol: len(talk.books(symbol)) for symbol in before} == before
    asked = len(talk.asked)
    talk.speak()
    assert [(request.type, request.channel, set(request.products)) for request in talk.asked[asked:]] == [
        ("unsubscribe", "level2", {"BTC-USD", "ETH-USD"}),
        ("subscribe", "level2", {"BTC-USD", "ETH-USD"}),
    ]
    talk.step(5)
    healed = talk.controls(Event.RESYNCED)
    assert {(*symbols(control), control.hole) for control in healed} == {
        ("orderbook:BTC-USD", gap.hole),
        ("orderbook:ETH-USD", gap.hole),
    }
    assert {control.hole for control in talk.controls(Event.RECOVERED)} >= {gap.hole}
    bid, _, ask, _ = talk.floor.market("ETH/USD").touch
    last = talk.books("ETH-USD")[-1].data
    assert (last["bids"][0][0], last["asks"][0][0]) == (bid / 100, ask / 100)
    assert not talk.controls(Event.REJECTED)


def test_a_gap_begins_where_the_last_frame_was_heard() -> None:
    talk = Talk()
    talk.speak()
    talk.step(3)
    heard_ns = talk.desk.writer.now()
    lost = iter([True])
    talk.lose = lambda _: next(lost, False)
    talk.step()
    (gap,) = talk.controls(Event.GAP)
    assert gap.from_ns == heard_ns


def test_a_lost_snapshot_is_asked_for_anew() -> None:
    talk = Talk(channels=("level2",), markets=("BTC/USD",))
    talk.lose = lambda frame: frame.kind == "snapshot"
    talk.speak()
    assert talk.books() == []
    talk.lose = lambda _: False
    talk.now_s += 2
    talk.speak()
    talk.step()
    assert len(talk.books()) == 2


def test_a_book_that_never_comes_is_asked_for_anew() -> None:
    talk = Talk(channels=("level2",), markets=("BTC/USD",))
    real, talk.dialogue.hear = talk.dialogue.hear, lambda _text, _now_ns: [talk.dialogue._subscriptions(BEGIN_NS)]
    talk.speak()
    talk.dialogue.hear = real
    talk.now_s += 29
    talk.speak()
    assert talk.books() == []
    talk.now_s += 2
    talk.speak()
    assert len(talk.books()) == 1


def test_books_that_break_again_and_again_are_asked_for_later_and_later() -> None:
    talk = Talk(channels=("level2",), markets=("BTC/USD",))
    talk.speak()
    waits = []
    for _ in range(6):
        lost = iter([True])
        talk.lose = lambda _, lost=lost: next(lost, False)
        talk.step(2)
        asked = len(talk.asked)
        for waited_s in range(60):
            talk.speak()
            if len(talk.asked) > asked:
                waits.append(waited_s)
                break
            talk.now_s += 1
    assert waits == [0, 1, 2, 4, 8, 16]


def test_a_late_frame_is_rejected_and_changes_nothing() -> None:
    talk = Talk()
    talk.speak()
    talk.step(3)
    said = [line for line in talk.desk.lines() if line.channel != "control"]
    events = [{"type": "update", "trades": [trade_of("BTC-USD")]}]
    for number in (talk.dialogue._sequence - 1, 2):
        talk.take(orjson.dumps({"channel": "market_trades", "sequence_num": number, "events": events}))
    reasons = [control.reason or "" for control in talk.controls(Event.REJECTED)]
    assert [reason.partition(":")[0] for reason in reasons] == ["duplicate", "duplicate"]
    assert [line for line in talk.desk.lines() if line.channel != "control"] == said
    talk.step()
    assert not talk.controls(Event.GAP)


def test_a_book_that_became_whole_by_itself_is_named_when_it_is_left_nevertheless() -> None:
    talk = Talk(channels=("market_trades", "level2"), markets=("BTC/USD",))
    talk.speak()
    trades, book = talk.conversation.feeds
    talk.conversation.resubscribe([trades, book], talk.now_s)
    assert talk.conversation.next_request(talk.now_s) == Request("unsubscribe", "market_trades", ("BTC-USD",))
    talk.say(channel="l2_data", events=[{"type": "snapshot", "product_id": "BTC-USD", "updates": []}])
    assert not book.unsound
    talk.say(channel="subscriptions", events=[{"subscriptions": {}}])
    asked = [talk.conversation.next_request(talk.now_s)]
    talk.say(channel="subscriptions", events=[{"subscriptions": {}}])
    asked.append(talk.conversation.next_request(talk.now_s))
    assert [(request.type, request.channel) for request in asked if request] == [
        ("subscribe", "market_trades"),
        ("unsubscribe", "level2"),
    ]
    assert book.unsound
    assert [gap.reason for gap in talk.controls(Event.GAP)] == ["asked for anew", "asked for anew"]


def test_a_book_that_was_on_its_way_when_it_was_left_is_named_once_the_venue_says_so() -> None:
    talk = Talk(channels=("level2",), markets=("BTC/USD",))
    talk.speak()
    talk.dialogue._sequence += 1
    talk.say(channel="heartbeats", events=[])
    (book,) = talk.conversation.feeds
    assert talk.conversation.next_request(talk.now_s) == Request("unsubscribe", "level2", ("BTC-USD",))
    talk.say(channel="l2_data", events=[{"type": "snapshot", "product_id": "BTC-USD", "updates": []}])
    assert not book.unsound
    talk.say(channel="subscriptions", events=[{"subscriptions": {}}])
    assert book.unsound
    assert talk.controls(Event.GAP)[-1].reason == "asked for anew"
    talk.speak()
    assert talk.asked[-1] == Request("subscribe", "level2", ("BTC-USD",))


def test_a_torn_frame_is_rejected_and_the_next_shows_the_gap() -> None:
    talk = Talk()
    talk.speak()
    talk.dialogue._sequence += 1
    talk.take(b'{"channel":"l2_da')
    (rejected,) = talk.controls(Event.REJECTED)
    assert rejected.reason == "no JSON object"
    assert rejected.detail is not None
    assert rejected.detail["text"] == '{"channel":"l2_da'
    talk.step()
    assert [gap.count for gap in talk.controls(Event.GAP)] == [1]


@pytest.mark.parametrize(
    "updates",
    [[{"side": "bid"}], [{"side": "bid", "price_level": "x", "new_quantity": "1"}], None, "levels"],
)
def test_a_book_that_cannot_be_read_is_that_product_s_gap_alone(updates: object) -> None:
    talk = Talk()
    talk.speak()
    event = {"type": "update", "product_id": "BTC-USD", "updates": updates}
    talk.say(channel="l2_data", events=[event])
    (gap,) = talk.controls(Event.GAP)
    assert symbols(gap) == {"orderbook:BTC-USD"}
    assert len(talk.controls(Event.REJECTED)) == 1
    talk.speak()
    assert [request.products for request in talk.asked[-2:]] == [("BTC-USD",), ("BTC-USD",)]
    talk.step()
    assert not [control for control in talk.controls(Event.GAP) if control is not gap]


def test_a_trade_that_cannot_be_read_is_a_gap_until_the_next_one() -> None:
    talk = Talk()
    talk.speak()
    talk.say(channel="market_trades", events=[{"type": "update", "trades": [{"product_id": "BTC-USD"}]}])
    assert len(talk.controls(Event.REJECTED)) == 1
    (gap,) = talk.controls(Event.GAP)
    assert symbols(gap) == {"trades:BTC-USD"}
    talk.say(channel="market_trades", events=[{"type": "update", "trades": [trade_of("BTC-USD")]}])
    assert [control.hole for control in talk.controls(Event.RECOVERED)][-1] == gap.hole


def test_a_book_that_cannot_be_read_leaves_the_others_of_its_frame_right() -> None:
    talk = Talk()
    talk.speak()
    price = talk.books("ETH-USD")[-1].data["bids"][0][0]
    change = {"side": "bid", "price_level": f"{price:.2f}", "new_quantity": "5"}
    good = {"type": "update", "product_id": "ETH-USD", "updates": [change]}
    bad = {"type": "update", "product_id": "BTC-USD", "updates": [{"side": "bid"}]}
    talk.say(channel="l2_data", events=[bad, good, {**bad, "updates": None}])
    assert talk.books("ETH-USD")[-1].data["bids"][0] == [price, 5.0]
    assert [symbols(gap) for gap in talk.controls(Event.GAP)] == [{"orderbook:BTC-USD"}]
    (rejected,) = talk.controls(Event.REJECTED)
    assert "price_level" in str(rejected.reason)


def test_books_that_break_together_are_asked_for_together() -> None:
    talk = Talk()
    talk.speak()
    events = [{"type": "update", "product_id": product, "updates": None} for product in ("BTC-USD", "ETH-USD")]
    talk.say(channel="l2_data", events=events)
    asked = len(talk.asked)
    talk.speak()
    assert [(request.type, request.products) for request in talk.asked[asked:]] == [
        ("unsubscribe", ("BTC-USD", "ETH-USD")),
        ("subscribe", ("BTC-USD", "ETH-USD")),
    ]


@pytest.mark.parametrize(
    ("channel", "listed", "ours", "good"),
    [
        ("market_trades", "trades", "trades", trade_of("ETH-USD")),
        ("ticker", "tickers", "ticker", {"product_id": "ETH-USD", "price": "1"}),
        (
            "candles",
            "candles",
            "ohlcv_5m",
            {"product_id": "ETH-USD", "start": "0", **dict.fromkeys(("open", "high", "low", "close", "volume"), "1")},
        ),
    ],
)
def test_what_cannot_be_read_keeps_nothing_else_of_its_frame(
    channel: str, listed: str, ours: str, good: dict[str, str]
) -> None:
    talk = Talk(channels=(channel,))
    talk.speak()
    before = len(talk.desk.lines())
    bad = {"product_id": "BTC-USD", "price": "much"}
    talk.say(channel=channel, events=[{"type": "update", listed: [bad, good]}, {"type": "update", listed: [bad]}])
    told = [(line.channel, line.symbol) for line in talk.desk.lines()[before:] if line.event != "recovered"]
    assert set(told) == {(ours, "ETH-USD"), ("control", None)}
    assert {frozenset(symbols(gap)) for gap in talk.controls(Event.GAP)} == {frozenset({f"{ours}:BTC-USD"})}
    assert len(talk.controls(Event.REJECTED)) == 1


def test_what_nobody_asked_for_makes_no_record() -> None:
    talk = Talk(channels=("level2",), markets=("BTC/USD",))
    talk.speak()
    before = len(talk.desk.lines())
    talk.say(channel="l2_data", events=[{"type": "snapshot", "product_id": "BTC-USDC", "updates": []}])
    talk.say(channel="ticker", events=[{"type": "update", "tickers": [{"product_id": ""}]}])
    talk.say(channel="status", events=[{}])
    assert len(talk.desk.lines()) == before


def test_trades_of_several_products_in_one_frame_are_told_apart() -> None:
    talk = Talk(channels=("market_trades",))
    talk.speak()
    events = [{"type": "update", "trades": [trade_of("BTC-USD"), trade_of("ETH-USD")]}]
    talk.say(channel="market_trades", events=events)
    told = [line for line in talk.desk.lines() if line.channel == "trades"][-2:]
    assert {(line.symbol, line.data[0]["symbol"]) for line in told} == {("BTC-USD", "BTC/USD"), ("ETH-USD", "ETH/USD")}


def test_a_refused_product_is_named_and_the_others_are_told() -> None:
    talk = Talk(refused=frozenset({"ETH/USD"}))
    talk.speak()
    talk.step(10)
    refused = talk.controls(Event.REJECTED)
    assert {frozenset(symbols(control)) for control in refused} == {
        frozenset({f"{channel}:ETH-USD"}) for channel in ("trades", "ticker", "orderbook")
    }
    assert all("ETH-USD is not a valid product" in (control.reason or "") for control in refused)
    assert len(talk.books("BTC-USD")) == 11
    assert talk.books("ETH-USD") == []
    talk.dialogue = COINBASE.dialogue(talk.floor, frozenset())  # the next time it is asked for, it is there


def test_refused_credentials_end_the_connection_by_name() -> None:
    talk = Talk(is_signed=True)
    talk.conversation.next_request(talk.now_s)
    with pytest.raises(ConnectionLostError, match="api_key and api_secret are refused: authentication failure"):
        talk.take(b'{"type":"error","message":"authentication failure"}')


def test_an_error_that_answers_nothing_is_told() -> None:
    talk = Talk()
    talk.speak()
    talk.take(b'{"type":"error","message":"server on fire"}')
    (told,) = talk.controls(Event.REJECTED)
    assert (told.reason, symbols(told)) == ("error: server on fire", set())


def test_stalled_feeds_are_left_and_subscribed_anew() -> None:
    talk = Talk()
    talk.speak()
    talk.step(3)
    stalled = [
        feed for feed in talk.conversation.feeds if feed.key.symbol == "BTC-USD" and feed.key.channel != "ticker"
    ]
    asked = len(talk.asked)
    talk.conversation.resubscribe(stalled, talk.now_s)
    talk.speak()
    assert {(request.type, request.channel, request.products) for request in talk.asked[asked:]} == {
        (kind, channel, ("BTC-USD",))
        for kind in ("unsubscribe", "subscribe")
        for channel in ("market_trades", "level2")
    }
    (gap,) = talk.controls(Event.GAP)
    assert (symbols(gap), gap.reason) == ({"orderbook:BTC-USD"}, "asked for anew")
    talk.step()
    assert not talk.controls(Event.REJECTED)
    assert talk.books("BTC-USD")[-1].data["nonce"] > talk.books("BTC-USD")[0].data["nonce"]
