from typing import Any

import orjson
import pytest
from ccxt.async_support.base.ws.cache import ArrayCache, ArrayCacheBySymbolById, ArrayCacheByTimestamp
from ccxt.async_support.base.ws.order_book import CountedOrderBook, OrderBook

from fluxforge_collector.ccxt_source.unify import (
    Update,
    encode_book,
    encode_items,
    encode_rows,
    encode_single,
    encoder,
    is_snapshot,
    last_price,
)


def book(levels: int = 3) -> Any:
    made = OrderBook({"symbol": "BTC/USDT", "nonce": 7, "timestamp": 1_765_288_799_991})
    for n in range(levels):
        made["bids"].store(100.0 - n, 1.0 + n)
        made["asks"].store(101.0 + n, 2.0 + n)
    return made


def trade(number: int, *, symbol: str = "BTC/USDT", ms: int | None = 5) -> dict[str, Any]:
    return {"id": str(number), "symbol": symbol, "timestamp": ms, "price": 1.5, "info": {"raw": True}}


def ids(update: Update | None) -> list[str]:
    return [] if update is None else [item["id"] for item in orjson.loads(update.data)]


def test_a_book_is_its_top_levels_as_pairs() -> None:
    update = encode_book(book(5), 2)
    assert update.exchange_ms == 1_765_288_799_991
    assert orjson.loads(update.data) == {
        "symbol": "BTC/USDT",
        "bids": [[100.0, 1.0], [99.0, 2.0]],
        "asks": [[101.0, 2.0], [102.0, 3.0]],
        "timestamp": 1_765_288_799_991,
        "datetime": "2025-12-09T13:59:59.991Z",
        "nonce": 7,
    }


def test_a_counted_book_loses_its_third_value_and_an_empty_one_is_empty() -> None:
    counted = CountedOrderBook({"bids": [[100.0, 1.0, 3]], "asks": []})
    data = orjson.loads(encode_book(counted, 50).data)
    assert (data["bids"], data["asks"]) == ([[100.0, 1.0]], [])


def test_a_book_of_a_venue_that_gives_no_time_has_none() -> None:
    made = book()
    made["timestamp"] = None
    assert encode_book(made, 1).exchange_ms is None


@pytest.mark.parametrize("kind", [ArrayCache, ArrayCacheBySymbolById])
def test_only_trades_since_the_last_time_are_written_without_info(kind: type[ArrayCache]) -> None:
    cache = kind(1000)
    cache.append(trade(1, ms=9))
    cache.append(trade(2, ms=8))
    first = encode_items(cache)
    assert first is not None
    assert (ids(first), first.exchange_ms, first.missed) == (["1", "2"], 9, 0)
    assert "info" not in orjson.loads(first.data)[0]
    assert cache[0]["info"] == {"raw": True}
    assert encode_items(cache) is None
    cache.append(trade(3))
    assert ids(encode_items(cache)) == ["3"]


def test_a_consumer_that_asks_the_cache_too_loses_us_nothing() -> None:
    cache = ArrayCache(1000)
    cache.append(trade(1))
    encode_items(cache)
    cache.getLimit("BTC/USDT", None)
    cache.append(trade(2))
    assert ids(encode_items(cache)) == ["2"]


def test_trades_that_the_venue_sends_again_are_written_again() -> None:
    cache = ArrayCacheBySymbolById(1000)
    cache.append(trade(1))
    encode_items(cache)
    cache.append(trade(1))
    assert ids(encode_items(cache)) == ["1"]


def test_what_the_cache_no_longer_held_is_counted() -> None:
    cache = ArrayCache(3)
    for number in range(5):
        cache.append(trade(number))
    update = encode_items(cache)
    assert update is not None
    assert (ids(update), update.missed) == (["2", "3", "4"], 2)


def test_an_empty_cache_is_no_update() -> None:
    assert encode_items(ArrayCache(10)) is None
    assert encode_rows(ArrayCacheByTimestamp(10)) is None


def test_candles_are_the_changed_rows() -> None:
    cache = ArrayCacheByTimestamp(10)
    cache.append([1, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert encode_rows(cache) == Update(b"[[1,1.0,1.0,1.0,1.0,1.0]]", 1)
    cache.append([2, 2.0, 2.0, 2.0, 2.0, 2.0])
    update = encode_rows(cache)
    assert update is not None
    assert orjson.loads(update.data)[-1][0] == 2


@pytest.mark.parametrize(
    "result",
    [
        {"symbol": "BTC/USDT", "last": 1.0, "timestamp": 3, "info": {}},
        {"BTC/USDT": {"symbol": "BTC/USDT", "last": 1.0, "timestamp": 3}, "ETH/USDT": {"symbol": "ETH/USDT"}},
        [{"symbol": "ETH/USDT"}, {"symbol": "BTC/USDT", "last": 1.0, "timestamp": 3, "info": {}}],
    ],
)
def test_a_ticker_is_found_alone_by_market_or_in_a_list(result: Any) -> None:
    assert encode_single(result, "BTC/USDT") == Update(b'{"symbol":"BTC/USDT","last":1.0,"timestamp":3}', 3)


def test_tickers_of_other_markets_are_no_update() -> None:
    assert encode_single({"ETH/USDT": {"symbol": "ETH/USDT"}}, "BTC/USDT") is None
    assert encode_single([], "BTC/USDT") is None


def test_what_is_not_a_number_becomes_null() -> None:
    update = encode_single({"symbol": "X", "last": float("nan"), "bid": float("inf")}, "X")
    assert update == Update(b'{"symbol":"X","last":null,"bid":null}', None)


def test_every_channel_has_its_encoder() -> None:
    cache = ArrayCache(10)
    cache.append(trade(1))
    assert ids(encoder("trades", "BTC/USDT", 5)(cache)) == ["1"]
    assert encoder("orderbook", "BTC/USDT", 1)(book()) == encode_book(book(), 1)
    assert encoder("ticker", "BTC/USDT", 1)({"symbol": "BTC/USDT"}) == Update(b'{"symbol":"BTC/USDT"}', None)


@pytest.mark.parametrize(
    ("frame", "marked"),
    [
        ('{"channel":"trade","type":"snapshot","data":[]}', True),
        ('{"events": [{"type": "snapshot"}]}', True),
        (b'{"type":"update"}', False),
    ],
)
def test_the_venues_mark_of_a_snapshot_is_seen(frame: str | bytes, *, marked: bool) -> None:
    assert is_snapshot(frame) is marked


@pytest.mark.parametrize(
    ("channel", "data", "price"),
    [
        ("orderbook", b'{"bids":[[1.0,2.0]],"asks":[[2.0,2.0]]}', 1.5),
        ("orderbook", b'{"bids":[],"asks":[[2.0,2.0]]}', None),
        ("trades", b'[{"price":1.0},{"price":3.0}]', 3.0),
        ("ticker", b'{"last":4.0}', 4.0),
        ("bidsasks", b'{"last":null,"bid":5.0}', 5.0),
        ("ohlcv", b"[[1,2.0]]", None),
        ("ticker", b"", None),
    ],
)
def test_a_price_is_read_off_the_last_record(channel: str, data: bytes, price: float | None) -> None:
    assert last_price(channel, data) == price


def candles() -> Any:
    made = ArrayCacheByTimestamp(10)
    made.append([1_000, 1.0, 2.0, 0.5, 1.5, 9.0])
    return made


def test_candles_of_several_markets_in_one_call_come_with_their_names() -> None:
    update = encoder("ohlcv", "BTC/USDT", 5)(["BTC/USDT", "1m", candles()])
    assert update == Update(b"[[1000,1.0,2.0,0.5,1.5,9.0]]", 1_000)


def test_candles_that_do_not_last_a_minute_are_objects() -> None:
    update = encoder("ohlcv_1h", "BTC/USDT", 5)(candles())
    assert update is not None
    assert orjson.loads(update.data) == [
        {"start_ms": 1_000, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 9.0}
    ]


def test_liquidations_come_as_a_plain_list_too() -> None:
    update = encoder("liquidations", "BTC/USDT", 5)([{"symbol": "BTC/USDT", "timestamp": 7, "info": {}}])
    assert update == Update(b'[{"symbol":"BTC/USDT","timestamp":7}]', 7)


@pytest.mark.parametrize("channel", ["orderbook", "trades", "ticker", "ohlcv", "ohlcv_1h", "liquidations"])
@pytest.mark.parametrize("acknowledgement", [True, {"success": True}, None])
def test_what_a_call_waits_for_before_its_data_is_no_update(channel: str, acknowledgement: Any) -> None:
    assert encoder(channel, "BTC/USDT", 5)(acknowledgement) is None


def test_where_a_hash_brings_all_markets_a_ticker_of_another_is_no_update() -> None:
    encode = encoder("ticker", "BTC/USDT", 5, is_alone=False)
    assert encode({"symbol": "ETH/USDT"}) is None
    assert encode({"symbol": "BTC/USDT"}) is not None
    assert encode({"BTC/USDT": {"symbol": "BTC/USDT"}, "ETH/USDT": {"symbol": "ETH/USDT"}}) is not None
