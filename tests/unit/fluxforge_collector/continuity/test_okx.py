import pytest

from fluxforge_collector.continuity.level_book import LevelBook
from fluxforge_collector.continuity.okx import OkxDetector
from tests.unit.fluxforge_collector.continuity.frames import bounds, last, taken


def book(
    previous: int | None, this: int | None, *, action: str = "update", channel: str = "books"
) -> dict[str, object]:
    data: dict[str, object] = {"asks": [], "bids": [], "ts": "1"}
    data |= {} if previous is None else {"prevSeqId": previous}
    data |= {} if this is None else {"seqId": this}
    return {"arg": {"channel": channel, "instId": "BTC-USDT"}, "action": action, "data": [data]}


def snapshot(this: int) -> dict[str, object]:
    return book(-1, this, action="snapshot")


def test_updates_are_sound_behind_a_whole_book() -> None:
    assert taken(OkxDetector(), [snapshot(10), book(10, 15), book(15, 16)]) == ["resynced", "sound", "sound"]


def test_nothing_changed_and_counting_anew_are_no_gaps() -> None:
    frames = [snapshot(10), book(10, 10), book(10, 15), book(15, 15), book(15, 3), book(3, 5)]
    assert taken(OkxDetector(), frames) == ["resynced"] + ["sound"] * 5


def test_a_gap_names_the_links() -> None:
    detector = OkxDetector()
    taken(detector, [snapshot(10), book(10, 15)])
    assert bounds(last(detector, book(17, 20))) == (15, 17, None)
    assert taken(detector, [book(20, 21), snapshot(25), book(25, 26)]) == ["suspect", "resynced", "sound"]


def test_a_whole_book_in_the_middle_is_a_new_beginning() -> None:
    assert taken(OkxDetector(), [snapshot(10), book(10, 15), snapshot(40), book(40, 41)])[2:] == ["resynced", "sound"]


def test_an_update_before_the_whole_book_is_a_gap() -> None:
    assert taken(OkxDetector(), [book(10, 15), book(15, 16)]) == ["gap", "suspect"]


@pytest.mark.parametrize("broken", [book(10, None), book(None, 15)])
def test_an_update_without_an_id_is_a_gap(broken: dict[str, object]) -> None:
    assert taken(OkxDetector(), [snapshot(10), broken]) == ["resynced", "gap"]


def test_a_heartbeat_from_before_a_lost_update_does_not_hide_it() -> None:
    assert taken(OkxDetector(), [snapshot(10), book(10, 10), book(12, 12), book(12, 13)])[2:] == ["gap", "suspect"]


def test_two_channels_of_one_market_are_followed_apart() -> None:
    detector = OkxDetector()
    other = book(-1, 500, action="snapshot", channel="books-l2-tbt")
    assert taken(detector, [snapshot(10), other, book(10, 11)]) == ["resynced", "resynced", "sound"]
    assert taken(detector, [book(1, 2, channel="books5"), {"event": "subscribe", "arg": {"channel": "books"}}]) == [
        "",
        "",
    ]


def checked(
    bids: list[list[str]], asks: list[list[str]], checksum: int | None, action: str = "update"
) -> dict[str, object]:
    data: dict[str, object] = {"asks": asks, "bids": bids, "ts": "1"}
    data |= {} if checksum is None else {"checksum": checksum}
    return {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [data]}


def crc(bids: list[list[str]], asks: list[list[str]]) -> int:
    levels = LevelBook()
    levels.apply([(px, sz) for px, sz, *_ in bids], [(px, sz) for px, sz, *_ in asks])
    return levels.colon_checksum()


BIDS, ASKS = [["10.5", "1"], ["10.4", "2"]], [["10.6", "3"]]


def test_without_links_the_checksum_tells() -> None:
    detector = OkxDetector()
    whole = checked(BIDS, ASKS, crc(BIDS, ASKS), "snapshot")
    moved = checked([["10.5", "4"]], [], crc([["10.5", "4"], BIDS[1]], ASKS))
    assert taken(detector, [whole, moved]) == ["resynced", "sound"]
    wrong = last(detector, checked([["10.4", "0"]], [], 77))
    assert bounds(wrong) == (crc([["10.5", "4"]], ASKS), 77, None)
    assert taken(detector, [checked([], [], 77), whole]) == ["suspect", "resynced"]


def test_an_update_without_links_and_checksum_is_not_called_sound() -> None:
    frames = [checked(BIDS, ASKS, None, "snapshot"), checked([["10.5", "4"]], [], None), checked([["x", "1"]], [], 5)]
    assert taken(OkxDetector(), frames) == ["resynced", "", "gap"]
    assert taken(OkxDetector(), [checked(BIDS, ASKS, 0, "snapshot"), checked([], [], 0)]) == ["resynced", ""]


def test_levels_that_cannot_be_read_are_a_gap() -> None:
    short = checked([["10.5"]], [], 5)
    assert taken(OkxDetector(), [checked(BIDS, ASKS, crc(BIDS, ASKS), "snapshot"), short]) == ["resynced", "gap"]
