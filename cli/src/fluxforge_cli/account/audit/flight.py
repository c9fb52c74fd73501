"""Flight: what of the lanes stands on the bus beyond what is sealed, and in spools on this machine. Reads alone."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from fluxforge.domain.block import Block
from fluxforge.domain.errors import (
    BusUnavailableError,
    ConfigurationError,
    DurabilityError,
    FatalError,
    LaneBrokenError,
    NameRefusedError,
    RecordError,
    SequenceGoneError,
)
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.domain.record import CONTROL_CHANNEL
from fluxforge.ports.bus import Bus
from fluxforge.runtime.settings import Settings
from fluxforge_cli.account.audit.books import InFlight, Said
from fluxforge_cli.account.audit.findings import FeedId
from fluxforge_cli.account.audit.ranges import Ranges, union
from fluxforge_cli.account.audit.said import said_in_lines
from fluxforge_cli.bus import connected
from fluxforge_collector.spool import spooled_blocks

_CONNECT_S: Final = 5.0
_BLOCKS_MAX: Final = 256
_WAIT_S: Final = 2.0
_UNDECIDED: Final = "undecided-*"


@dataclass(slots=True)
class Seen:
    """What of one lane was seen, block by block; `aside` are blocks that nobody will send."""

    seqs: dict[FeedId, list[tuple[int, int]]] = field(default_factory=dict)
    aside: dict[FeedId, list[tuple[int, int]]] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    sealing: str | None = None
    is_known: bool = False

    def add(self, block: Block, *, aside: bool = False) -> None:
        """Take in a block by its headers; only control records are read."""
        seqs = self.aside if aside else self.seqs
        for feed in block.feeds:
            one = FeedId(block.id.boot, feed.channel, feed.symbol)
            seqs.setdefault(one, []).append((feed.first_seq, feed.last_seq))
        if not aside and any(feed.channel == CONTROL_CHANNEL for feed in block.feeds):
            self.said += said_in_lines(block.payload.splitlines())

    def result(self) -> InFlight:
        """Return what was seen."""
        return InFlight(_united(self.seqs), _united(self.aside), tuple(self.said), self.sealing, self.is_known)


@dataclass(frozen=True, slots=True)
class Flight:
    """What is in flight, by lane; `bus` and `spool`: whether they could be looked at."""

    lanes: Mapping[Lane, InFlight] = field(default_factory=dict)
    bus: bool = False
    spool: bool = False


async def in_flight(settings: Settings) -> Flight:
    """Return what stands in spools and on the bus and is not sealed yet: spools first, since their blocks move on."""
    seen: dict[Lane, Seen] = {}
    has_spools = await asyncio.to_thread(look_at_spools, settings.spool_dir, seen)
    flight = Flight(spool=has_spools)
    try:
        async with asyncio.timeout(_CONNECT_S):
            bus = await connected(settings, "audit")
    except (BusUnavailableError, ConfigurationError, DurabilityError, TimeoutError):
        bus = None
    if bus is not None:
        try:
            await look_at_bus(bus, seen)
            flight = replace(flight, bus=True)
        except (BusUnavailableError, FatalError):
            pass  # it went away: what was seen so far is in flight all the same
        finally:
            await bus.close()
    return replace(flight, lanes={lane: one.result() for lane, one in seen.items()})


async def look_at_bus(bus: Bus, seen: dict[Lane, Seen]) -> None:
    """Take in what stands in every lane's streams beyond what is sealed, and the seal on its way."""
    for lane in sorted({*await bus.states.lanes(), *await bus.streams.lanes()}):
        one = seen.setdefault(lane, Seen())
        versioned = await bus.states.get(lane)
        state = versioned.state if versioned else LaneState()
        for epoch in await bus.streams.epochs(lane):
            info = await bus.streams.info(lane, epoch)
            after = state.sealed_seq if epoch == state.epoch else 0
            if info is not None and epoch >= state.epoch and info.last_seq > after:
                await _read(bus, lane, epoch, max(after + 1, info.first_seq), info.last_seq, one)
        one.sealing = state.sealing.name if state.sealing else None
        one.is_known = versioned is not None


async def _read(bus: Bus, lane: Lane, epoch: int, first: int, last: int, seen: Seen) -> None:
    while first <= last:
        reader = bus.reader(lane, epoch, from_seq=first)
        try:
            while first <= last:
                blocks = await reader.fetch(blocks_max=_BLOCKS_MAX, wait_s=_WAIT_S)
                if not blocks:
                    return
                for stored in blocks:
                    seen.add(stored.block)
                first = blocks[-1].stream_seq + 1
        except SequenceGoneError as error:  # its segmenter will name it
            first = error.last + 1
        except LaneBrokenError:  # its segmenter opens another epoch
            return
        finally:
            await reader.close()


def look_at_spools(root: Path, seen: dict[Lane, Seen]) -> bool:
    """Take in every spool below a directory; return whether there is such a directory."""
    if not root.is_dir():
        return False
    for folder in sorted(root.iterdir()):
        try:
            lane = Lane.parse(folder.name)
        except NameRefusedError:
            continue
        one = seen.setdefault(lane, Seen())
        _add(one, spooled_blocks(folder), aside=False)
        for undecided in sorted(folder.glob(_UNDECIDED)):
            _add(one, spooled_blocks(undecided), aside=True)
    return True


def _add(seen: Seen, blocks: Iterable[Block], *, aside: bool) -> None:
    try:
        for block in blocks:
            seen.add(block, aside=aside)
    except RecordError:
        return  # not ours: what stands behind it cannot be told apart


def _united(seqs: Mapping[FeedId, Iterable[tuple[int, int]]]) -> dict[FeedId, Ranges]:
    return {feed: union(ranges) for feed, ranges in seqs.items()}
