from dataclasses import replace
from typing import Any

import pytest

from fluxforge_simulator.connection_fault import ConnectionFault, Fault
from fluxforge_simulator.frame import Frame, Kind
from fluxforge_simulator.tampering import Tampering


def book(number: int, symbol: str = "A/B", kind: Kind = Kind.DATA) -> Frame:
    return Frame(b'{"n":%d,"checksum":-8}' % number, kind, "orderbook", symbol, (number,))


TRADE = Frame(b"{}", Kind.DATA, "trades", "A/B", (9,))
PONG = Frame(b"pong", Kind.PING)


def tampered(fault: Fault, frames: list[Frame], **more: Any) -> list[Frame]:
    tampering = Tampering()
    tampering.add(ConnectionFault(fault=fault, exchange="okx", channel="orderbook", symbol="A/B", **more))
    return [passed for frame in frames for passed in tampering.passed(frame)]


def dropped(frame: Frame, fault: Fault) -> Frame:
    return replace(frame, kind=Kind.DROPPED, fault=fault)


def test_as_many_frames_of_a_feed_are_dropped_as_were_asked_for_and_none_of_another() -> None:
    frames = [book(1, kind=Kind.SNAPSHOT), TRADE, book(2), book(3, "C/B"), PONG, book(4), book(5)]
    passed = tampered(Fault.DROP, frames, count=2)
    assert passed == [*frames[:2], dropped(book(2), Fault.DROP), *frames[3:5], dropped(book(4), Fault.DROP), book(5)]


def test_a_frame_leaves_twice_once() -> None:
    assert tampered(Fault.DUPLICATE, [book(1), book(2)]) == [book(1), replace(book(1), fault="duplicate"), book(2)]


def test_a_frame_leaves_behind_the_next_of_its_feed_and_lets_others_pass() -> None:
    passed = tampered(Fault.SWAP, [book(1), TRADE, book(2), book(3)])
    assert passed == [TRADE, book(2), replace(book(1), fault="swap"), book(3)]


def test_a_checksum_is_wrong_and_nothing_else_and_a_frame_without_one_is_left_for_the_next() -> None:
    bare = replace(book(1), payload=b"{}")
    passed = tampered(Fault.CHECKSUM, [bare, book(2), book(3)])
    assert passed[0] == bare
    assert passed[1] == replace(book(2), payload=b'{"n":2,"checksum":-7}', fault="checksum")
    assert passed[2] == book(3)


def test_mute_drops_all_data_of_its_feed_for_good_and_nothing_else() -> None:
    frames = [book(1, kind=Kind.SNAPSHOT), book(2), PONG, TRADE, book(3)]
    muted = [dropped(frame, Fault.MUTE) if frame.channel == "orderbook" else frame for frame in frames]
    assert tampered(Fault.MUTE, frames) == muted


def test_frozen_drops_everything() -> None:
    frames = [book(1), PONG, TRADE]
    assert tampered(Fault.FREEZE, frames) == [dropped(frame, Fault.FREEZE) for frame in frames]


@pytest.mark.parametrize("second", [Fault.DROP, Fault.DUPLICATE])
def test_one_fault_befalls_a_frame_and_the_next_one_the_next(second: Fault) -> None:
    tampering = Tampering()
    for fault in (Fault.DROP, second):
        tampering.add(ConnectionFault(fault=fault, exchange="okx"))
    assert [frame.fault for frame in tampering.passed(book(1))] == ["drop"]
    assert [frame.fault for frame in tampering.passed(book(2))][-1] == second
    assert tampering.passed(book(3)) == [book(3)]
