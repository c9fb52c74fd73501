import math

import numpy as np
import pytest

from fluxforge.domain.errors import RecordError
from fluxforge_etl_worker.payloads import PayloadParser

GOOD = b'{"symbol":"BTC/USDT","bids":[[1,2.5],[0.5,3]],"asks":[[2,1e-3]],"nonce":7}'


@pytest.mark.parametrize(
    "text",
    [
        b'{"bids":[[1,2,7],[3]],"asks":[]}',  # four numbers, but no pairs
        b'{"bids":[[1,2,7],[3,4]],"asks":[]}',
        b'{"bids":[[1,2],[]],"asks":[]}',
        b'{"bids":[1,2],"asks":[]}',
        b'{"bids":[5],"asks":[]}',
        b'{"bids":[[[1,2]]],"asks":[]}',
        b'{"bids":[[1,"2"]],"asks":[]}',
        b'{"bids":[[1,null]],"asks":[]}',
        b'{"bids":[[1,true]],"asks":[]}',
        b'{"bids":null,"asks":[]}',
        b'{"bids":{},"asks":[]}',
        b'{"asks":[]}',
        b'{"bids":[]}',
        b'{"bids":[[1,NaN]],"asks":[]}',
        b'{"bids":[[1,Infinity]],"asks":[]}',
        b'{"bids":[[1,1e400]],"asks":[]}',
        b'{"bids":[[1,18446744073709551616]],"asks":[]}',
        b'{"bids":[[1,2]],"asks":[',
        b'{"bids":[[1,2]],"asks":[]} {}',
        b'{"s":"\xff","bids":[],"asks":[]}',
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b"",
        b"[" * 2000,
    ],
)
def test_what_is_no_book_is_refused_and_the_next_books_are_read(text):
    parser = PayloadParser()
    parser.book(GOOD)
    with pytest.raises(RecordError):
        parser.book(text)
    for _ in range(1000):
        bids, asks, _ = parser.book(GOOD)
    assert np.frombuffer(bids).tolist() == [1, 2.5, 0.5, 3]
    assert np.frombuffer(asks).tolist() == [2, 1e-3]


@pytest.mark.parametrize(
    "bad", [b'{"bids":[[1,2,3]],"asks":[]}', b'{"bids":[[1],[2,3,4]],"asks":[]}', b'{"bids":[7],"asks":[[1,2]]}']
)
def test_a_bad_shape_stays_bad_when_it_comes_again(bad):
    parser = PayloadParser()
    parser.book(b'{"bids":[],"asks":[[1,2]]}')  # the skeleton of the third one
    for _ in range(3):
        with pytest.raises(RecordError, match=r"\[price, size\]"):
            parser.book(bad)


def test_white_space_and_escapes_do_not_hide_a_book():
    bids, _, _ = PayloadParser().book(b'{ "b\\u0069ds" : [ [ 1 , 2 ] ],\r"asks":[]}')
    assert np.frombuffer(bids).tolist() == [1, 2]


def test_trades_are_read_with_their_own_time():
    text = b'[{"id":12,"side":"buy","price":1,"amount":2.5,"timestamp":1700,"cost":null}'
    text = text + b',{"id":"x","price":2.0,"amount":1}]'
    first, second = PayloadParser().trades(text)
    assert (first.trade_id, first.side, first.price, first.amount, first.exchange_ms) == ("12", "buy", 1.0, 2.5, 1700)
    assert math.isnan(first.cost)
    assert (second.trade_id, second.side, second.exchange_ms) == ("x", None, None)


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[7]",
        b'[{"price":1}]',
        b'[{"price":"1","amount":2}]',
        b'[{"price":true,"amount":2}]',
        b'[{"price":1,"amount":2,"side":"short"}]',
        b'[{"price":1,"amount":2,"id":[1]}]',
        b'[{"price":1,"amount":2,"timestamp":1.5}]',
        b'[{"price":1,"amount":2}',
    ],
)
def test_what_is_no_trade_is_refused(text):
    with pytest.raises(RecordError):
        PayloadParser().trades(text)


def test_a_ticker_has_null_where_the_venue_gives_none():
    values = PayloadParser().ticker(b'{"last":1.5,"bid":null,"bidVolume":3}')
    assert values[:3] == [1.5, pytest.approx(math.nan, nan_ok=True), 3.0]


@pytest.mark.parametrize("text", [b"[]", b'{"last":"1.5"}', b'{"last":true}', b'{"last":1'])
def test_what_is_no_ticker_is_refused(text):
    with pytest.raises(RecordError):
        PayloadParser().ticker(text)
