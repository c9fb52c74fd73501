import pytest

from fluxforge_collector.continuity.kraken import KrakenDetector
from fluxforge_collector.continuity.level_book import LevelBook, LevelError

Levels = list[tuple[str, str]]

ASKS = [(f"0.050{n:02d}", "0.00000500") for n in range(5, 55, 5)]
BIDS = [(f"0.0{n}", "0.00000500") for n in (5000, 4995, 4990, 4980, 4975, 4970, 4965, 4960, 4955, 4950)]
PUBLISHED = 974947235
"""What the venue's own guide gives for this book."""


def crc(bids: Levels, asks: Levels) -> int:
    book = LevelBook()
    book.apply(bids, asks)
    return book.kraken_checksum()


def frame(kind: str, bids: Levels, asks: Levels, checksum: int | None) -> str:
    sides = [
        f'"{name}":[{",".join(f"""{{"price":{px},"qty":{sz}}}""" for px, sz in side)}]'
        for name, side in (("bids", bids), ("asks", asks))
    ]
    tail = "" if checksum is None else f',"checksum":{checksum}'
    return f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD",{",".join(sides)}{tail}}}]}}'


def verdicts(detector: KrakenDetector, *frames: str) -> list[str]:
    return ["+".join(found.step.verdict for found in detector.take(text)) for text in frames]


def test_the_checksum_is_the_one_of_the_guide() -> None:
    assert crc(BIDS, ASKS) == PUBLISHED


def test_digits_count_as_they_were_sent() -> None:
    whole = frame("snapshot", BIDS, ASKS, PUBLISHED)
    assert verdicts(KrakenDetector(), whole) == ["resynced"]
    shortened = [(px, "0.000005") for px, _ in BIDS]
    assert crc(shortened, ASKS) != PUBLISHED, "the zeros behind are part of it"
    assert verdicts(KrakenDetector(), frame("snapshot", shortened, ASKS, PUBLISHED)) == ["gap"]


def test_an_update_is_checked_against_the_book_it_makes() -> None:
    detector = KrakenDetector()
    moved = [("0.05000", "0.00000700"), *BIDS[1:]]
    update = frame("update", moved[:1], [], crc(moved, ASKS))
    assert verdicts(detector, frame("snapshot", BIDS, ASKS, PUBLISHED), update) == ["resynced", "sound"]


def test_a_lost_update_shows_with_the_next_and_until_the_next_whole_book() -> None:
    detector = KrakenDetector()
    after = [("0.05000", "0.00000700"), ("0.04995", "0.1"), *BIDS[2:]]
    whole = frame("snapshot", BIDS, ASKS, PUBLISHED)
    update = frame("update", [("0.04995", "0.1")], [], crc(after, ASKS))
    assert verdicts(detector, whole) == ["resynced"]
    (found,) = detector.take(update)
    ours = crc([("0.05000", "0.00000500"), ("0.04995", "0.1"), *BIDS[2:]], ASKS)
    assert (found.step.verdict.value, found.step.expected, found.step.got) == ("gap", ours, crc(after, ASKS))
    assert verdicts(detector, update, whole, frame("update", [], [], PUBLISHED)) == ["suspect", "resynced", "sound"]


def test_levels_beyond_the_depth_are_forgotten() -> None:
    detector = KrakenDetector()
    better = ("0.05003", "0.1")
    pushed = sorted([*ASKS, better])[:10]
    back = [*pushed[1:], ("0.06000", "0.2")]
    frames = [
        frame("snapshot", BIDS, ASKS, PUBLISHED),
        frame("update", [], [better], crc(BIDS, pushed)),
        frame("update", [], [("0.05003", "0.00000000"), ("0.06000", "0.2")], crc(BIDS, back)),
    ]
    assert verdicts(detector, *frames) == ["resynced", "sound", "sound"]


def test_the_depth_is_learned_from_the_acknowledgement() -> None:
    detector = KrakenDetector()
    ack = '{"method":"subscribe","result":{"channel":"book","depth":25,"symbol":"BTC/USD"},"success":true}'
    better = ("0.05003", "0.1")
    frames = [
        ack,
        frame("snapshot", BIDS, ASKS, PUBLISHED),
        frame("update", [], [better], crc(BIDS, [better, *ASKS])),
        frame("update", [], [("0.05003", "0.00000000")], PUBLISHED),
    ]
    assert verdicts(detector, *frames) == ["", "resynced", "sound", "sound"]


def test_without_a_checksum_nothing_is_called_sound() -> None:
    frames = [frame("snapshot", BIDS, ASKS, None), frame("update", BIDS[:1], [], None)]
    assert verdicts(KrakenDetector(), *frames) == ["resynced", ""]


def test_an_update_before_the_whole_book_is_a_gap() -> None:
    assert verdicts(KrakenDetector(), frame("update", BIDS[:1], [], 5)) == ["gap"]


@pytest.mark.parametrize(
    "broken",
    [
        '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":1}],"asks":[],"checksum":5}]}',
        '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":NaN,"qty":1}],"checksum":5}]}',
        '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":"x","qty":1}],"checksum":5}]}',
    ],
)
def test_a_level_that_cannot_be_read_is_a_gap(broken: str) -> None:
    assert verdicts(KrakenDetector(), frame("snapshot", BIDS, ASKS, PUBLISHED), broken) == ["resynced", "gap"]


@pytest.mark.parametrize("size", ["1e999999999", "1e-999999999", "1e41"])
def test_a_number_beyond_all_measure_is_a_gap_and_costs_nothing(size: str) -> None:
    broken = frame("update", [("0.05", size)], [], 5)
    assert verdicts(KrakenDetector(), frame("snapshot", BIDS, ASKS, PUBLISHED), broken) == ["resynced", "gap"]


@pytest.mark.parametrize(
    "other", ["[" * 200_000, "pong", "", "[]", "{", '{"channel":"heartbeat"}', '{"channel":"book","type":"x"}']
)
def test_other_frames_say_nothing(other: str) -> None:
    assert KrakenDetector().take(other) == ()


def test_a_size_in_powers_of_ten_is_written_out() -> None:
    assert crc([("1", "1e-7")], []) == crc([("1", "0.0000001")], [])
    with pytest.raises(LevelError):
        crc([("Infinity", "1")], [])
