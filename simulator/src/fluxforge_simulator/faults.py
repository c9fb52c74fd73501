"""Faults: malformed frames, once for the connection that first asks for their feed."""

import asyncio
from collections.abc import Callable, Coroutine

from fluxforge_simulator.connection import Connection
from fluxforge_simulator.frame import Feed, Frame, Kind
from fluxforge_simulator.options import Faults, MalformedFrame

Spawn = Callable[[Coroutine[None, None, None]], None]


class Spoiler:
    """Waits for the subscriptions that one exchange's faults are for."""

    def __init__(self, faults: Faults, exchange: str, spawn: Spawn) -> None:
        self._waiting = [fault for fault in faults.malformed if fault.exchange == exchange]
        self._spawn = spawn

    def subscribed(self, connection: Connection, feeds: set[Feed]) -> None:
        """Take note of a connection's new feeds."""
        for fault in [entry for entry in self._waiting if Feed(entry.channel, entry.symbol) in feeds]:
            self._waiting.remove(fault)
            self._spawn(_spoil(connection, fault))


async def _spoil(connection: Connection, fault: MalformedFrame) -> None:
    await asyncio.sleep(fault.after_s)
    await connection.send(Frame(fault.payload, Kind.DATA, fault.channel, fault.symbol))
