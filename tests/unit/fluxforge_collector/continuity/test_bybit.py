from fluxforge_collector.continuity.bybit import BybitDetector
from tests.unit.fluxforge_collector.continuity.frames import bounds, last, taken


def book(update: int | None, *, kind: str = "delta", depth: int = 50) -> dict[str, object]:
    data: dict[str, object] = {"s": "BTCUSDT", "b": [], "a": [], "seq": 1} | ({} if update is None else {"u": update})
    return {"topic": f"orderbook.{depth}.BTCUSDT", "type": kind, "ts": 1, "data": data}


def snapshot(update: int) -> dict[str, object]:
    return book(update, kind="snapshot")


def test_updates_count_by_one_behind_a_whole_book() -> None:
    assert taken(BybitDetector(), [snapshot(10), book(11), book(12)]) == ["resynced", "sound", "sound"]


def test_a_missing_update_is_a_gap_until_the_next_whole_book() -> None:
    detector = BybitDetector()
    taken(detector, [snapshot(10), book(11)])
    assert bounds(last(detector, book(15))) == (12, 15, 3)
    assert taken(detector, [book(16), snapshot(20), book(21)]) == ["suspect", "resynced", "sound"]


def test_one_is_a_restart_of_the_service_whatever_its_type() -> None:
    for restart in (snapshot(1), book(1)):
        assert taken(BybitDetector(), [snapshot(10), book(11), restart, book(2), book(3)])[2:] == [
            "resynced",
            "sound",
            "sound",
        ]


def test_updates_in_the_wrong_order_or_twice() -> None:
    assert taken(BybitDetector(), [snapshot(10), book(12), book(11), book(13)])[1:] == [
        "gap",
        "out_of_order",
        "suspect",
    ]
    assert taken(BybitDetector(), [snapshot(10), book(11), book(11), book(12)])[1:] == ["sound", "duplicate", "sound"]


def test_an_update_before_the_whole_book_or_without_its_number_is_a_gap() -> None:
    assert taken(BybitDetector(), [book(11), book(12)]) == ["gap", "suspect"]
    assert taken(BybitDetector(), [snapshot(10), book(None), book(11)]) == ["resynced", "gap", "suspect"]


def test_of_level_1_a_loss_is_named_and_the_book_right_at_once() -> None:
    frames = [book(number, kind="snapshot", depth=1) for number in (10, 11, 11, 11, 14, 14, 15, 1, 2)]
    assert taken(BybitDetector(), frames) == [
        "resynced",
        "sound",
        "sound",
        "sound",
        "gap+resynced",
        "sound",
        "sound",
        "resynced",
        "sound",
    ]


def test_two_depths_of_one_market_are_followed_apart() -> None:
    frames = [snapshot(10), book(90, kind="snapshot", depth=1), book(11), book(91, kind="snapshot", depth=1)]
    assert taken(BybitDetector(), frames) == ["resynced", "resynced", "sound", "sound"]
    assert taken(BybitDetector(), [{"topic": "publicTrade.BTCUSDT"}, {"success": True}]) == ["", ""]


def test_a_whole_frame_of_level_1_says_nothing_of_the_deeper_book() -> None:
    detector = BybitDetector()
    taken(detector, [snapshot(10)])
    assert last(detector, book(15)).channel == "orderbook"
    assert last(detector, book(90, kind="snapshot", depth=1)).channel == "bidsasks"
