"""The segmenter's cost: CPU seconds of its process from a lane's stream to sealed segments, on a server that syncs.

The blocks are those that the collector makes of 3000 book updates a second over 10 symbols. Prints MB of NDJSON per CPU
second (user + system, from when an idle segmenter is given the lane), median of three runs, beside the bare operation:
a process that only reads the same stream. Run: `.venv/bin/python -m benchmarks.segmenter [--frames 90000]`.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from benchmarks import collector
from benchmarks.cpu import cpu_s
from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.block import Block
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest
from fluxforge.ports.lanes import StoredBlock
from fluxforge_simulator import Simulator

RUNS = 3
FEEDS = 10
MB = 1_000_000
TARGET_MB_PER_S = 60


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    wall_s: float

    def mb_per_s(self, size_bytes: int) -> float:
        return size_bytes / MB / self.cpu_s


async def captured_blocks(data: Path, frames: int) -> list[Block]:
    """The blocks that the collector makes of a paced load over 10 symbols, read back from its lane."""
    server = EmbeddedNats(data / "nats", 8_388_608)
    await server.start()
    options = BusOptions(servers=(server.url,), lane_max_bytes=2_000 * MB)
    await provision(options)
    bus = await connect(options, name="bench-capture")
    try:
        await collector.open_lane(bus)
        async with Simulator(collector.options(frames, FEEDS)) as simulator:
            config = data / "collector.yaml"
            config.write_bytes(orjson.dumps(collector.configuration(server.url, simulator.port, FEEDS, data)))
            command = [sys.executable, "-m", "fluxforge_collector", "--config", str(config), "--exchange", "binance"]
            await collector.run(command, simulator, FEEDS)
        info = await bus.streams.info(collector.LANE, 1)
        assert info is not None
        return [stored.block async for stored in stored_blocks(bus, collector.LANE, info.last_seq)]
    finally:
        await bus.close()
        await server.stop()


async def stored_blocks(bus: JetStreamBus, lane: Lane, last: int) -> AsyncIterator[StoredBlock]:
    reader = bus.reader(lane, 1, from_seq=1)
    seq = 0
    while seq < last:
        for stored in await reader.fetch(blocks_max=64, wait_s=5):
            seq = stored.stream_seq
            yield stored
    await reader.close()


async def publish(bus: JetStreamBus, lane: Lane, blocks: list[Block]) -> None:
    publisher = await bus.publisher(lane, 1, after=None, window_blocks=64)
    for block in blocks:
        await publisher.publish(block)
    assert await publisher.settle(timeout_s=60)
    await publisher.close()


async def sealing(bus: JetStreamBus, lane: Lane, url: str, data: Path) -> Cost:
    """A segmenter that is up and idle is given the lane, and drained: that seals all that stands there."""
    environment = {
        **os.environ,
        "FLUXFORGE__NATS__SERVERS": f'["{url}"]',
        "FLUXFORGE__STORAGE__SCRATCH_DIR": str(data),
        "FLUXFORGE__STORAGE__INGESTION_STORAGE__BASE_DIR": str(data),
        "FLUXFORGE__TELEMETRY__PORT": "0",
        "FLUXFORGE__LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "fluxforge_segmenter"]
    process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stdout=subprocess.DEVNULL)
    while not await bus.statuses(wait_s=0.1):
        assert process.poll() is None, "the segmenter ended"
    began_s, start_cpu_s = time.monotonic(), cpu_s(process.pid)
    await bus.states.create(lane)
    while not await is_held(bus, lane):
        assert process.poll() is None, "the segmenter ended"
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, status, usage = await asyncio.to_thread(os.wait4, process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the segmenter failed"
    process.returncode = 0
    return Cost(usage.ru_utime + usage.ru_stime - start_cpu_s, time.monotonic() - began_s)


async def is_held(bus: JetStreamBus, lane: Lane) -> bool:
    found = await bus.states.get(lane)
    return found is not None and found.state.owner is not None


async def reading(lane: Lane, last: int, url: str) -> Cost:
    command = [sys.executable, "-m", "benchmarks.segmenter", "--read", url, str(lane), str(last)]
    output = await asyncio.to_thread(subprocess.check_output, command)
    return Cost(*orjson.loads(output))


async def read(url: str, lane: Lane, last: int) -> None:
    """The bare operation: the stream from its beginning to `last`, and nothing done with it."""
    bus = await connect(BusOptions(servers=(url,)), name="bench-read")
    began_s, start_cpu_s = time.monotonic(), time.process_time()
    async for _ in stored_blocks(bus, lane, last):
        pass
    print(orjson.dumps([time.process_time() - start_cpu_s, time.monotonic() - began_s]).decode())
    await bus.close()


def sealed_bytes(data: Path, lane: Lane) -> int:
    folder = data / "raw" / "ready" / lane.folder
    return sum(Manifest.from_json(path.read_bytes()).size_bytes for path in folder.glob("*.manifest.json"))


async def measured(frames: int) -> tuple[list[Block], list[Cost], list[Cost]]:
    """The collector's blocks, and the costs of sealing and of reading alone, in turn, each run in a lane of its own."""
    sealed, only_read = [], []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        data = Path(folder) / "sealed"
        blocks = await captured_blocks(Path(folder), frames)
        server = EmbeddedNats(data / "nats", 8_388_608)
        await server.start()
        options = BusOptions(servers=(server.url,), lane_max_bytes=2_000 * MB)
        await provision(options)
        made = size_bytes(blocks)
        bus = await connect(options, name="bench")
        try:
            for run in range(RUNS):
                lane = Lane("ccxt", f"bench{run}", "0of1")
                await bus.streams.create(lane, 1)
                await publish(bus, lane, blocks)
                only_read.append(await reading(lane, len(blocks), server.url))
                sealed.append(await sealing(bus, lane, server.url, data))
                assert sealed_bytes(data, lane) == made
        finally:
            await bus.close()
            await server.stop()
    return blocks, sealed, only_read


def size_bytes(blocks: list[Block]) -> int:
    return sum(len(block.payload) for block in blocks)


async def measure(frames: int) -> dict[str, object]:
    blocks, sealed, only_read = await measured(frames)
    made = size_bytes(blocks)
    sealing_rate = statistics.median(cost.mb_per_s(made) for cost in sealed)
    reading_rate = statistics.median(cost.mb_per_s(made) for cost in only_read)
    ratio = statistics.median(a.cpu_s / b.cpu_s for a, b in zip(sealed, only_read, strict=True))
    return {
        "benchmark": "segmenter",
        "mb": round(made / MB, 1),
        "blocks": len(blocks),
        "block_bytes": made // len(blocks),
        "mb_per_cpu_s": round(sealing_rate, 1),
        "target_mb_per_cpu_s": TARGET_MB_PER_S,
        "read_only_mb_per_cpu_s": round(reading_rate, 1),
        "ratio_to_read_only": round(ratio, 2),
        "cpu_s": [round(cost.cpu_s, 2) for cost in sealed],
        "wall_s": [round(cost.wall_s, 2) for cost in sealed],
        "ok": sealing_rate >= TARGET_MB_PER_S,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=90_000)
    parser.add_argument("--read", nargs=3, metavar=("URL", "LANE", "LAST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        url, lane, last = arguments.read
        uvloop.run(read(url, Lane.parse(lane), int(last)))
        return 0
    result = asyncio.run(measure(arguments.frames))
    print("| MB | bytes a block | MB per CPU s, to sealed segments | MB per CPU s, read alone | CPU ratio | at least |")
    print("|---|---|---|---|---|---|")
    print(
        "| {mb} | {block_bytes} | {mb_per_cpu_s} | {read_only_mb_per_cpu_s} | {ratio_to_read_only} "
        "| {target_mb_per_cpu_s} |".format(**result)
    )
    print(orjson.dumps(result).decode())
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
