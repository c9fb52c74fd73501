from typing import Any

import orjson

from fluxforge_simulator.frame import Channel, Feed, Frame, Kind
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Step, Trade
from fluxforge_simulator.venues.coinbase import COINBASE, CoinbaseDialogue
from fluxforge_simulator.venues.venue import Floor

NOW_NS = 1_763_830_000_123_456_789


def floor() -> Floor:
    return Floor("coinbase", COINBASE.instruments, seed=1, trade_share=0.5, opened=lambda _: None)


def subscribe(dialogue: CoinbaseDialogue, channel: str, *products: str, type: str = "subscribe") -> list[Frame]:  # noqa: A002
    request = {"type": type, "product_ids": products, "channel": channel}
    return dialogue.hear(orjson.dumps(request).decode(), NOW_NS)


def test_one_sequence_counts_everything_a_connection_is_told() -> None:
    place = floor()
    dialogue = CoinbaseDialogue(place, frozenset())
    frames = [
        frame
        for channel in ("market_trades", "ticker", "level2", "heartbeats", "ticker_batch")
        for frame in subscribe(dialogue, channel, "BTC-USD", "ETH-USD")
    ]
    for _ in range(60):
        for symbol in ("BTC/USD", "ETH/USD"):
            frames += dialogue.tell(place.market(symbol).step(), NOW_NS)
        frames += dialogue.beat(NOW_NS)
    numbers = [orjson.loads(frame.payload)["sequence_num"] for frame in frames]
    assert numbers == list(range(len(frames)))
    traded = [frame for frame in frames if frame.channel == "trades"]
    assert [frame.key for frame in frames if frame not in traded] == [
        (number,) for frame, number in zip(frames, numbers, strict=True) if frame not in traded
    ]
    for frame in traded:
        told = [trade["trade_id"] for event in orjson.loads(frame.payload)["events"] for trade in event["trades"]]
        assert sorted(map(str, frame.key)) == sorted(told)


def test_the_book_told_is_the_market_s() -> None:
    place = floor()
    dialogue = CoinbaseDialogue(place, frozenset())
    snapshot, ack = subscribe(dialogue, "level2", "SOL-USD")
    assert snapshot.kind is Kind.SNAPSHOT
    assert orjson.loads(ack.payload)["events"] == [{"subscriptions": {"level2": ["SOL-USD"]}}]
    book: dict[str, dict[float, float]] = {"bid": {}, "offer": {}}
    frames, market = [snapshot], place.market("SOL/USD")
    for _ in range(200):
        frames += dialogue.tell(market.step(), NOW_NS)
    for frame in frames:
        for update in orjson.loads(frame.payload)["events"][0]["updates"]:
            price, quantity = float(update["price_level"]), float(update["new_quantity"])
            book[update["side"]][price] = quantity
            if not quantity:
                del book[update["side"]][price]
    for side, name in ((Side.BID, "bid"), (Side.ASK, "offer")):
        expected = {price / 100: lots / 10**8 for price, lots in market.ladders[side].levels()}
        assert book[name] == expected


def test_trades_come_newest_first_with_the_maker_s_side() -> None:
    place = floor()
    dialogue = CoinbaseDialogue(place, frozenset())
    subscribe(dialogue, "market_trades", "BTC-USD")
    market = place.market("BTC/USD")
    seen = 0
    for _ in range(50):
        step = market.step()
        for frame in dialogue.tell(step, NOW_NS):
            trades: list[dict[str, Any]] = orjson.loads(frame.payload)["events"][0]["trades"]
            assert [int(trade["trade_id"]) for trade in trades] == [trade.trade_id for trade in reversed(step.trades)]
            assert {trade["side"] for trade in trades} == {"SELL" if step.trades[0].taker is Side.BID else "BUY"}
            seen += len(trades)
    assert seen > 10


def test_an_unlisted_and_a_refused_product_get_an_error_and_no_subscription() -> None:
    dialogue = CoinbaseDialogue(floor(), frozenset({"ETH/USD"}))
    for product in ("NO-USD", "ETH-USD"):
        (frame,) = subscribe(dialogue, "level2", product)
        assert orjson.loads(frame.payload)["type"] == "error"
    assert dialogue.feeds == set()


def test_after_unsubscribing_nothing_more_is_told() -> None:
    place = floor()
    dialogue = CoinbaseDialogue(place, frozenset())
    subscribe(dialogue, "level2", "BTC-USD")
    assert dialogue.feeds == {Feed(Channel.ORDERBOOK, "BTC/USD")}
    (ack,) = subscribe(dialogue, "level2", "BTC-USD", type="unsubscribe")
    assert orjson.loads(ack.payload)["events"] == [{"subscriptions": {}}]
    assert dialogue.tell(place.market("BTC/USD").step(), NOW_NS) == []
    assert dialogue.feeds == set()


def test_a_candle_is_of_the_trades_since_it_was_subscribed() -> None:
    place = floor()
    dialogue = CoinbaseDialogue(place, frozenset())
    (snapshot, _) = subscribe(dialogue, "candles", "BTC-USD")
    (first,) = orjson.loads(snapshot.payload)["events"][0]["candles"]
    assert (first["start"], float(first["volume"])) == (str(NOW_NS // 10**9 // 300 * 300), 0.0)
    assert dialogue.beat(NOW_NS) == []
    market = place.market("BTC/USD")
    trades = [trade for _ in range(50) for step in [market.step()] for trade in told(dialogue, step)]
    (frame,) = dialogue.beat(NOW_NS)
    (candle,) = orjson.loads(frame.payload)["events"][0]["candles"]
    prices = [trade.price / 100 for trade in trades]
    assert float(candle["close"]) == prices[-1]
    assert (float(candle["high"]), float(candle["low"])) == (
        max(float(first["open"]), *prices),
        min(float(first["open"]), *prices),
    )
    assert float(candle["volume"]) == sum(trade.quantity for trade in trades) / 10**8
    later_ns = NOW_NS + 300 * 10**9
    while not dialogue.tell(market.step(), later_ns) and not (frames := dialogue.beat(later_ns)):
        pass
    (next_candle,) = orjson.loads(frames[0].payload)["events"][0]["candles"]
    assert int(next_candle["start"]) == int(candle["start"]) + 300
    subscribe(dialogue, "candles", "BTC-USD", type="unsubscribe")
    assert dialogue.beat(later_ns) == []


def told(dialogue: CoinbaseDialogue, step: Step) -> tuple[Trade, ...]:
    assert dialogue.tell(step, NOW_NS) == []
    return step.trades
