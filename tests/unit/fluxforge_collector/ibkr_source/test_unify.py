import orjson

from fluxforge_collector.ibkr_source.unify import Bar, Print, bar_data, book_data, ticker_data, touch_data, trade_data


def test_a_trade_has_the_second_of_the_print_and_nothing_that_tws_does_not_say() -> None:
    data = orjson.loads(
        trade_data("A/USD:X", Print(3, 1.5, 20.0, "ISLAND", " T I", is_past_limit=False, is_unreported=True))
    )
    assert data == [
        {
            "id": None,
            "symbol": "A/USD:X",
            "timestamp": 3000,
            "side": None,
            "price": 1.5,
            "amount": 20.0,
            "cost": None,
            "takerOrMaker": None,
            "exchange": "ISLAND",
            "conditions": " T I",
            "pastLimit": False,
            "unreported": True,
        }
    ]


def test_a_touch_without_a_size_has_no_price() -> None:
    data = orjson.loads(touch_data("A", 3, (0.0, 0.0), (1.5, 2.0)))
    assert data == {"symbol": "A", "timestamp": 3000, "bid": None, "bidVolume": None, "ask": 1.5, "askVolume": 2.0}


def test_a_book_and_a_ticker_have_no_time_of_the_venue() -> None:
    assert orjson.loads(book_data("A", [(1.0, 2.0)], [])) == {
        "symbol": "A",
        "bids": [[1.0, 2.0]],
        "asks": [],
        "timestamp": None,
        "nonce": None,
    }
    assert orjson.loads(ticker_data("A", {"bid": 1.0, "delayed": True})) == {
        "symbol": "A",
        "timestamp": None,
        "bid": 1.0,
        "delayed": True,
    }


def test_a_bar_of_midpoints_has_no_volume() -> None:
    prices = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5}
    traded = orjson.loads(bar_data(Bar(3, *prices.values(), 10.0, 1.2, 4)))
    assert traded == {"start_ms": 3000, **prices, "volume": 10.0, "vwap": 1.2, "count": 4}
    middle = orjson.loads(bar_data(Bar(3, *prices.values(), -1.0, -1.0, -1)))
    assert middle == {"start_ms": 3000, **prices, "volume": None, "vwap": None, "count": None}
