"""The true collector between the simulator and a real bus, in this process or, to be killed, in one of its own."""

import asyncio
import io
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import structlog

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.block import Block
from fluxforge.domain.instrument import symbol_id
from fluxforge.domain.lane import Lane
from fluxforge.domain.status import CollectorStatus, status_from_json
from fluxforge.runtime import logs
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.settings import load
from fluxforge_collector.main import collect
from fluxforge_simulator.options import Pace
from tests.unit.fluxforge_collector.made import Line, lines_of

PATIENCE_S = 90.0
LIVELY = Pace(steps_per_s=40.0)
QUOTES = {
    "binance": "USDT",
    "binanceus": "USDT",
    "binanceusdm": "USDT:USDT",
    "bybit": "USDT",
    "coinbase": "USD",
    "kraken": "USD",
    "okx": "USDT",
}


def markets(exchange: str, *bases: str) -> list[str]:
    return [f"{base}/{QUOTES[exchange]}" for base in bases]


def all_channels(exchange: str, *bases: str) -> dict[str, list[str]]:
    return {name: markets(exchange, *bases) for name in ("watchOrderBook", "watchTrades", "watchTicker")}


@dataclass
class Rig:
    """A bus and a data directory; starts collectors on them and reads what they stored."""

    server: EmbeddedNats
    bus: JetStreamBus
    data: Path
    _stored: dict[Lane, tuple[list[Block], list[Line]]] = field(default_factory=dict)
    """What was read so far: it is asked for again and again."""
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def configure(
        self, exchange: str, port: int, channels: dict[str, Any], *, source: str = "ccxt", **sections: Any
    ) -> Path:
        path = self.data / "config.json"
        venue = {"via": f"127.0.0.1:{port}", "channels": channels}
        tree = {
            "nats": {"servers": [self.server.url]},
            "storage": {"scratch_dir": str(self.data)},
            "telemetry": {"port": 0},
            source: {"exchanges": {exchange: venue}} if source == "ccxt" else venue,
        }
        path.write_bytes(orjson.dumps(tree | sections))
        return path

    @asynccontextmanager
    async def collector(
        self, exchange: str, port: int, channels: dict[str, Any], *, source: str = "ccxt", **sections: Any
    ) -> AsyncIterator["Running"]:
        """Run a collector in this process, on a lane whose stream is opened for it."""
        config = self.configure(exchange, port, channels, source=source, **sections)
        running = Running(self, Lane(source, exchange, "0of1"), self.data / "collector.log")
        shutdown = Shutdown()
        output = io.StringIO()
        with running.log_path.open("a") as log, redirect_stderr(log), redirect_stdout(output):
            logs.configure("collector", level="INFO", log_format="json")
            try:
                async with asyncio.TaskGroup() as tasks:
                    work = collect(load(config), running.lane, SystemClock(), shutdown)
                    collecting = tasks.create_task(work)
                    running.ended = collecting.done

                    async def stop() -> bytes:
                        shutdown.request()
                        await collecting
                        return output.getvalue().encode()

                    running.ask_to_stop = stop
                    await self.open_lane(running)
                    yield running
                    shutdown.request()
            finally:
                structlog.reset_defaults()

    @asynccontextmanager
    async def collector_process(
        self, exchange: str, port: int, channels: dict[str, Any], **sections: Any
    ) -> AsyncIterator[tuple["Running", Process]]:
        """Run a collector as a process, on a lane whose stream is opened for it; killed at the end if it still runs."""
        config = self.configure(exchange, port, channels, **sections)
        async with self.process(Lane("ccxt", exchange, "0of1"), config) as (running, process):
            await self.open_lane(running)
            yield running, process

    @asynccontextmanager
    async def process(self, lane: Lane, config: Path) -> AsyncIterator[tuple["Running", Process]]:
        """Run a collector as a process, as a configuration wants it; killed at the end if it still runs."""
        running = Running(self, lane, self.data / "collector.log")
        with running.log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command(lane, config), stdin=DEVNULL, stdout=PIPE, stderr=log
            )

        async def stop() -> bytes:
            process.send_signal(signal.SIGTERM)
            output, _ = await process.communicate()
            assert process.returncode == 0, running.log_path.read_text()
            return output

        running.ended = lambda: process.returncode is not None
        running.ask_to_stop = stop
        try:
            yield running, process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def open_lane(self, running: "Running") -> None:
        """What a segmenter does for a lane that has a key and no stream."""
        async with asyncio.timeout(PATIENCE_S):
            while (state := await self.bus.states.get(running.lane)) is None:
                running.check()
                await asyncio.sleep(0.05)
        if state.state.epoch == 0:
            await self.bus.streams.create(running.lane, 1)
            await self.bus.states.update(running.lane, replace(state.state, epoch=1), state.revision)

    async def lines(self, lane: Lane) -> list[Line]:
        """Return every record of a lane, having checked that blocks are chained and times rise strictly."""
        async with self._reading:
            blocks, lines = self._stored.setdefault(lane, ([], []))
            new = await self._read(lane, from_seq=len(blocks) + 1)
            records = lines_of(new)
            before = [blocks[-1].id if blocks else None, *(block.id for block in new)]
            assert [block.after for block in new] == before[: len(new)]
            assert sum(block.records for block in new) == len(records)
            assert all(later.capture_ns > earlier.capture_ns for earlier, later in pairwise([*lines[-1:], *records]))
            blocks += new
            lines += records
            return list(lines)

    def forget(self, lane: Lane) -> None:
        """Read a lane from its beginning again: the bus lost what it stored."""
        del self._stored[lane]

    async def blocks(self, lane: Lane) -> list[Block]:
        """Return what a lane holds."""
        await self.lines(lane)
        return list(self._stored[lane][0])

    async def _read(self, lane: Lane, *, from_seq: int) -> list[Block]:
        info = await self.bus.streams.info(lane, 1)
        assert info is not None
        count = info.last_seq + 1 - from_seq
        if count == 0:
            return []
        reader = self.bus.reader(lane, 1, from_seq=from_seq)
        blocks: list[Block] = []
        while len(blocks) < count:
            blocks += [stored.block for stored in await reader.fetch(blocks_max=100, wait_s=5)]
        await reader.close()
        return blocks


@dataclass
class Running:
    """A collector that runs."""

    rig: Rig
    lane: Lane
    log_path: Path
    ended: Callable[[], bool] = field(init=False)
    ask_to_stop: Callable[[], Awaitable[bytes]] = field(init=False)

    def check(self) -> None:
        assert not self.ended(), self.log_path.read_text()

    async def until(self, condition: Callable[[list[Line]], object], *, deadline_s: float = PATIENCE_S) -> list[Line]:
        """Poll what is stored until a condition holds of it; return it."""
        async with asyncio.timeout(deadline_s):
            while True:
                self.check()
                lines = await self.rig.lines(self.lane)
                if condition(lines):
                    return lines
                await asyncio.sleep(0.1)

    async def stop(self) -> CollectorStatus:
        """Stop it in order; return its final status, the one line on its stdout."""
        async with asyncio.timeout(PATIENCE_S):
            output = await self.ask_to_stop()
        (line,) = output.splitlines()
        status = status_from_json(line)
        assert isinstance(status, CollectorStatus)
        return status


def command(lane: Lane, config: Path) -> tuple[str, ...]:
    """Return what starts the collector of a lane."""
    module = (sys.executable, "-m", "fluxforge_collector")
    return *module, "--source", lane.source, "--exchange", lane.exchange, "--config", str(config)


@asynccontextmanager
async def running_rig(server: EmbeddedNats, data: Path) -> AsyncIterator[Rig]:
    options = BusOptions(servers=(server.url,))
    await provision(options)
    bus = await connect(options, name="test")
    try:
        yield Rig(server, bus, data)
    finally:
        await bus.close()


def events_of(lines: list[Line], event: str) -> list[Line]:
    return [line for line in lines if line.event == event]


def all_disconnected(lines: list[Line]) -> bool:
    """Whether every feed has lost its connection: what a closed exchange had sent is then read to its end."""
    lost = {key for line in events_of(lines, "disconnected") for key in line.control.concerned()}
    return {(key.channel, key.symbol) for key in lost} >= by_feed(lines).keys()


def by_feed(lines: list[Line]) -> dict[tuple[str, str], list[Line]]:
    feeds: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.symbol is not None:
            feeds[line.channel, line.symbol].append(line)
    return feeds


def sent(ledger: Path, kind: str = "data") -> dict[tuple[str, str], list[Any]]:
    """Return the keys of the frames a simulator sent, by feed as the collector names it."""
    frames: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for text in ledger.read_bytes().splitlines():
        frame = orjson.loads(text)
        if frame["kind"] == kind and frame["symbol"]:
            frames[frame["channel"], symbol_id(frame["symbol"])].append(frame["key"])
    return frames
