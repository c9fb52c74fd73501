"""Pace: what Coinbase takes of one address in a second, shared out between the connections of a collector."""

import asyncio
from dataclasses import dataclass
from typing import Final

_PER_S: Final = 8
"""So many connections, and so many messages that are not signed, does the venue take of one address in a second."""
_ARRIVAL_S: Final = 2.0
"""The venue closes a connection of which it has no `subscribe` within 5 s: each has a turn for it within this."""


class Pacer:
    """Turns at an interval (s), in the order in which they are asked for."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._free_s = 0.0
        self._urgent = asyncio.Lock()
        self._others = asyncio.Lock()

    async def turn(self, *, is_urgent: bool = False) -> None:
        """Wait for the next turn; the urgent ones come before all others."""
        time_s = asyncio.get_running_loop().time
        # One of each kind stands at the gate, so that the other may pass it; the rest stand in line behind.
        async with self._urgent if is_urgent else self._others:
            while (wait_s := self._free_s - time_s()) > 0 or (self._urgent.locked() and not is_urgent):  # noqa: ASYNC110 - a time is awaited
                await asyncio.sleep(wait_s if wait_s > 0 else self._interval_s)
            self._free_s = time_s() + self._interval_s


@dataclass(frozen=True, slots=True)
class Pace:
    """A collector's share. `arriving`: how many connections may be between their handshake and their first message."""

    connections: Pacer
    messages: Pacer
    arriving: asyncio.Semaphore


def pace_of(shards: int) -> Pace:
    """Return the share of one of so many collectors, which may all have one address."""
    interval_s = shards / _PER_S
    return Pace(Pacer(interval_s), Pacer(interval_s), asyncio.Semaphore(max(1, int(_ARRIVAL_S / interval_s))))
