"""A source on a lane of memory before a gateway on loopback, for tests of the live path."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.domain.control import Control, Event
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Envelope, read_data, read_envelope
from fluxforge_collector.databento_source.source import DatabentoSource
from fluxforge_collector.databento_source.subscriptions import Gateway as Address
from fluxforge_collector.databento_source.subscriptions import Plan
from tests.databento_gateway import KEY, Gateway
from tests.unit.fluxforge_collector.databento_source.dbn import MARKET, T0, S
from tests.unit.fluxforge_collector.made import Desk, until

LANE = Lane("databento", "glbxmdp3", "0of1")
NOW = T0 + 3600 * S


def asked(
    gateway: Gateway,
    subscriptions: Mapping[str, Sequence[str]],
    *,
    key: str = KEY,
    dataset: str = "GLBX.MDP3",
    depth: int = 10,
) -> Plan:
    address = Address("127.0.0.1", gateway.port, dataset, key)
    return Plan(LANE, address, "raw_symbol", depth, subscriptions)


class Live:
    """A running source and what it wrote."""

    def __init__(self, plan: Plan, silence_s: float = 60.0) -> None:
        self.desk = Desk(clock=ManualClock(wall_ns=NOW, monotonic_ns=7), feeds=plan.feeds)
        self.source = DatabentoSource(plan, chance=lambda: 0.0, silence_s=silence_s)

    @property
    def controls(self) -> list[Control]:
        return self.desk.controls

    def reasons(self, event: Event) -> list[str | None]:
        return [control.reason for control in self.controls if control.event is event]

    def records(self, channel: str = "trades") -> list[tuple[Envelope, Any]]:
        self.desk.taken += self.desk.buffer.take_all()
        lines = [line for block in self.desk.taken for line in block.payload.splitlines(keepends=True)]
        read = [(read_envelope(line), orjson.loads(read_data(line))) for line in lines]
        return [(envelope, data) for envelope, data in read if envelope.channel == channel]

    def ids(self) -> list[str]:
        return [trade["id"] for _, (trade,) in self.records()]


@asynccontextmanager
async def live(plan: Plan, **more: Any) -> AsyncIterator[Live]:
    """Run a source until the end of the block; an error of its own ends the block."""
    made = Live(plan, **more)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.source.run(made.desk.writer))
        yield made
        running.cancel()
        await asyncio.wait([running])
        await made.source.close()


@asynccontextmanager
async def streaming(
    gateway: Gateway, subscriptions: Mapping[str, Sequence[str]] | None = None, **more: Any
) -> AsyncIterator[Live]:
    """Run a source that has subscribed to trades, or to what is given."""
    plan = asked(gateway, subscriptions or {"trades": [MARKET]})
    async with live(plan, **more) as made:
        await until(lambda: is_served(gateway))
        yield made


def is_served(gateway: Gateway) -> bool:
    return any(client.is_started for client in gateway.clients)
