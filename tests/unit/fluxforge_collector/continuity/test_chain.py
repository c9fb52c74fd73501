import random
from itertools import pairwise

import pytest

from fluxforge_collector.continuity.chain import ItemChain, LinkChain, RangeChain
from fluxforge_collector.continuity.finding import Step, Verdict


def joined(*, at: int = 100) -> RangeChain:
    chain = RangeChain()
    chain.snapshot(at)
    return chain


def linked(*, at: int = 100) -> LinkChain:
    chain = LinkChain(in_band=True)
    chain.restart(at)
    return chain


def ranges(*ids: tuple[int, int], chain: RangeChain | None = None) -> list[str]:
    chain = chain or joined()
    return [chain.update(*one).verdict.value for one in ids]


def links(*ids: tuple[int, int], chain: LinkChain | None = None) -> list[str]:
    chain = chain or linked()
    return [chain.update(*one).verdict.value for one in ids]


def test_ranges_that_follow_each_other_are_sound() -> None:
    assert ranges((101, 103), (104, 104), (105, 110)) == ["sound"] * 3


def test_a_missing_range_is_a_gap_with_its_bounds_and_count() -> None:
    chain = joined()
    chain.update(101, 103)
    step = chain.update(110, 112)
    assert (step.verdict, step.expected, step.got, step.missing) == (Verdict.GAP, 104, 110, 6)
    assert not step.is_sound


def test_one_missing_id_is_a_gap_and_none_is_not() -> None:
    assert joined().update(102, 103).missing == 1
    assert joined().update(101, 103).verdict is Verdict.SOUND


def test_after_a_gap_all_is_suspect_until_a_book_that_can_be_joined() -> None:
    chain = joined()
    assert ranges((105, 106), (107, 108), chain=chain) == ["gap", "suspect"]
    early = chain.snapshot(103)
    assert (early.verdict, early.expected, early.got, early.missing) == (Verdict.GAP, 104, 105, 1)
    assert chain.update(109, 109).verdict is Verdict.SUSPECT
    assert chain.snapshot(104).verdict is Verdict.RESYNCED
    assert chain.update(110, 110).verdict is Verdict.SOUND


def test_the_fetched_book_may_be_newer_than_the_updates_that_come_next() -> None:
    assert ranges((90, 95), (96, 99), (100, 104), (105, 105)) == ["sound"] * 4


def test_what_came_before_the_fetched_book_may_have_holes() -> None:
    assert ranges((80, 85), (96, 99), (101, 101)) == ["sound"] * 3


def test_the_first_update_behind_the_fetched_book_leaves_nothing_out() -> None:
    step = joined().update(102, 110)
    assert (step.verdict, step.expected, step.got) == (Verdict.GAP, 101, 102)


def test_the_newest_update_twice_changes_nothing() -> None:
    assert ranges((101, 103), (101, 103), (104, 105)) == ["sound", "duplicate", "sound"]


def test_an_older_update_again_makes_the_book_suspect() -> None:
    chain = joined()
    assert ranges((101, 103), (104, 105), (101, 103), (106, 106), chain=chain) == [
        "sound",
        "sound",
        "duplicate",
        "suspect",
    ]
    assert chain.snapshot(104).verdict is Verdict.GAP, "a book from before it heals nothing"
    assert chain.snapshot(106).verdict is Verdict.RESYNCED


def test_updates_in_the_wrong_order_are_a_gap_and_a_late_one() -> None:
    assert ranges((101, 103), (106, 107), (104, 105), (108, 109)) == ["sound", "gap", "out_of_order", "suspect"]


def test_a_counter_that_begins_anew_is_followed_from_its_second_update_on() -> None:
    chain = joined(at=1_000_000)
    verdicts = ranges((1_000_001, 1_000_002), (1, 2), (3, 4), (5, 6), chain=chain)
    assert verdicts == ["sound", "out_of_order", "gap", "suspect"]
    assert chain.snapshot(6).verdict is Verdict.RESYNCED
    assert chain.update(7, 9).verdict is Verdict.SOUND


def test_the_greatest_numbers_do_not_wrap() -> None:
    top = 2**64
    chain = joined(at=top - 2)
    assert ranges((top - 1, top - 1), (top, top + 3), (0, 3), chain=chain) == ["sound", "sound", "out_of_order"]


def test_ids_that_run_backwards_are_a_gap() -> None:
    assert ranges((105, 101), (101, 102)) == ["gap", "suspect"]


def test_updates_that_overlap_leave_nothing_out() -> None:
    assert ranges((101, 105), (103, 108), (109, 109)) == ["sound"] * 3


def test_a_restart_forgets_everything() -> None:
    chain = joined()
    ranges((101, 103), (110, 111), chain=chain)
    assert chain.restart(5).verdict is Verdict.RESYNCED
    assert ranges((6, 6), (8, 8), chain=chain) == ["sound", "gap"]


def test_links_are_followed_whatever_the_ids_do() -> None:
    assert links((100, 107), (107, 107), (107, 3), (3, 5)) == ["sound"] * 4


def test_a_broken_link_is_a_gap_whose_size_nobody_knows() -> None:
    chain = linked()
    chain.update(100, 107)
    step = chain.update(109, 115)
    assert (step.verdict, step.expected, step.got, step.missing) == (Verdict.GAP, 107, 109, None)
    assert chain.update(115, 120).verdict is Verdict.SUSPECT
    assert chain.restart(120).verdict is Verdict.RESYNCED
    assert chain.update(120, 121).verdict is Verdict.SOUND


def test_a_lost_reset_is_a_gap_and_no_late_update() -> None:
    assert links((100, 107), (3, 5), (5, 6)) == ["sound", "gap", "suspect"]


def test_links_in_the_wrong_order_are_a_gap_and_a_late_one() -> None:
    assert links((100, 107), (109, 115), (107, 109), (115, 116)) == ["sound", "gap", "out_of_order", "suspect"]


def test_the_newest_link_twice_changes_nothing_and_an_older_one_does() -> None:
    assert links((100, 107), (100, 107), (107, 108)) == ["sound", "duplicate", "sound"]
    assert links((100, 107), (107, 108), (100, 107), (108, 109)) == ["sound", "sound", "duplicate", "suspect"]


def test_a_link_before_the_whole_book_is_a_gap() -> None:
    assert links((100, 107), (107, 108), chain=LinkChain(in_band=True)) == ["gap", "suspect"]


@pytest.mark.parametrize(("fetched", "verdict"), [(99, "gap"), (100, "resynced"), (104, "resynced"), (120, "resynced")])
def test_a_fetched_book_joins_links_that_came_before_it(fetched: int, verdict: str) -> None:
    chain = LinkChain(in_band=False)
    assert links((100, 104), (104, 107), chain=chain) == ["suspect", "suspect"]
    assert chain.snapshot(fetched).verdict.value == verdict
    assert chain.update(107, 130).is_sound == (verdict == "resynced")


@pytest.mark.parametrize(("previous", "verdict"), [(90, "sound"), (100, "sound"), (101, "gap")])
def test_links_join_a_book_that_was_fetched_first(previous: int, verdict: str) -> None:
    chain = LinkChain(in_band=False)
    chain.snapshot(100)
    assert links((previous, 110), chain=chain) == [verdict]


def test_a_link_lost_before_the_fetched_book_is_no_gap_and_one_behind_it_is() -> None:
    chain = LinkChain(in_band=False)
    chain.update(10, 20)
    chain.snapshot(100)
    assert links((40, 60), (60, 110), (115, 120), chain=chain) == ["sound", "sound", "gap"]


def test_a_trade_that_is_missing_is_named_and_the_next_is_sound() -> None:
    chain = ItemChain()
    verdicts = [[step.verdict.value for step in chain.take(item)] for item in (5, 6, 9, 10, 10, 8, 11)]
    assert verdicts == [
        ["resynced"],
        ["sound"],
        ["gap", "resynced"],
        ["sound"],
        ["duplicate"],
        ["out_of_order"],
        ["sound"],
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_lost_range_is_found_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(100, 5000), 200))
    sent = [(first + 1, last) for first, last in pairwise([100, *cuts])]
    lost = chance.randrange(1, len(sent) - 1)
    chain = joined()
    steps = [(ids, chain.update(*ids)) for ids in sent[:lost] + sent[lost + 1 :]]
    gaps = [(step.expected, step.got, step.missing) for _, step in steps if step.verdict is Verdict.GAP]
    first, last = sent[lost]
    assert gaps == [(first, last + 1, last + 1 - first)]
    assert all(step.is_sound == (ids[0] < first) for ids, step in steps)


def test_a_step_tells_the_whole_of_it() -> None:
    chain = RangeChain()
    assert chain.unplaced("no id") == Step(Verdict.GAP, is_sound=False, reason="no id")
    assert not chain.is_begun
    assert chain.update(5, 6) == Step(Verdict.SUSPECT, is_sound=False)
    assert chain.snapshot(6) == Step(Verdict.RESYNCED, is_sound=True, got=6)
    assert chain.restart(100) == Step(Verdict.RESYNCED, is_sound=True, got=100)
    assert chain.update(100, 100) == Step(Verdict.DUPLICATE, is_sound=True, expected=101, got=100)
    assert chain.update(7, 8) == Step(Verdict.OUT_OF_ORDER, is_sound=False, expected=101, got=7)
    assert chain.unplaced("no id") == Step(Verdict.GAP, is_sound=False, expected=101, reason="no id")


def test_a_step_of_links_tells_the_whole_of_it() -> None:
    chain = LinkChain(in_band=True)
    reason = "an update before the first whole book"
    assert chain.update(3, 5) == Step(Verdict.GAP, is_sound=False, got=3, reason=reason)
    assert chain.restart(100) == Step(Verdict.RESYNCED, is_sound=True, got=100)
    assert chain.update(100, 107) == Step(Verdict.SOUND, is_sound=True)
    assert chain.update(100, 107) == Step(Verdict.DUPLICATE, is_sound=True, expected=107, got=100)
    assert chain.unplaced("no id") == Step(Verdict.GAP, is_sound=False, expected=107, reason="no id")
    assert chain.update(107, 108) == Step(Verdict.SUSPECT, is_sound=False)


def test_of_two_fetched_books_the_older_one_heals_nothing() -> None:
    for begun in (joined(), joined(at=50)):
        begun.restart(100)
        assert begun.snapshot(100).verdict is Verdict.RESYNCED
        assert begun.snapshot(99).verdict is Verdict.GAP
    chain = joined()
    assert chain.snapshot(99) == Step(
        Verdict.GAP,
        is_sound=False,
        expected=100,
        got=101,
        missing=1,
        reason="the book is older than the updates that can be joined to it",
    )
    assert joined().snapshot(100).verdict is Verdict.RESYNCED


def test_a_book_from_before_an_update_without_an_id_heals_nothing() -> None:
    for fetched, is_sound in ((102, False), (103, True)):
        chain = joined()
        chain.update(101, 103)
        chain.unplaced("no id")
        assert chain.snapshot(fetched).is_sound == is_sound
    for fetched, is_sound in ((106, False), (107, True)):
        links_of = LinkChain(in_band=False)
        links_of.update(100, 107)
        links_of.unplaced("no id")
        assert links_of.snapshot(fetched).is_sound == is_sound


def test_a_late_link_before_a_fetched_book_is_not_in_it() -> None:
    chain = LinkChain(in_band=False)
    chain.update(10, 20)
    chain.snapshot(15)
    step = chain.update(12, 18)
    assert (step.verdict, step.is_sound) == (Verdict.GAP, False)


def test_a_book_older_than_the_links_held_names_both() -> None:
    chain = LinkChain(in_band=False)
    chain.update(10, 20)
    step = chain.snapshot(9)
    assert (step.verdict, step.is_sound, step.expected, step.got, step.missing) == (Verdict.GAP, False, 9, 10, None)
    assert chain.snapshot(10) == Step(Verdict.RESYNCED, is_sound=True, got=10)


def test_a_gap_behind_the_first_link_is_no_part_of_the_fetched_book() -> None:
    chain = LinkChain(in_band=False)
    chain.snapshot(100)
    step = chain.update(101, 110)
    assert (step.verdict, step.is_sound, step.expected, step.got, step.reason) == (Verdict.GAP, False, 100, 101, None)
    assert chain.update(110, 111).verdict is Verdict.SUSPECT


@pytest.mark.parametrize("older", [63, 64])
def test_as_many_updates_are_remembered_as_tell_a_duplicate_from_a_late_one(older: int) -> None:
    chain = joined(at=0)
    for one in range(1, 101):
        chain.update(one, one)
    verdict = chain.update(100 - older, 100 - older).verdict
    assert verdict is (Verdict.DUPLICATE if older < 64 else Verdict.OUT_OF_ORDER)


KEYS = 5


def true_book(newest: int) -> dict[int, int]:
    return {number % KEYS: number for number in range(newest + 1)}


def disturbed(chance: random.Random) -> list[tuple[int, bool]]:
    """Return numbered updates, some lost, told twice or late, and now and then a whole book in between."""
    sent = [(number, chance.random() < 0.05) for number in range(KEYS + 1, 120)]
    sent = [one for one in sent if one[1] or chance.random() > 0.03]
    for _ in range(chance.randrange(5)):
        at = chance.randrange(1, len(sent))
        late = sent.pop(at) if chance.random() < 0.5 else sent[at]
        if not late[1]:
            sent.insert(min(len(sent), at + chance.randrange(1, 6)), late)
    return [(KEYS, True), *sent]


@pytest.mark.parametrize("kind", ["range", "link"])
@pytest.mark.parametrize("seed", range(200))
def test_a_book_that_applies_whatever_comes_is_never_called_sound_when_it_is_wrong(seed: int, kind: str) -> None:
    ranged, link = RangeChain(), LinkChain(in_band=True)
    book: dict[int, int] = {}
    newest, sounds = 0, 0
    for number, is_whole in disturbed(random.Random(seed)):
        newest = number if is_whole else max(newest, number)
        if is_whole:
            book = true_book(number)
            step = ranged.restart(number) if kind == "range" else link.restart(number)
        else:
            book[number % KEYS] = number
            step = ranged.update(number, number) if kind == "range" else link.update(number - 1, number)
        sounds += step.is_sound
        assert not step.is_sound or book == true_book(newest)
    assert sounds


def test_an_update_that_ends_where_the_fetched_book_does_is_in_it() -> None:
    assert ranges((96, 100), (101, 101)) == ["sound", "sound"]
    chain = LinkChain(in_band=False)
    chain.update(10, 20)
    chain.snapshot(100)
    assert links((100, 110), (110, 111), chain=chain) == ["sound", "sound"]


def test_a_counter_that_begins_anew_leaves_no_sound_book() -> None:
    chain = joined()
    chain.update(101, 101)
    chain.update(1, 2)
    reason = "the venue counts anew"
    assert chain.update(3, 4) == Step(Verdict.GAP, is_sound=False, expected=102, got=3, reason=reason)


def test_a_late_link_makes_a_sound_book_suspect() -> None:
    assert links((100, 107), (107, 109), (100, 105), (109, 110)) == ["sound", "sound", "out_of_order", "suspect"]


def test_trades_told_twice_or_late_leave_the_feed_sound() -> None:
    chain = ItemChain()
    steps = [step for item in (5, 6, 7, 6, 7, 2, 8) for step in chain.take(item)]
    assert [step.verdict.value for step in steps[3:]] == ["duplicate", "duplicate", "out_of_order", "sound"]
    assert all(step.is_sound for step in steps)
