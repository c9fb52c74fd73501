from fluxforge_segmenter.ages import Ages

SECOND_NS = 1_000_000_000


def test_blocks_of_the_same_second_are_of_one_age() -> None:
    ages = Ages()
    for capture_ns in (10 * SECOND_NS, 10 * SECOND_NS + 999_999_999, 12 * SECOND_NS):
        ages.add(capture_ns)
    assert ages.at(20 * SECOND_NS) == {9.5: 2, 7.5: 1}


def test_no_block_is_younger_than_now_and_none_is_left_when_they_are_cleared() -> None:
    ages = Ages()
    ages.add(21 * SECOND_NS)
    assert ages.at(20 * SECOND_NS) == {0.0: 1}
    ages.clear()
    assert ages.at(20 * SECOND_NS) == {}
