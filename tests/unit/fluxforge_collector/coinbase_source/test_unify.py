"""Record data by hand, and beside ccxt's own parsers for whatever the venue may send."""

from typing import Any

import ccxt.pro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.ccxt_source.unify import encode_single
from fluxforge_collector.coinbase_source.book import Book
from fluxforge_collector.coinbase_source.unify import (
    book_update,
    candles_update,
    epoch_ms,
    ticker_update,
    trades_update,
)

TIME = "2026-08-09T21:05:48.483587501Z"
MS = 1_786_309_548_483


def trade(trade_id: str, **more: str) -> dict[str, str]:
    return {
        "product_id": "BTC-USD",
        "trade_id": trade_id,
        "price": "65083.67",
        "size": "0.01034361",
        "time": "2026-08-09T21:05:48.167634Z",
        "side": "SELL",
        **more,
    }


@pytest.fixture(scope="module")
def venue() -> Any:
    exchange = ccxt.pro.coinbase()
    exchange.set_markets([exchange.parse_spot_market(PRODUCT, {})])
    return exchange


PRODUCT = {
    "product_id": "BTC-USD",
    "base_currency_id": "BTC",
    "quote_currency_id": "USD",
    "product_type": "SPOT",
    "price_increment": "0.01",
}


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (TIME, MS),
        ("2026-08-09T21:05:48Z", 1_786_309_548_000),
        ("2026-08-09T21:05:48.4Z", 1_786_309_548_400),
        ("2026-08-09T21:05:48.0009Z", 1_786_309_548_000),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_a_time_is_cut_to_ms(text: str, ms: int) -> None:
    assert epoch_ms(text) == ms


@pytest.mark.parametrize("text", ["", "2026-08-09", "2026-08-09T21:05:48", "2026-08-09T21:05:48+02:00", "yesterdayZ"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time"):
        epoch_ms(text)


def test_a_book_bears_the_time_and_the_number_of_its_frame() -> None:
    updates = [
        {"side": side, "price_level": price, "new_quantity": "2"}
        for side, price in (("bid", "99"), ("bid", "98"), ("offer", "100.5"))
    ]
    update = book_update(Book(updates), "BTC/USD", depth=1, time=TIME, sequence=17)
    assert update.exchange_ms == MS
    assert update.data == (
        b'{"symbol":"BTC/USD","bids":[[99.0,2.0]],"asks":[[100.5,2.0]],'
        b'"timestamp":1786309548483,"datetime":"2026-08-09T21:05:48.483587501Z","nonce":17}'
    )


def test_trades_are_told_oldest_first() -> None:
    later = trade("8", time="2026-08-09T21:05:49Z")
    update = trades_update([later, trade("7")], "BTC/USD")
    assert [each["id"] for each in orjson.loads(update.data)] == ["7", "8"]
    assert update.exchange_ms == 1_786_309_549_000


def test_candles_are_told_oldest_first() -> None:
    def candle(start: str) -> dict[str, str]:
        return {"start": start, "high": "3", "low": "1", "open": "2", "close": "2.5", "volume": "0.5"}

    update = candles_update([candle("1786309500"), candle("1786309200")])
    prices = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 0.5}
    assert orjson.loads(update.data) == [
        {"start_ms": 1_786_309_200_000, **prices},
        {"start_ms": 1_786_309_500_000, **prices},
    ]
    assert update.exchange_ms == 1_786_309_500_000


decimals = st.decimals(min_value="0.00000001", max_value="999999999", places=8).map(
    lambda value: format(value.normalize(), "f")
)
zeros = st.sampled_from(["0", "0.00", ""])


@given(price=decimals, size=decimals, side=st.sampled_from(["BUY", "SELL", "UNKNOWN_ORDER_SIDE"]))
def test_any_trade_is_ccxt_s(venue: Any, price: str, size: str, side: str) -> None:
    sent = trade("1", price=price, size=size, side=side)
    theirs = encode_single(venue.parse_trade(dict(sent)), None)
    assert theirs is not None
    assert trades_update([sent], "BTC/USD").data == b"[" + theirs.data + b"]"


percentages = st.decimals(min_value="-99.9", max_value="9999", places=14).map(str)


@given(
    st.fixed_dictionaries(
        {"price": decimals | zeros},
        optional={
            "price_percent_chg_24_h": percentages | zeros,
            **dict.fromkeys(
                (
                    "volume_24_h",
                    "low_24_h",
                    "high_24_h",
                    "best_bid",
                    "best_ask",
                    "best_bid_quantity",
                    "best_ask_quantity",
                ),
                decimals | zeros,
            ),
        },
    )
)
def test_any_ticker_is_ccxt_s(venue: Any, fields: dict[str, str]) -> None:
    ticker = {"type": "ticker", "product_id": "BTC-USD", **fields}
    told = venue.parse_ws_ticker(dict(ticker))
    told["timestamp"], told["datetime"] = MS, TIME
    theirs = encode_single(told, None)
    assert theirs is not None
    assert ticker_update(ticker, "BTC/USD", time=TIME).data == theirs.data


@pytest.mark.parametrize("bad", [{"price": "nan"}, {"size": "much"}, {"time": "now"}])
def test_a_trade_that_is_none_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"number|time|convert"):
        trades_update([trade("1", **bad)], "BTC/USD")
