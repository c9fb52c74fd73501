import pytest

from fluxforge_collector.continuity.binance import BinanceDetector
from tests.unit.fluxforge_collector.continuity.frames import bounds, last, taken


def depth(first: int, last: int, *, previous: int | None = None, symbol: str = "BTCUSDT") -> dict[str, object]:
    link = {} if previous is None else {"pu": previous}
    return {"e": "depthUpdate", "E": 1, "s": symbol, "U": first, "u": last, **link, "b": [], "a": []}


def wrapped(frame: dict[str, object]) -> dict[str, object]:
    return {"stream": "btcusdt@depth@100ms", "data": frame}


def test_spot_updates_wait_for_the_fetched_book_and_are_sound_from_then_on() -> None:
    detector = BinanceDetector()
    assert taken(detector, [depth(10, 12), wrapped(depth(13, 13))]) == ["suspect", "suspect"]
    (found,) = detector.take_rest("BTCUSDT", b'{"lastUpdateId":11,"bids":[],"asks":[]}')
    assert (found.channel, found.symbol, found.step.verdict.value) == ("orderbook", "BTCUSDT", "resynced")
    assert taken(detector, [depth(14, 20), wrapped(depth(21, 21))]) == ["sound", "sound"]


def test_a_book_fetched_before_the_first_update_is_joined_as_well() -> None:
    detector = BinanceDetector()
    assert detector.take_rest("BTCUSDT", '{"lastUpdateId":11}') == ()
    assert taken(detector, [depth(10, 11), depth(12, 13)]) == ["sound", "sound"]


def test_a_lost_spot_update_is_a_gap_of_its_symbol_alone() -> None:
    detector = BinanceDetector()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        detector.take_rest(symbol, b'{"lastUpdateId":10}')
    taken(detector, [depth(11, 12), depth(11, 12, symbol="ETHUSDT")])
    assert bounds(last(detector, depth(16, 18))) == (13, 16, 3)
    assert taken(detector, [depth(13, 14, symbol="ETHUSDT"), depth(19, 19)]) == ["sound", "suspect"]


def test_futures_updates_are_followed_by_pu() -> None:
    detector = BinanceDetector()
    detector.take_rest("BTCUSDT", b'{"lastUpdateId":100}')
    frames = [depth(90, 105, previous=88), depth(130, 140, previous=105), depth(190, 200, previous=150)]
    assert taken(detector, frames) == ["sound", "sound", "gap"]


def test_the_gap_of_a_futures_book_names_the_update_before() -> None:
    detector = BinanceDetector()
    taken(detector, [depth(90, 105, previous=88)])
    assert bounds(last(detector, depth(190, 200, previous=150))) == (105, 150, None)


@pytest.mark.parametrize("field", ["U", "u"])
def test_a_spot_update_without_an_id_is_a_gap(field: str) -> None:
    detector = BinanceDetector()
    detector.take_rest("BTCUSDT", b'{"lastUpdateId":10}')
    broken = depth(12, 13)
    del broken[field]
    assert taken(detector, [depth(11, 11), broken, depth(12, 13)]) == ["sound", "gap", "suspect"]


def test_a_futures_update_that_lost_its_pu_is_a_gap() -> None:
    detector = BinanceDetector()
    detector.take_rest("BTCUSDT", b'{"lastUpdateId":100}')
    assert taken(detector, [depth(90, 105, previous=88), depth(106, 107)]) == ["sound", "gap"]


def test_trades_are_followed_by_their_ids() -> None:
    detector = BinanceDetector()
    trades = [{"e": "trade", "s": "BTCUSDT", "t": number} for number in (7, 8, 12, 13)]
    assert taken(detector, trades) == ["resynced", "sound", "gap+resynced", "sound"]
    assert taken(detector, [{"e": "aggTrade", "s": "BTCUSDT", "a": 3}]) == ["resynced"]


def test_a_missing_trade_counts() -> None:
    detector = BinanceDetector()
    taken(detector, [{"e": "trade", "s": "BTCUSDT", "t": 7}])
    assert bounds(last(detector, {"e": "trade", "s": "BTCUSDT", "t": 10})) == (8, 10, 2)


@pytest.mark.parametrize("frame", [b"", b"pong", b"[1]", b'{"e":', b'{"result":null,"id":1}', b'{"e":"depthUpdate"}'])
def test_what_has_no_place_in_a_sequence_says_nothing(frame: bytes) -> None:
    assert BinanceDetector().take(frame) == ()
    assert BinanceDetector().take_rest("BTCUSDT", frame) == ()
