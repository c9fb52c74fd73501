from typing import Any

import pytest

from fluxforge_collector.ccxt_source.messages import unsubscribing, without

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
    ],
    ids=["binance", "coinbase", "kraken", "bybit", "okx", "gate"],
)
def test_a_subscribing_message_is_turned_round_without_what_is_of_others(
    others: set[str], message: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert unsubscribing(message, others, REQUEST) == expected


@pytest.mark.parametrize("message", [None, "ping", ["subscribe"], {"cmd": "watch", "args": ["BTC-USD"]}])
def test_what_has_no_known_verb_is_not_turned_round(message: Any) -> None:
    assert unsubscribing(message, set(), REQUEST) is None


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
