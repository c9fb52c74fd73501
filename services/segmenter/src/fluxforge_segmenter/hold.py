"""The hold on a lane: its lease, which keeps others quiet, and its state by compare-and-set, which keeps them out.

The state belongs to whoever wrote `owner` last: every later write of a predecessor fails, whatever it believes of time.
"""

import asyncio
from dataclasses import replace
from typing import Final, Self

from fluxforge.domain.errors import FencedError, LaneBrokenError, StateConflictError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.ports.lanes import VersionedState
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.events import SegmenterEvents

_POLL_S: Final = 0.25
_MARGIN_S: Final = 2.0
_NS: Final = 1_000_000_000


class LaneHold:
    """A lane in our hands. `state` is what stands in the bucket as long as nobody takes the lane from us."""

    def __init__(self, bus: Bus, lane: Lane, patience: Patience, holder: str, lease_revision: int) -> None:
        self._bus = bus
        self._patience = patience
        self._holder = holder
        self._lease_revision = lease_revision
        self._versioned = VersionedState(LaneState(), 0)
        self.lane = lane
        self.owner = f"{lease_revision}-{holder}"

    @classmethod
    async def take(
        cls,
        bus: Bus,
        lane: Lane,
        *,
        holder: str,
        lease_ttl_s: float,
        clock: Clock,
        patience: Patience,
        events: SegmenterEvents,
    ) -> Self:
        """Take the lease, waiting as long as that of a dead holder lives, then write our name into the state.

        Raises:
            FencedError: Another process holds the lane and lives.
            LaneBrokenError: The lane has no state any more.
        """
        deadline_ns = clock.monotonic_ns() + int((lease_ttl_s + _MARGIN_S) * _NS)
        revision = await patience.bus(lambda: bus.leases.acquire(_key(lane), holder))
        if revision is None:
            events.lane_awaited(lane)
        while revision is None:
            if clock.monotonic_ns() > deadline_ns:
                raise FencedError(str(lane), "another segmenter renews its lease; stop that one first")
            await asyncio.sleep(_POLL_S)
            revision = await patience.bus(lambda: bus.leases.acquire(_key(lane), holder))
        hold = cls(bus, lane, patience, holder, revision)
        try:
            await hold._enter()
        except BaseException:
            await hold.release()
            raise
        return hold

    @property
    def state(self) -> LaneState:
        """The lane's state as we wrote it last."""
        return self._versioned.state

    async def replace(self, state: LaneState) -> None:
        """Write the next state.

        Raises:
            FencedError: Somebody else wrote; nothing of ours was written.
        """
        revision = self._versioned.revision
        try:
            new = await self._patience.bus(lambda: self._bus.states.update(self.lane, state, revision))
        except StateConflictError as error:
            found = await self._patience.bus(lambda: self._bus.states.get(self.lane))
            raise FencedError(str(self.lane), f"owner is {found.state.owner if found else 'nobody'}") from error
        self._versioned = VersionedState(state, new)

    async def keep(self, lease_ttl_s: float) -> None:
        """Renew the lease for ever; one that expired while the bus was away is taken again.

        Raises:
            FencedError: Somebody else took it.
        """
        while True:
            await asyncio.sleep(lease_ttl_s / 3)
            try:
                self._lease_revision = await self._patience.bus(
                    lambda: self._bus.leases.renew(_key(self.lane), self._holder, self._lease_revision)
                )
            except StateConflictError as error:
                revision = await self._patience.bus(lambda: self._bus.leases.acquire(_key(self.lane), self._holder))
                if revision is None:
                    raise FencedError(str(self.lane), "another segmenter took the lease that we lost") from error
                self._lease_revision = revision

    async def release(self) -> None:
        """Give the lease back, so that a successor need not wait for its end."""
        await self._bus.leases.release(_key(self.lane), self._lease_revision)

    async def _enter(self) -> None:
        found = await self._patience.bus(lambda: self._bus.states.get(self.lane))
        if found is None:
            raise LaneBrokenError(str(self.lane), "its key is gone from the bucket of lane states")
        self._versioned = found
        await self.replace(replace(found.state, owner=self.owner))


def _key(lane: Lane) -> str:
    return f"segmenter-{lane}"
