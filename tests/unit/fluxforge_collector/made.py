"""A collector's parts on memory adapters, for tests: the lane, its records as lists, a source that does as told."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.control import Control
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed, read_data, read_envelope
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.lane_writer import LaneWriter
from fluxforge_collector.settings import (
    CollectorSettings,
    Limits,
    SpoolSettings,
)
from fluxforge_collector.source import Sink

LANE = Lane("ccxt", "binance", "0of1")
BOOT = "9f3c21ab"
BEGIN_NS = 1_765_288_800_000_000_000
BOOK = Feed("ccxt", "binance", "orderbook", "BTC/USDT")
TRADES = Feed("ccxt", "binance", "trades", "BTC/USDT")
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Line:
    channel: str
    symbol: str | None
    seq: int
    capture_ns: int
    boot: str
    data: Any
    conn: int
    backfill: bool = False

    @property
    def event(self) -> str | None:
        return self.data["event"] if self.channel == "control" else None

    @property
    def control(self) -> Control:
        return Control.from_json(orjson.dumps(self.data))


def lines_of(blocks: Sequence[Block]) -> list[Line]:
    lines = []
    for block in blocks:
        for text in block.payload.splitlines(keepends=True):
            envelope = read_envelope(text)
            lines.append(
                Line(
                    envelope.channel,
                    envelope.symbol,
                    envelope.seq,
                    envelope.capture_ns,
                    envelope.boot,
                    orjson.loads(read_data(text)),
                    envelope.conn,
                    envelope.source_kind == "backfill",
                )
            )
    return lines


async def until(condition: Callable[[], object], *, deadline_s: float = 60) -> None:
    """Poll a condition until it holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - what is polled sets no event
            await asyncio.sleep(0.002)


def events() -> CollectorEvents:
    return CollectorEvents(CollectorRegistry(), str(LANE), ManualClock(BEGIN_NS))


@dataclass
class Desk:
    """A lane's writer on a manual clock, and what it wrote."""

    limits: Limits = field(default_factory=Limits)
    clock: ManualClock = field(default_factory=lambda: ManualClock(wall_ns=BEGIN_NS, monotonic_ns=7))
    last_ns: int = 0
    feeds: tuple[Feed, ...] = (BOOK, TRADES)
    controls: list[Control] = field(default_factory=list)
    taken: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.buffer = BlockBuffer(BOOT, self.limits, after=None)
        self.writer = LaneWriter(
            lane=LANE,
            boot=BOOT,
            feeds=self.feeds,
            buffer=self.buffer,
            clock=self.clock,
            last_ns=self.last_ns,
            record_bytes_max=self.limits.record_bytes_max,
            on_control=self.controls.append,
        )
        self.book = self.writer.feed(self.feeds[0])
        self.trades = self.writer.feed(self.feeds[-1])

    def record(self, feed: Any = None, data: bytes = b'{"n":1}', *, pass_ns: int = 1_000_000) -> None:
        self.clock.advance(pass_ns)
        self.writer.record(feed or self.book, data, exchange_ms=5, at_ns=self.writer.now(), conn=1)

    def lines(self) -> list[Line]:
        self.taken += self.buffer.take_all()
        return lines_of(self.taken)


def collector_settings(tmp_path: Path, **limits: Any) -> CollectorSettings:
    return CollectorSettings(
        lane=LANE,
        shard=0,
        shards=1,
        limits=Limits(**{"linger_s": 0.001, **limits}),
        spool=SpoolSettings(tmp_path / "spool", 10_000_000),
    )


async def open_lane(bus: MemoryBus, lane: Lane = LANE) -> None:
    """What a segmenter does for a lane that has a key and no stream."""
    while (state := await bus.states.get(lane)) is None:  # noqa: ASYNC110 - what is polled sets no event
        await asyncio.sleep(0.01)
    await bus.streams.create(lane, 1)
    await bus.states.update(lane, replace(state.state, epoch=1), state.revision)


def stored(server: MemoryServer, lane: Lane = LANE) -> list[Block]:
    return list(server.streams[lane.stream(1)].blocks.values())


def block(n: int, *, after: BlockId | None, payload: bytes = b'{"x":1}\n', boot: str = BOOT) -> Block:
    return Block(
        BlockId(boot, n),
        after,
        BEGIN_NS + n,
        BEGIN_NS + n,
        (FeedRange("orderbook", "BTC-USDT", n, n, 1),),
        payload,
    )


def chain(count: int, *, first: int = 1, after: BlockId | None = None, size: int = 20) -> list[Block]:
    blocks: list[Block] = []
    for n in range(first, first + count):
        previous = blocks[-1].id if blocks else after
        blocks.append(block(n, after=previous, payload=b'{"x":"%b"}\n' % (b"y" * size)))
    return blocks


class ToldSource:
    """A source of two feeds; `say` writes a book record while it runs."""

    feeds = (BOOK, TRADES)
    connections = 1

    def __init__(self) -> None:
        self.sink: Sink | None = None
        self.running = asyncio.Event()
        self.closed = False

    async def run(self, sink: Sink) -> None:
        self.sink = sink
        self.running.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True

    def say(self, data: bytes = b'{"bids":[[1.0,1.0]],"asks":[[2.0,1.0]]}') -> None:
        assert self.sink is not None
        self.sink.record(self.sink.feed(BOOK), data, exchange_ms=None, at_ns=self.sink.now(), conn=1)
