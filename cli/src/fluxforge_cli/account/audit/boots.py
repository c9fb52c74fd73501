"""Boots: in which order they wrote a lane, how each ended, and the holes that are bounded by times alone. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from fluxforge.domain.control import CRASH, Event
from fluxforge_cli.account.audit.books import LaneBooks, Said


class End(StrEnum):
    """How a boot ended."""

    CLOSED = "closed"
    CRASHED = "crashed"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot and its end."""

    boot: str
    end: End


@dataclass(frozen=True, slots=True)
class Hole:
    """A hole that no seqs name: of a `crash` the boot that ended, of `lost` the stream range (inclusive).

    Times ns UTC; None: not known.
    """

    kind: str
    lane: str
    from_ns: int | None
    to_ns: int | None
    boot: str | None = None
    epoch: int | None = None
    first: int | None = None
    last: int | None = None


def boots_of(lanes: Sequence[LaneBooks], *, adopted: Iterable[str]) -> tuple[list[Boot], list[Hole]]:
    """Return the boots of a lane and its rescue lanes in the order they began, and a hole for each that crashed.

    Boots known from adopted files alone (`adopted`) have no end of their own here.
    """
    said = [one for lane in lanes for one in lane.said()]
    skipped = set(adopted)
    began = {boot: at for boot, at in _began(lanes, said).items() if boot not in skipped}
    order = sorted(began, key=lambda boot: (began[boot], boot))
    stopped = {one.boot for one in said if one.event == Event.STOPPED and one.hole is None}
    bounds = {one.boot: (one.from_ns, one.to_ns) for one in said if one.event == CRASH}
    boots, holes = [], []
    for boot, after in pairwise([*order, None]):
        assert boot is not None
        if boot in stopped:
            boots.append(Boot(boot, End.CLOSED))
        elif after is None:
            boots.append(Boot(boot, End.RUNNING))
        else:
            boots.append(Boot(boot, End.CRASHED))
            from_ns, to_ns = bounds.get(after, (None, began[after]))
            holes.append(Hole(CRASH, str(lanes[0].lane), from_ns, to_ns, boot=boot))
    return boots, holes


def _began(lanes: Sequence[LaneBooks], said: Iterable[Said]) -> dict[str, int]:
    """Return when each boot began: by its `started`, else no earlier than the first segment that holds it."""
    began: dict[str, int] = {}
    newest_ns = 0
    for lane in lanes:
        for segment in lane.segments:
            for feed in segment.manifest.feeds:
                began.setdefault(feed.boot, segment.manifest.first_capture_ns)
            newest_ns = max(newest_ns, segment.manifest.last_capture_ns)
    for lane in lanes:
        for feed_id in lane.in_flight.seqs:
            began.setdefault(feed_id.boot, newest_ns + 1)
    told: set[str] = set()
    for one in said:
        if one.event == Event.STARTED and one.boot in began and one.from_ns is not None and one.boot not in told:
            told.add(one.boot)
            began[one.boot] = one.from_ns
    return began
