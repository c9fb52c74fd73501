from typing import Any

import pytest

from fluxforge_collector.ccxt_source.messages import is_same, unsubscribing, without

REQUEST = 900_000_000


@pytest.mark.parametrize(
    ("others", "message", "expected"),
    [
        (
            {"ETHUSDT", "ETH/USDT"},
            {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms", "ethusdt@depth@100ms"], "id": 1},
            {"method": "UNSUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": REQUEST},
        ),
        (
            {"ETH-USD"},
            {"type": "subscribe", "product_ids": ["ETH-USD", "BTC-USD"], "channel": "level2"},
            {"type": "unsubscribe", "product_ids": ["BTC-USD"], "channel": "level2"},
        ),
        (
            {"ETHUSD", "ETH/USD"},
            {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"]}, "req_id": 3},
            {"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}, "req_id": REQUEST},
        ),
        (
            {"ETHUSDT"},
            {"op": "subscribe", "req_id": "4", "args": ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"]},
            {"op": "unsubscribe", "req_id": str(REQUEST), "args": ["orderbook.50.BTCUSDT"]},
        ),
        (
            {"E"},
            {
                "op": "subscribe",
                "args": [{"channel": "books", "instId": "BTC-USDT"}, {"channel": "books", "instId": "E"}],
            },
            {"op": "unsubscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]},
        ),
        (
            set(),
            {"id": 5, "time": 1, "channel": "spot.obu", "event": "subscribe", "payload": ["BTC_USDT", "100ms"]},
            {"id": REQUEST, "time": 1, "channel": "spot.obu", "event": "unsubscribe", "payload": ["BTC_USDT", "100ms"]},
        ),
        (
            {"ETH-USDT", "ETH/USDT"},
            {"id": "1", "type": "subscribe", "topic": "/market/match:BTC-USDT,ETH-USDT", "response": True},
            {"id": str(REQUEST), "type": "unsubscribe", "topic": "/market/match:BTC-USDT", "response": True},
        ),
        (
            {"BTCUSDT", "BTC/USDT"},
            {"symbol": "BTCUSDT,ETHUSDT,1000BTCUSDT", "topic": "depth", "event": "sub"},
            {"symbol": "ETHUSDT,1000BTCUSDT", "topic": "depth", "event": "unsub"},
        ),
    ],
    ids=["binance", "coinbase", "kraken", "bybit", "okx", "gate", "kucoin", "toobit"],
)
def test_a_subscribing_message_is_turned_round_without_what_is_of_others(
    others: set[str], message: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert unsubscribing(message, others, REQUEST) == expected


@pytest.mark.parametrize("message", [None, "ping", ["subscribe"], {"cmd": "watch", "args": ["BTC-USD"]}])
def test_what_has_no_known_verb_is_not_turned_round(message: Any) -> None:
    assert unsubscribing(message, set(), REQUEST) is None


@pytest.mark.parametrize(
    "message",
    [
        {"op": "subscribe", "args": [{"channel": "liquidation-orders", "instType": "SWAP"}]},
        {"jsonrpc": "2.0", "method": "subscribe", "params": {"channel": "markets_summary"}},
        {"type": "subscribe", "channel": "market_stats/all"},
    ],
    ids=["okx", "paradex", "lighter"],
)
def test_a_subscription_of_a_whole_channel_is_turned_round_for_nobody_but_all(message: dict[str, Any]) -> None:
    assert unsubscribing(message, {"ETH-USDT-SWAP", "ETH/USDT:USDT"}, REQUEST) is None
    assert unsubscribing(message, (), REQUEST) is not None


def test_messages_are_the_same_whatever_their_numbers() -> None:
    message = {"op": "sub", "id": "1", "time": 5, "args": ["a"]}
    assert is_same(message, {"op": "sub", "id": "2", "time": 6, "args": ["a"]})
    assert not is_same(message, {"op": "sub", "id": "1", "time": 5, "args": ["b"]})
    assert is_same(None, None)


def test_a_market_whose_name_is_part_of_anothers_is_not_taken_for_it() -> None:
    message = {"op": "subscribe", "args": ["orderbook.50.BTCUSDT", "orderbook.50.1000BTCUSDT"]}
    assert unsubscribing(message, {"1000BTCUSDT"}, 1) == {"op": "unsubscribe", "args": ["orderbook.50.BTCUSDT"]}


def test_a_list_is_subscribed_again_for_what_is_missing_alone() -> None:
    message = {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms", "ethusdt@depth@100ms"], "id": 1}
    kept = {"id": "1", "name": "depth", "symbols": ["BTC/USDT", "ETH/USDT"], "params": {}}
    there = {"ETHUSDT", "ETH/USDT"}
    assert without(message, there) == {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1}
    assert without(kept, there) == {"id": "1", "name": "depth", "symbols": ["BTC/USDT"], "params": {}}
    assert without("ping", there) == "ping"
