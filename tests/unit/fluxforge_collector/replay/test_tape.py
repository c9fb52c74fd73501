from collections.abc import Iterator

import pytest

from fluxforge.domain.control import Control, Event
from fluxforge.domain.errors import InputFileError
from fluxforge_collector.replay.tape import Ahead, boots, groups, steps
from fluxforge_collector.wire_records import PIECE_CHARS, Frame, Setup
from tests.unit.fluxforge_collector.replay.lane import Lane

SETUP = Setup("4.5.90", "kraken", 50, None, {}, {}, "1m")
CONNECTED = Control(Event.CONNECTED, reason="ws://x")


def test_a_tape_is_the_wire_and_what_happened_in_order() -> None:
    long = Frame("x" * (2 * PIECE_CHARS + 1))
    lane = Lane().control(CONNECTED).wire(SETUP).control(CONNECTED).wire(long).trades().wire(Frame("y"))
    found = list(steps(lane.records))
    assert [step.item for step in found] == [SETUP, CONNECTED, long, Frame("y")]
    assert [step.at_ns - 10**18 for step in found] == [2, 3, 6, 8]


def test_a_lane_without_wire_is_refused_with_what_would_help() -> None:
    with pytest.raises(InputFileError, match=r"no wire records; they are captured with ingestion\.capture_wire: true"):
        list(steps(Lane().trades().records))


def test_a_boot_whose_beginning_is_not_there_is_refused() -> None:
    records = Lane().wire(SETUP, Frame("a"), Frame("b")).records[1:]
    with pytest.raises(InputFileError, match="boot b begins in an earlier segment: its wire records up to 1 are"):
        list(steps(records))


def test_a_hole_is_refused_with_what_is_missing() -> None:
    records = Lane().wire(SETUP, Frame("a"), Frame("b"), Frame("c")).records
    with pytest.raises(InputFileError, match=r"x:4: wire records 2 to 3 of boot b are missing"):
        list(steps([records[0], records[3]]))


def test_wire_records_that_do_not_begin_with_the_setup_are_refused() -> None:
    with pytest.raises(InputFileError, match="its first wire record does not say how it was set up"):
        list(steps(Lane().wire(Frame("a")).records))


def test_boots_come_one_after_another_and_are_grouped_by_what_was_on_the_wire() -> None:
    first = Lane("a").wire(SETUP).control(CONNECTED).wire(Frame("1")).control(CONNECTED).records
    second = Lane("b", 2 * 10**18).wire(SETUP, Frame("2")).records
    found = [
        [(group.step.item if group.step else None, len(group.controls)) for group in _all(boot)]
        for boot in boots(steps([*first, *second]))
    ]
    assert found == [[(None, 1), (Frame("1"), 1)], [(None, 0), (Frame("2"), 0)]]


def _all(boot: Iterator[object]) -> Iterator[object]:
    assert next(boot).item == SETUP  # type: ignore[attr-defined] # of a step
    ahead = Ahead(groups(boot))  # type: ignore[arg-type] # of steps
    while ahead.peek():
        yield ahead.take()
