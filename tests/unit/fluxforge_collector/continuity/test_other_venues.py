import ccxt.pro
import pytest

from fluxforge_collector.continuity.bitstamp import BitstampDetector
from fluxforge_collector.continuity.catalog import DETECTORS, detector_of
from fluxforge_collector.continuity.deribit import DeribitDetector
from fluxforge_collector.continuity.level_book import LevelBook
from fluxforge_collector.continuity.ranges import GateDetector, KucoinDetector
from tests.unit.fluxforge_collector.continuity.frames import bounds, last, taken


def kucoin(first: int | None, last: int) -> dict[str, object]:
    data: dict[str, object] = {"symbol": "BTC-USDT", "sequenceEnd": last}
    data |= {} if first is None else {"sequenceStart": first}
    return {"topic": "/market/level2:BTC-USDT", "subject": "trade.l2update", "data": data}


def gate(first: int | None, last: int, *, full: bool = False) -> dict[str, object]:
    result: dict[str, object] = {"s": "ob.BTC_USDT.400", "u": last} | ({"full": True} if full else {})
    result |= {} if first is None else {"U": first}
    return {"channel": "spot.obu", "event": "update", "result": result}


def deribit(previous: int | None, this: int) -> dict[str, object]:
    data: dict[str, object] = {"type": "snapshot", "instrument_name": "BTC-PERPETUAL", "change_id": this}
    data |= {} if previous is None else {"type": "change", "prev_change_id": previous}
    return {"method": "subscription", "params": {"channel": "book.BTC-PERPETUAL.100ms", "data": data}}


def bitstamp(at_us: int) -> dict[str, object]:
    return {"event": "data", "channel": "diff_order_book_btcusd", "data": {"microtimestamp": str(at_us)}}


def test_kucoin_joins_a_fetched_book() -> None:
    detector = KucoinDetector()
    assert taken(detector, [kucoin(10, 12)]) == ["suspect"]
    (found,) = detector.take_rest("BTC-USDT", b'{"code":"200000","data":{"sequence":"11"}}')
    assert found.step.verdict.value == "resynced"
    assert taken(detector, [kucoin(13, 13), kucoin(None, 14)]) == ["sound", "gap"]


def test_the_gap_of_kucoin_counts() -> None:
    detector = KucoinDetector()
    taken(detector, [kucoin(10, 12)])
    assert bounds(last(detector, kucoin(15, 15))) == (13, 15, 2)


def test_gate_begins_with_a_full_update_or_a_fetched_book() -> None:
    frames = [gate(None, 10, full=True), gate(11, 12), gate(14, 15), gate(16, 16), gate(1, 20, full=True), gate(21, 21)]
    assert taken(GateDetector(), frames) == ["resynced", "sound", "gap", "suspect", "resynced", "sound"]
    detector = GateDetector()
    assert detector.take_rest("BTC_USDT", b'{"id":10}')[0].step.verdict.value == "resynced"
    assert taken(detector, [gate(9, 12), gate(None, 13)]) == ["sound", "gap"]


def test_deribit_is_followed_by_change_ids() -> None:
    frames = [deribit(None, 10), deribit(10, 17), deribit(18, 20), deribit(20, 21), deribit(None, 30), deribit(30, 31)]
    assert taken(DeribitDetector(), frames) == ["resynced", "sound", "gap", "suspect", "resynced", "sound"]
    assert taken(DeribitDetector(), [deribit(10, 17)]) == ["gap"]


def test_bitstamp_shows_order_and_calls_nothing_sound() -> None:
    assert taken(BitstampDetector(), [bitstamp(5), bitstamp(5), bitstamp(9), bitstamp(7)]) == [
        "",
        "",
        "",
        "out_of_order",
    ]


def test_the_checksum_of_colons_is_the_one_of_the_guide() -> None:
    book = LevelBook()
    book.apply([("3366.1", "7"), ("3366", "6")], [("3366.8", "9"), ("3368", "8")])
    assert book.colon_checksum() == -1881014294


def test_the_catalog_names_exchanges_that_ccxt_has() -> None:
    assert set(DETECTORS) <= set(ccxt.pro.exchanges)
    assert detector_of("binance") is not detector_of("binance")
    assert detector_of("nowhere") is None


@pytest.mark.parametrize("exchange", sorted(DETECTORS))
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b'"pong"',
        b'{"topic":"orderbook.50.X","data":{"u":"' + b"9" * 5000 + b'"}}',
        b'{"channel":"book","type":"snapshot","data":[{"symbol":"X","checksum":' + b"9" * 5000 + b"}]}",
        b'{"method":"subscribe","result":{"channel":"book","symbol":"X","depth":' + b"9" * 5000 + b"}}",
        b'{"channel":"book","type":"snapshot","data":[{"symbol":"X","bids":[7]}]}',
        b'{"arg":{"channel":"books","instId":"X"},"action":"update","data":[{"bids":[5],"asks":[[]],"checksum":5}]}',
        b'{"data":7,"stream":1,"events":{},"arg":[],"result":[],"params":"x","channel":5}',
        b'{"channel":"book","type":"update","data":[7,{}]}',
        b'{"topic":"orderbook.50.X","data":null}',
        b'{"channel":"l2_data","events":[{"product_id":5}],"sequence_num":"x"}',
    ],
)
def test_hostile_frames_raise_nothing(exchange: str, frame: bytes) -> None:
    detector = detector_of(exchange)
    assert detector is not None
    detector.take(frame)
    detector.take_rest("X", frame)
