"""The lane's lease: keeps a second collector of the same lane quiet until the first one is gone.

A hint, not the fence: what keeps two apart where they write is the expected sequence. It counts as lost only when the
bus says so, and a standby that saw the bus away gives its holder time to take it again first.
"""

import asyncio
from typing import Final

from fluxforge.domain.errors import BusUnavailableError, FencedError, StateConflictError
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge_collector.events import CollectorEvents

_POLL_S: Final = 0.5
_RELEASE_S: Final = 1.0
_AFTER_OUTAGE_S: Final = 30.0
_NS: Final = 1_000_000_000


class LaneLease:
    """The lease of one lane for one holder. A holder that starts again under its name has it at once."""

    def __init__(self, bus: Bus, lane: Lane, holder: str, *, ttl_s: float, clock: Clock) -> None:
        self._bus = bus
        self._lane = lane
        self._key = f"collector-{lane}"
        self._holder = holder
        self._ttl_s = ttl_s
        self._clock = clock
        self._revision = 0

    async def take(self, events: CollectorEvents) -> bool:
        """Take the lease, waiting for it as long as somebody else holds it; true when it is taken."""
        is_standby = saw_outage = False
        not_before_ns = 0
        while True:
            if saw_outage and is_standby and self._bus.connected:
                not_before_ns = self._clock.monotonic_ns() + int((self._ttl_s + _AFTER_OUTAGE_S) * _NS)
            saw_outage = not self._bus.connected
            if not saw_outage and self._clock.monotonic_ns() >= not_before_ns:
                try:
                    revision = await self._bus.leases.acquire(self._key, self._holder)
                except BusUnavailableError:
                    saw_outage = True
                else:
                    if revision is not None:
                        self._revision = revision
                        return True
                    if not is_standby:
                        events.lease_awaited(self._key)
                    is_standby = True
            await asyncio.sleep(_POLL_S)

    async def keep(self) -> None:
        """Renew the lease for ever; one that expired while the bus was away is taken again.

        Raises:
            FencedError: Somebody else took it.
        """
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            try:
                self._revision = await self._renewed()
            except BusUnavailableError:
                continue  # nobody can take it either; the next round tells

    async def release(self) -> None:
        """Give the lease back, so that a successor need not wait for its end; a bus that is away lets it expire."""
        if not self._bus.connected:
            return
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._bus.leases.release(self._key, self._revision)
        except (BusUnavailableError, TimeoutError):
            return

    async def _renewed(self) -> int:
        try:
            return await self._bus.leases.renew(self._key, self._holder, self._revision)
        except StateConflictError as error:
            revision = await self._bus.leases.acquire(self._key, self._holder)
            if revision is None:
                raise FencedError(str(self._lane), "another collector took the lease that we lost") from error
            return revision
