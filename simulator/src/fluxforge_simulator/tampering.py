"""Tampering: what becomes of the frames of one connection on their way out. Pure."""

import re
from dataclasses import dataclass, replace

from fluxforge_simulator.connection_fault import ConnectionFault, Fault
from fluxforge_simulator.frame import Frame, Kind

_CHECKSUM = re.compile(rb'"checksum":(-?\d+)')


@dataclass(slots=True)
class _Active:
    """A fault that has frames left to befall; `held` waits to be sent behind another."""

    fault: ConnectionFault
    left: int
    held: Frame | None = None


class Tampering:
    """The faults of one connection. The first one that a frame concerns befalls it, no other."""

    def __init__(self) -> None:
        self.is_frozen = False
        self._active: list[_Active] = []

    def add(self, fault: ConnectionFault) -> None:
        """Let a fault befall the frames to come."""
        if fault.fault is Fault.FREEZE:
            self.is_frozen = True
        self._active.append(_Active(fault, fault.count))

    def passed(self, frame: Frame) -> list[Frame]:
        """Return what is sent in the place of a frame; what is `dropped` of it is only told to the ledger."""
        if self.is_frozen:
            return [_dropped(frame, Fault.FREEZE)]
        for active in self._active:
            if active.fault.concerns(frame):
                return self._befall(active, frame)
        return [frame]

    def _befall(self, active: _Active, frame: Frame) -> list[Frame]:
        kind = active.fault.fault
        if kind is Fault.MUTE:
            return [_dropped(frame, kind)]
        if kind is Fault.SWAP:
            return self._swap(active, frame)
        wrong = _with_wrong_checksum(frame.payload) if kind is Fault.CHECKSUM else frame.payload
        if kind is Fault.CHECKSUM and wrong == frame.payload:
            return [frame]
        self._count(active)
        if kind is Fault.DROP:
            return [_dropped(frame, kind)]
        if kind is Fault.CHECKSUM:
            return [replace(frame, payload=wrong, fault=kind)]
        return [frame, replace(frame, fault=kind)]

    def _swap(self, active: _Active, frame: Frame) -> list[Frame]:
        held = active.held
        if held is None:
            active.held = frame
            return []
        if (held.channel, held.symbol) != (frame.channel, frame.symbol):
            return [frame]
        active.held = None
        self._count(active)
        return [frame, replace(held, fault=Fault.SWAP)]

    def _count(self, active: _Active) -> None:
        active.left -= 1
        if active.left == 0:
            self._active.remove(active)


def _dropped(frame: Frame, fault: Fault) -> Frame:
    return replace(frame, kind=Kind.DROPPED, fault=fault)


def _with_wrong_checksum(payload: bytes) -> bytes:
    return _CHECKSUM.sub(lambda found: b'"checksum":%d' % (int(found[1]) ^ 1), payload)
