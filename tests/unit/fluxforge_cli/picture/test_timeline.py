"""The timeline of a coverage."""

from dataclasses import replace
from itertools import pairwise

import pytest

from fluxforge.domain.control import CRASH, LOST, UNSOUND_EVENTS
from fluxforge_cli.account.coverage.feeds import FeedCoverage, Piece
from fluxforge_cli.picture.drawing import Box
from fluxforge_cli.picture.timeline import timeline
from tests.unit.fluxforge_cli.account.coverage.stories import BOOK, S, only, seen, told, word

DAY = 86_400
GAP = only(
    told(word("started", 0, 0), word("gap", 1000, 1000.003), word("stalled", 40_000, 50_000), word("stopped", DAY))
)


def holes(boxes: tuple[Box, ...], kind: str) -> list[Box]:
    return [box for box in boxes if f": {kind}, " in box.says]


def test_every_feed_has_a_row_with_its_name_and_share() -> None:
    found = [replace(GAP, feed=BOOK._replace(symbol=f"S{number}-USD")) for number in range(50)]
    picture = timeline(found, None, None)
    texts = {text.text: text for text in picture.texts}
    rows = [texts[f"kraken S{number}-USD orderbook"].y for number in range(50)]
    assert rows == sorted(rows)
    assert min(lower - upper for upper, lower in pairwise(rows)) >= 1.5 * texts["verified"].size
    assert picture.height < 50 * 25 + 150
    assert sum(text.text == "88.425 %" for text in picture.texts) == 50


def test_a_hole_stands_where_it_was_and_is_seen_however_short() -> None:
    picture = timeline([GAP], None, None)
    (covered,) = [box for box in picture.boxes if ": covered, verified" in box.says]
    (gap,), (stalled,) = holes(picture.boxes, "gap"), holes(picture.boxes, "stalled")
    assert gap.width == pytest.approx(2)
    assert (gap.x - covered.x) / covered.width == pytest.approx(1000 / DAY)
    assert stalled.width / covered.width == pytest.approx(10_000 / DAY)
    assert gap.says.endswith("gap, 1970-01-01 00:16:40.000 to 1970-01-01 00:16:40.003 UTC (0.003 s)")
    assert picture.boxes.index(gap) > picture.boxes.index(covered)


def test_holes_at_one_pixel_are_one_box_of_each_kind() -> None:
    words = [word("gap", second, second + 0.001) for second in range(1, 1000)]
    busy = only(told(word("started", 0, 0), word("disconnected", 10.5, 10.6), *words, word("stopped", DAY)))
    picture = timeline([busy], None, None)
    assert 10 < len(holes(picture.boxes, "gap")) < 20
    assert len(holes(picture.boxes, "disconnected")) == 1


def test_what_was_asked_for_and_not_observed_stays_faint() -> None:
    picture = timeline([GAP], 0, 2 * DAY * S)
    (covered,) = [box for box in picture.boxes if ": covered, " in box.says]
    (row,) = [box for box in picture.boxes if box.says == "not observed"]
    assert covered.width == pytest.approx(row.width / 2)


def test_every_kind_of_hole_has_a_colour_of_the_legend() -> None:
    events = [*(event.value for event in UNSOUND_EVENTS), CRASH, LOST]
    cut = tuple(Piece(n * S, (n + 1) * S, event) for n, event in enumerate(events))
    picture = timeline([FeedCoverage(BOOK, 0, len(events) * S, cut, {}, is_verifiable=False)], None, None)
    legend = {box.colour for box in picture.boxes if box.y < 90}
    assert {box.colour for box in picture.boxes if box.says} <= legend
    words = {text.text for text in picture.texts}
    kinds = {box.says.split(": ")[1].split(",")[0] for box in picture.boxes if box.says.count(":") > 1}
    assert kinds <= words


@pytest.mark.parametrize("length_s", [0, 0.5, 1, 59, 3600, DAY, 40 * DAY, 4000 * DAY])
def test_a_time_of_any_length_has_a_few_marks(length_s: float) -> None:
    picture = timeline([only(None, seen(1_795_000_000, 1_795_000_000 + length_s))], None, None)
    marks = [text for text in picture.texts if text.y > picture.height - 20]
    assert len(marks) <= 11
    assert len({mark.text for mark in marks}) == len(marks)
    assert marks or length_s < 1


def test_sources_are_named_where_there_are_several_and_long_names_are_cut() -> None:
    other = replace(GAP, feed=BOOK._replace(source="merged", symbol="X" * 80))
    names = [text.text for text in timeline([GAP, other], None, None).texts]
    assert "ccxt kraken BTC-USD orderbook" in names
    assert [len(name) for name in names if "XX" in name] == [44]
