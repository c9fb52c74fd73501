"""What each dialect makes of subscriptions and frames that differ from the plain case."""

import orjson

from fluxforge_simulator.frame import Kind, Request
from fluxforge_simulator.recording.binance import BinanceDialect
from fluxforge_simulator.recording.bitfinex import BitfinexDialect
from fluxforge_simulator.recording.coinbase import CoinbaseDialect
from fluxforge_simulator.recording.dialect import RestIndex, query_of
from fluxforge_simulator.recording.kucoin import KucoinDialect
from fluxforge_simulator.recording.okx import OkxDialect
from fluxforge_simulator.recording.reader import RecordedFrame, Recording


def get(path: str, **query: str) -> Request:
    return Request("GET", "host", path, query)


def test_recorded_replies_are_found_by_path_and_query_in_any_order() -> None:
    index = RestIndex(
        [("https://h/a/b?x=1&y=2", b"first"), ("https://h/a/b?y=2&x=1", b"second"), ("https://h/a", b"bare")]
    )
    assert index.find(get("/a/b", y="2", x="1")) == b"first"
    assert index.find(get("/a")) == b"bare"
    assert index.find(get("/a/b", x="1")) is None
    assert query_of("https://h/a?x=1&y=2") == {"x": "1", "y": "2"}


def binance(exchange: str, stream: str, **data: object) -> tuple[BinanceDialect, bytes]:
    frame = orjson.dumps({"stream": stream, "data": data})
    replies = [("depth", b'{"lastUpdateId":100,"bids":[],"asks":[]}')]
    return BinanceDialect(Recording(exchange, [RecordedFrame(1, frame)], replies), None), frame


def test_binance_streams_of_another_speed_are_renamed_to_the_one_subscribed() -> None:
    dialect, frame = binance("binanceusdm", "ethusdt@depth@0ms", U=99, u=101)
    heard = dialect.hear('{"method":"SUBSCRIBE","params":["ethusdt@depth@100ms"],"id":4}')
    parcel = dialect.classify(frame)
    assert heard.answers == (b'{"result":null,"id":4}',)
    assert parcel is not None
    assert parcel.topic == heard.subscribed[0].text
    assert (parcel.symbol, parcel.key) == ("ETH/USDT:USDT", (99, 101))
    fitted, _ = dialect.fit(frame, parcel.key, heard.subscribed[0], 0)
    assert fitted == frame.replace(b"@0ms", b"@100ms")


def test_binance_books_are_found_in_every_version_of_the_api_but_not_in_another_family_s() -> None:
    dialect, _ = binance("binance", "ethusdt@depth@100ms", U=1, u=2)
    assert dialect.book_symbol(get("/api/v1/depth", symbol="ETHUSDT")) == "ETH/USDT"
    assert dialect.book_symbol(get("/fapi/v1/depth", symbol="ETHUSDT")) is None
    assert dialect.books["ETH/USDT"].update_id == 100
    other = dialect.rest(get("/fapi/v1/exchangeInfo"), 1)
    assert other is not None
    assert other.body == b'{"symbols":[]}'


def test_a_delta_that_ends_at_the_book_is_part_of_it_on_spot_and_follows_it_on_futures() -> None:
    for exchange, is_part in (("binance", True), ("binanceusdm", False), ("binancecoinm", False)):
        dialect, frame = binance(exchange, "ethusdt@depth@100ms", U=90, u=100)
        parcel = dialect.classify(frame)
        assert parcel is not None
        assert dialect.precedes_book(parcel, 100) is is_part
        assert dialect.precedes_book(parcel, 101) is True
        assert dialect.precedes_book(parcel, 99) is False


def test_coinbase_numbers_frames_by_what_the_connection_was_told() -> None:
    dialect = CoinbaseDialect(Recording("coinbase"), None)
    frame = b'{"channel":"ticker","sequence_num":977,"events":[{"tickers":[{"product_id":"BTC-USD"}]}]}'
    parcel = dialect.classify(frame)
    assert parcel is not None
    assert (parcel.topic, parcel.symbol, parcel.key) == ("ticker:BTC-USD", "BTC/USD", (977,))
    assert dialect.fit(frame, parcel.key, None, 3) == (frame.replace(b"977", b"3"), (3,))
    heard = dialect.hear('{"type":"subscribe","product_ids":["BTC-USD"],"channel":"ticker"}')
    assert [topic.text for topic in heard.subscribed] == [parcel.topic]
    assert dialect.hear('{"type":"unsubscribe","product_ids":["BTC-USD"],"channel":"ticker"}').unsubscribed


def test_okx_symbols_are_unified_by_kind_of_contract() -> None:
    dialect = OkxDialect(Recording("okx"), None)
    args = [
        {"channel": "books", "instId": name} for name in ("BTC-USDT", "UNI-USD-SWAP", "ETH-USDT-SWAP", "BTC-USD-220527")
    ]
    heard = dialect.hear(orjson.dumps({"op": "subscribe", "args": args}).decode())
    assert [topic.symbol for topic in heard.subscribed] == [
        "BTC/USDT",
        "UNI/USD:UNI",
        "ETH/USDT:USDT",
        "BTC/USD:BTC-220527",
    ]
    assert len(heard.answers) == 4
    assert dialect.hear("ping").answers == (b"pong",)


def test_kucoin_names_this_server_as_its_socket() -> None:
    dialect = KucoinDialect(Recording("kucoin"), None)
    reply = dialect.rest(Request("POST", "api.kucoin.com", "/api/v1/bullet-public", {}), 4711)
    assert reply is not None
    (server,) = orjson.loads(reply.body)["data"]["instanceServers"]
    assert server["endpoint"].startswith("ws://127.0.0.1:4711/")
    assert dialect.book_symbol(get("/api/v1/market/orderbook/level2_100", symbol="BTC-USDT")) == "BTC/USDT"


def test_bitfinex_acknowledges_with_the_recorded_channel_number_and_refuses_what_was_not_recorded() -> None:
    ack = b'{"event":"subscribed","channel":"trades","chanId":77,"symbol":"tBTCUST","pair":"BTCUST"}'
    dialect = BitfinexDialect(Recording("bitfinex", [RecordedFrame(1, ack)]), None)
    heard = dialect.hear('{"event":"subscribe","channel":"trades","symbol":"tBTCUST"}')
    assert heard.answers == (ack,)
    assert heard.subscribed[0].symbol == "BTC/USDT"
    refused = dialect.hear('{"event":"subscribe","channel":"trades","symbol":"tETHUSD"}')
    assert refused.subscribed == ()
    assert b'"event":"error"' in refused.answers[0]
    snapshot, printed = dialect.classify(b"[77,[[5,1,2,3]],1]"), dialect.classify(b'[77,"tu",[6,1,2,3],2]')
    assert snapshot is not None
    assert printed is not None
    assert (snapshot.kind, snapshot.key) == (Kind.SNAPSHOT, (5,))
    assert (printed.kind, printed.key) == (Kind.DATA, (6,))
    assert dialect.classify(b'[77,"hb",3]') is None
