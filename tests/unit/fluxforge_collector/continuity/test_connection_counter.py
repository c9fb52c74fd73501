import pytest

from fluxforge_collector.continuity.connection_counter import CoinbaseDetector, GeminiDetector
from tests.unit.fluxforge_collector.continuity.frames import bounds, last, taken


def frame(number: int | None, channel: str, *events: dict[str, object]) -> dict[str, object]:
    return {"channel": channel, "events": list(events)} | ({} if number is None else {"sequence_num": number})


def level2(number: int | None, *, kind: str = "update", product: str = "BTC-USD") -> dict[str, object]:
    return frame(number, "l2_data", {"type": kind, "product_id": product, "updates": []})


def trades(number: int, product: str = "BTC-USD") -> dict[str, object]:
    return frame(number, "market_trades", {"type": "update", "trades": [{"product_id": product}] * 2})


def control(number: int) -> dict[str, object]:
    return frame(number, "subscriptions", {"subscriptions": {"level2": ["BTC-USD"]}})


BEGUN = [control(0), level2(1, kind="snapshot"), trades(2)]


def test_control_frames_count_and_concern_no_feed() -> None:
    assert taken(CoinbaseDetector(), [*BEGUN, control(3), level2(4), trades(5)]) == [
        "",
        "resynced",
        "resynced",
        "",
        "sound",
        "sound",
    ]


def test_a_missing_number_concerns_every_feed_of_the_connection() -> None:
    detector = CoinbaseDetector()
    taken(detector, BEGUN)
    gap = last(detector, control(7))
    assert (gap.channel, gap.symbol, bounds(gap)) == (None, None, (3, 7, 4))
    assert taken(detector, [level2(8), trades(9), level2(10, kind="snapshot"), level2(11), trades(12)]) == [
        "suspect",
        "resynced",
        "resynced",
        "sound",
        "sound",
    ]


def test_a_whole_book_of_one_product_heals_no_other() -> None:
    detector = CoinbaseDetector()
    taken(detector, [*BEGUN, level2(3, kind="snapshot", product="ETH-USD")])
    frames = [control(5), level2(6, kind="snapshot", product="ETH-USD"), level2(7, product="ETH-USD"), level2(8)]
    assert taken(detector, frames) == ["gap", "resynced", "sound", "suspect"]


def test_the_first_number_is_0() -> None:
    assert bounds(last(CoinbaseDetector(), level2(2, kind="snapshot"))) == (0, 2, 2)
    assert taken(CoinbaseDetector(), [level2(0, kind="snapshot")]) == ["resynced"]


def test_a_gap_before_a_whole_book_leaves_that_book_sound() -> None:
    assert taken(CoinbaseDetector(), [*BEGUN, level2(5, kind="snapshot"), level2(6)])[3:] == ["gap+resynced", "sound"]


def test_the_newest_frame_twice_changes_nothing_and_an_older_one_does() -> None:
    assert taken(CoinbaseDetector(), [*BEGUN, level2(3), level2(3), level2(4)])[4:] == ["duplicate", "sound"]
    again = taken(CoinbaseDetector(), [*BEGUN, level2(3), level2(4), level2(3), level2(5), trades(6)])[5:]
    assert again == ["duplicate", "suspect", "sound"]


def test_a_late_frame_makes_its_book_suspect() -> None:
    frames = [*BEGUN, level2(4), level2(5, kind="snapshot"), level2(3), level2(6)]
    assert taken(CoinbaseDetector(), frames)[3:] == ["gap+suspect", "resynced", "out_of_order", "suspect"]


def test_a_frame_without_its_number_is_a_gap() -> None:
    detector = CoinbaseDetector()
    assert taken(detector, [*BEGUN, level2(None), level2(3)])[3:] == ["gap+suspect", "suspect"]
    assert taken(detector, [{"type": "error", "message": "no"}]) == [""]


@pytest.mark.parametrize(
    ("channel", "listed", "ours"), [("ticker", "tickers", "ticker"), ("candles", "candles", "ohlcv_5m")]
)
def test_every_product_in_a_frame_is_a_feed(channel: str, listed: str, ours: str) -> None:
    products = [{"product_id": "BTC-USD"}, {"product_id": "ETH-USD"}]
    found = CoinbaseDetector()
    body = frame(0, channel, {"type": "snapshot", listed: products})
    assert taken(found, [body]) == ["resynced+resynced"]
    assert last(found, body | {"sequence_num": 1}).channel == ours


def test_gemini_numbers_its_first_version_alone() -> None:
    detector = GeminiDetector()
    assert taken(detector, [{"type": "update", "socket_sequence": n} for n in (0, 1, 4, 5)]) == [
        "sound",
        "sound",
        "gap",
        "suspect",
    ]
    assert taken(detector, [{"type": "l2_updates", "symbol": "BTCUSD", "changes": []}]) == [""]
