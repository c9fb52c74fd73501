"""The hold on a lane: its lease, which keeps others quiet, and its state by compare-and-set, which keeps them out.

The state belongs to whoever wrote `owner` last: every later write of a predecessor fails, whatever it believes of time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Self

from fluxforge.domain.errors import FencedError, StateConflictError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.ports.bus import Bus
from fluxforge.ports.lanes import VersionedState
from fluxforge.runtime.patience import Patience
from fluxforge_segmenter.events import SegmenterEvents

_POLL_S: Final = 0.25


class LaneHold:
    """A lane in our hands. `state` is what stands in the bucket as long as nobody takes the lane from us."""

    def __init__(
        self, bus: Bus, lane: Lane, patience: Patience, holder: str, lease_revision: int, *, above: int
    ) -> None:
        self._bus = bus
        self._patience = patience
        self._holder = holder
        self._lease_revision = lease_revision
        self._versioned = VersionedState(LaneState(), 0)
        # A write whose answer is awaited may stand already: what is read meanwhile cannot be told from another's.
        self._turn = asyncio.Lock()
        self.lane = lane
        self.owner = f"{max(lease_revision, above + 1)}-{holder}"

    @classmethod
    async def take(
        cls,
        bus: Bus,
        lane: Lane,
        *,
        holder: str,
        above: int,
        patience: Patience,
        events: SegmenterEvents,
        is_wanted: Callable[[], bool],
    ) -> Self | None:
        """Take the lease, waiting as long as another holds it and we are wanted, then write our name into the state.

        The number in our name is above that of every owner before, and above `above`. A lane with streams and no key
        gets its key here. None: we are not wanted any more, or the lane is gone.
        """
        revision = await patience.bus(lambda: bus.leases.acquire(_key(lane), holder))
        if revision is None:
            events.lane_awaited(lane)
        while revision is None:
            if not is_wanted():
                return None
            await asyncio.sleep(_POLL_S)
            revision = await patience.bus(lambda: bus.leases.acquire(_key(lane), holder))
        hold = cls(bus, lane, patience, holder, revision, above=above)
        try:
            if await hold._enter():
                return hold
        except BaseException:
            await hold.release()
            raise
        await hold.release()
        return None

    @property
    def state(self) -> LaneState:
        """The lane's state as we wrote it last."""
        return self._versioned.state

    async def replace(self, state: LaneState) -> None:
        """Write the next state.

        Raises:
            FencedError: Somebody else wrote; nothing of ours was written.
        """
        async with self._turn:
            revision = self._versioned.revision
            try:
                new = await self._patience.bus(lambda: self._bus.states.update(self.lane, state, revision))
            except StateConflictError as error:
                found = await self._patience.bus(lambda: self._bus.states.get(self.lane))
                raise FencedError(str(self.lane), f"owner is {found.state.owner if found else 'nobody'}") from error
            self._versioned = VersionedState(state, new)

    async def confirm(self) -> LaneState:
        """Read the state again and return it: at this moment the lane is ours.

        Raises:
            FencedError: Somebody else wrote, or the state is gone.
        """
        async with self._turn:
            found = await self._patience.bus(lambda: self._bus.states.get(self.lane))
            if found is None or found.revision != self._versioned.revision:
                raise FencedError(str(self.lane), f"owner is {found.state.owner if found else 'nobody'}")
        return found.state

    async def give_up(self) -> None:
        """Remove the lane's key.

        Raises:
            FencedError: Somebody else wrote; the key stays.
        """
        revision = self._versioned.revision
        try:
            await self._patience.bus(lambda: self._bus.states.delete(self.lane, revision=revision))
        except StateConflictError as error:
            raise FencedError(str(self.lane), "its state is another's") from error

    async def keep(self, lease_ttl_s: float) -> None:
        """Renew the lease for ever; one that expired while the bus was away is taken again.

        Raises:
            FencedError: Somebody else took it, or held it in between.
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
                await self.confirm()

    async def release(self) -> None:
        """Give the lease back, so that a successor need not wait for its end."""
        await self._bus.leases.release(_key(self.lane), self._lease_revision)

    async def _enter(self) -> bool:
        found = await self._patience.bus(lambda: self._bus.states.get(self.lane))
        if found is None:
            if not await self._patience.bus(lambda: self._bus.streams.epochs(self.lane)):
                return False
            await self._patience.bus(lambda: self._bus.states.create(self.lane))
            return await self._enter()
        self._versioned = found
        await self.replace(replace(found.state, owner=self.owner))
        return True


def _key(lane: Lane) -> str:
    return f"segmenter-{lane}"
