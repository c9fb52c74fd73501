import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge.domain.errors import RecordError
from fluxforge.domain.record import Feed, RecordWriter, read_data, read_envelope

FEED = Feed("ccxt", "binanceus", "orderbook", "BTC/USDT")


def a_line(**changes: object) -> bytes:
    fields = {
        "conn": 3,
        "seq": 1841,
        "capture_ns": 1765288800003117513,
        "exchange_ms": 1765288799991,
        "data": b'{"a":1}',
    }
    return RecordWriter(FEED, "9f3c21ab").line(**{**fields, **changes})


def test_a_record_is_the_line_the_format_shows() -> None:
    assert a_line() == (
        b'{"v":1,"source":"ccxt","exchange":"binanceus","channel":"orderbook","symbol":"BTC-USDT","market":"BTC/USDT",'
        b'"boot":"9f3c21ab","conn":3,"seq":1841,"capture_ns":1765288800003117513,"exchange_ms":1765288799991,"data":{"a":1}}\n'
    )


def test_what_a_venue_does_not_say_is_null() -> None:
    assert orjson.loads(a_line(exchange_ms=None))["exchange_ms"] is None


def test_marks_stand_only_where_they_say_something() -> None:
    marked = orjson.loads(a_line(snapshot=True, backfill=True))
    assert (marked["snapshot"], marked["source_kind"]) == (True, "backfill")
    assert not {"snapshot", "source_kind"} & set(orjson.loads(a_line()))


@given(market=st.text(min_size=1, max_size=30), data=st.dictionaries(st.text(), st.integers() | st.text()))
def test_every_record_is_read_back_without_parsing_its_data(market: str, data: dict[str, object]) -> None:
    try:
        body = orjson.dumps(data)
        line = RecordWriter(Feed("ccxt", "x", "trades", market), "b0").line(
            conn=1, seq=2, capture_ns=3, exchange_ms=None, data=body
        )
    except TypeError:  # lone surrogates and integers beyond 64 bits are no JSON text
        return
    envelope = read_envelope(line)
    assert (envelope.market, envelope.seq, envelope.capture_ns, envelope.exchange_ms) == (market, 2, 3, None)
    assert read_data(line) == body
    assert line.count(b"\n") == 1


def test_a_market_that_looks_like_data_does_not_end_the_envelope() -> None:
    market = 'x","data":{'
    line = RecordWriter(Feed("ccxt", "x", "trades", market), "b0").line(
        conn=1, seq=2, capture_ns=3, exchange_ms=None, data=b"[]"
    )
    assert read_envelope(line).market == market


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "no envelope"),
        (b"{}\n", "no envelope"),
        (a_line().replace(b'"v":1', b'"v":2'), "unknown record version 2"),
        (a_line().replace(b'"v":1,', b""), "unknown record version None"),
        (a_line().replace(b'"seq":1841,', b""), "lacks 'seq'"),
        (a_line().replace(b'"conn":3', b'"conn":NaN'), "not JSON"),
    ],
)
def test_a_line_that_is_no_record_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        read_envelope(line)


def test_a_torn_line_has_no_data() -> None:
    with pytest.raises(RecordError, match="torn"):
        read_data(a_line()[:-3])
