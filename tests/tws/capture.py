"""The source of Interactive Brokers between a stand-in and a lane in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.block import Block
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings.ibkr import IbkrSettings
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.ibkr_source.pace import Waits
from fluxforge_collector.ibkr_source.source import IbkrSource
from fluxforge_collector.lane_writer import LaneWriter
from fluxforge_collector.settings import Limits
from fluxforge_collector.silence.limits import SilenceLimits
from tests.unit.fluxforge_collector.made import Line, lines_of, until

IBKR = Lane("ibkr", "ibkr", "0of1")
QUICK = Waits(tick_by_tick_s=0.3, keepalive_s=30.0, answer_s=10.0)


def events() -> CollectorEvents:
    return CollectorEvents(CollectorRegistry(), str(IBKR), SystemClock())


def settings(port: int, channels: dict[str, Any], **more: Any) -> IbkrSettings:
    return IbkrSettings(port=port, channels=channels, **more)


@dataclass
class Capture:
    """What a source brought so far."""

    source: IbkrSource
    writer: LaneWriter
    buffer: BlockBuffer
    blocks: list[Block] = field(default_factory=list)

    def lines(self, channel: str | None = None, symbol: str | None = None) -> list[Line]:
        self.blocks += self.buffer.take_all()
        return [
            line for line in lines_of(self.blocks) if channel in {None, line.channel} and symbol in {None, line.symbol}
        ]

    def controls(self, event: str) -> list[Line]:
        return [line for line in self.lines("control") if line.event == event and not line.data["repeat"]]

    def seq(self, channel: str, symbol: str) -> int:
        return next(feed.seq for feed in self.writer.feeds if (feed.key.channel, feed.key.symbol) == (channel, symbol))

    async def has(self, channel: str, symbol: str, records: int) -> None:
        await until(lambda: self.seq(channel, symbol) >= records)

    def is_sound(self, channel: str, symbol: str) -> bool:
        feed = next(feed for feed in self.writer.feeds if (feed.key.channel, feed.key.symbol) == (channel, symbol))
        return not feed.unsound


@asynccontextmanager
async def capturing(
    port: int, channels: dict[str, Any], *, waits: Waits = QUICK, silence: SilenceLimits | None = None, **more: Any
) -> AsyncIterator[Capture]:
    """Run a source until the end of the block."""
    source = await IbkrSource.prepare(
        settings(port, channels, **more),
        silence=silence or SilenceLimits(),
        chance=lambda: 0.1,
        events=events(),
        waits=waits,
    )
    limits = Limits(waiting_records_max=100_000)
    buffer = BlockBuffer("9f3c21ab", limits, after=None)
    writer = LaneWriter(
        lane=IBKR,
        boot="9f3c21ab",
        feeds=source.feeds,
        buffer=buffer,
        clock=SystemClock(),
        last_ns=0,
        record_bytes_max=limits.record_bytes_max,
        on_control=lambda _: None,
    )
    writer.start(None)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run(writer))
        try:
            yield Capture(source, writer, buffer)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await source.close()
