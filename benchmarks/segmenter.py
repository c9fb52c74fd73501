"""The segmenter's cost: CPU seconds of its process from a lane's stream to sealed segments, on a server that syncs.

Prints MB of NDJSON per CPU second (user + system, start of the interpreter included), median of three runs, beside the
bare operation: a process that only reads the same stream. Run: `.venv/bin/python benchmarks/segmenter.py [--mb 400]`.
"""

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge.domain.segment import Manifest

RUNS = 3
FEEDS = 10
RECORDS = 100
BLOCK_BYTES = 131_072
BEGIN_NS = 1_765_288_800_000_000_000
MB = 1_000_000
TARGET_MB_PER_S = 60


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    wall_s: float

    def mb_per_s(self, size_bytes: int) -> float:
        return size_bytes / MB / self.cpu_s


def made_blocks(size_bytes: int) -> list[Block]:
    """Blocks as a collector cuts them: 10 books of 20 levels in turn, records of about 1.2 KB."""
    chance = random.Random(7)
    feeds = [Feed("ccxt", "binance", "orderbook", f"C{n}/USDT") for n in range(FEEDS)]
    writers = [RecordWriter(feed, "be9c0000") for feed in feeds]
    books = [book(chance) for _ in range(200)]
    seqs, blocks, capture_ns, made = [0] * FEEDS, [], BEGIN_NS, 0
    while made < size_bytes:
        lines, first, begin, size = [], list(seqs), capture_ns + 1, 0
        while len(lines) < RECORDS and size < BLOCK_BYTES - 2_000:
            n = (len(blocks) + len(lines)) % FEEDS
            capture_ns += 300_000
            seqs[n] += 1
            lines.append(
                writers[n].line(
                    conn=1,
                    seq=seqs[n],
                    capture_ns=capture_ns,
                    exchange_ms=capture_ns // MB,
                    data=books[chance.randrange(len(books))],
                )
            )
            size += len(lines[-1])
        ranges = tuple(
            FeedRange(feeds[n].channel, feeds[n].symbol, first[n] + 1, seqs[n], seqs[n] - first[n])
            for n in range(FEEDS)
            if seqs[n] > first[n]
        )
        after = blocks[-1].id if blocks else None
        blocks.append(Block(BlockId("be9c0000", len(blocks) + 1), after, begin, capture_ns, ranges, b"".join(lines)))
        made += size
    return blocks


def book(chance: random.Random) -> bytes:
    mid = chance.uniform(20_000, 60_000)
    sides = {
        side: [[round(mid + sign * (n + 1) * 0.37, 2), round(chance.expovariate(1), 6)] for n in range(20)]
        for side, sign in (("bids", -1), ("asks", 1))
    }
    stamp = {"timestamp": 1765288799991, "datetime": "2025-12-09T13:59:59.991Z", "nonce": chance.randrange(10**10)}
    return orjson.dumps({"symbol": "BTC/USDT", **sides, **stamp})


async def publish(bus: JetStreamBus, lane: Lane, blocks: list[Block]) -> None:
    await bus.states.create(lane)
    publisher = await bus.publisher(lane, 1, after=None, window_blocks=64)
    for block in blocks:
        await publisher.publish(block)
    assert await publisher.settle(timeout_s=60)
    await publisher.close()


def waited(process: subprocess.Popen[bytes], began_s: float) -> Cost:
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"{process.args!r} failed"
    process.returncode = 0
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began_s)


async def sealing(bus: JetStreamBus, lane: Lane, last: int, url: str, data: Path) -> Cost:
    environment = {
        **os.environ,
        "FLUXFORGE__NATS__SERVERS": f'["{url}"]',
        "FLUXFORGE__STORAGE__SCRATCH_DIR": str(data),
        "FLUXFORGE__STORAGE__INGESTION_STORAGE__BASE_DIR": str(data),
        "FLUXFORGE__TELEMETRY__PORT": "0",
        "FLUXFORGE__LOG_LEVEL": "ERROR",
    }
    began_s = time.monotonic()
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-m", "fluxforge_segmenter"], env=environment, stdout=subprocess.DEVNULL
    )
    while True:
        found = await bus.states.get(lane)
        assert found is not None
        assert process.poll() is None, "the segmenter ended"
        if found.state.sealed_seq + 1_000 >= last:  # the rest is sealed by the drain
            break
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(waited, process, began_s)


async def reading(lane: Lane, last: int, url: str) -> Cost:
    began_s = time.monotonic()
    command = [sys.executable, __file__, "--read", url, str(lane), str(last)]
    process = await asyncio.to_thread(subprocess.Popen, command)
    return await asyncio.to_thread(waited, process, began_s)


async def read(url: str, lane: Lane, last: int) -> None:
    """The bare operation: the stream from its beginning to `last`, and nothing done with it."""
    bus = await connect(BusOptions(servers=(url,)), name="bench-read")
    reader = bus.reader(lane, 1, from_seq=1)
    seq = 0
    while seq < last:
        blocks = await reader.fetch(blocks_max=64, wait_s=5)
        seq = blocks[-1].stream_seq
    await reader.close()
    await bus.close()


def sealed_bytes(data: Path, lane: Lane) -> int:
    folder = data / "raw" / "ready" / lane.folder
    return sum(Manifest.from_json(path.read_bytes()).size_bytes for path in folder.glob("*.manifest.json"))


async def measured(blocks: list[Block], made: int) -> tuple[list[Cost], list[Cost]]:
    """The costs of sealing and of reading alone, in turn, each run in a lane of its own."""
    sealed, only_read = [], []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        data = Path(folder)
        server = EmbeddedNats(data / "nats", 8_388_608)
        await server.start()
        options = BusOptions(servers=(server.url,), lane_max_bytes=2 * made)
        await provision(options)
        bus = await connect(options, name="bench")
        try:
            for run in range(RUNS):
                lane = Lane("ccxt", f"bench{run}", "0of1")
                await bus.streams.create(lane, 1)
                await publish(bus, lane, blocks)
                only_read.append(await reading(lane, len(blocks), server.url))
                sealed.append(await sealing(bus, lane, len(blocks), server.url, data))
                assert sealed_bytes(data, lane) == made
        finally:
            await bus.close()
            await server.stop()
    return sealed, only_read


async def measure(size_bytes: int) -> dict[str, object]:
    blocks = made_blocks(size_bytes)
    made = sum(len(block.payload) for block in blocks)
    sealed, only_read = await measured(blocks, made)
    sealing_rate = statistics.median(cost.mb_per_s(made) for cost in sealed)
    reading_rate = statistics.median(cost.mb_per_s(made) for cost in only_read)
    return {
        "benchmark": "segmenter",
        "mb": round(made / MB, 1),
        "blocks": len(blocks),
        "block_bytes": made // len(blocks),
        "mb_per_cpu_s": round(sealing_rate, 1),
        "target_mb_per_cpu_s": TARGET_MB_PER_S,
        "read_only_mb_per_cpu_s": round(reading_rate, 1),
        "ratio_to_read_only": round(reading_rate / sealing_rate, 2),
        "cpu_s": [round(cost.cpu_s, 2) for cost in sealed],
        "wall_s": [round(cost.wall_s, 2) for cost in sealed],
        "ok": sealing_rate >= TARGET_MB_PER_S,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=400)
    parser.add_argument("--read", nargs=3, metavar=("URL", "LANE", "LAST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        url, lane, last = arguments.read
        asyncio.run(read(url, Lane.parse(lane), int(last)))
        return 0
    result = asyncio.run(measure(arguments.mb * MB))
    print(orjson.dumps(result).decode())
    print(f"\n{'operation':<34}{'MB per CPU second':>20}")
    print(f"{'stream -> sealed segment':<34}{result['mb_per_cpu_s']:>20}")
    print(f"{'stream read, nothing done with it':<34}{result['read_only_mb_per_cpu_s']:>20}")
    print(f"{'at least':<34}{TARGET_MB_PER_S:>20}")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
