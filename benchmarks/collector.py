"""The collector's cost: CPU seconds of its process at a paced load, against bare ccxt.pro that drops its updates.

3000 depth updates a second of 20 levels, over 1 and over 10 symbols; the collector with a real server that syncs every
acknowledged block; the bare operation with the same event loop and the same subscription, awaiting
`watch_order_book_for_symbols` and doing nothing with what it returns.
Interleaved pairs, median of their ratios. CPU is counted from the first frame to the last one acknowledged, without
what starting the interpreter takes. Needs Linux. Run: `.venv/bin/python -m benchmarks.collector [--frames 30000]`.
"""

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ccxt.pro
import orjson
import uvloop

from benchmarks.cpu import cpu_s
from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.lane import Lane
from fluxforge_collector.via import lead_via
from fluxforge_simulator.options import LoadPlan, SimulateOptions
from fluxforge_simulator.simulator import Simulator

PAIRS = 3
RATE_HZ = 3_000.0
LEVELS = 20
TARGETS = {1: 1.35, 10: 1.35}
SYMBOLS = [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LTC", "LINK", "AVAX", "BNB")]
LANE = Lane("ccxt", "binance", "0of1")


@dataclass(frozen=True)
class Run:
    cpu_s: float
    wall_s: float
    captured: int | None = None


async def watch_and_drop(port: int, symbols: list[str]) -> None:
    """The bare operation: what ccxt's manual tells a person to write, less doing anything with the book."""
    exchange = ccxt.pro.binance({"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
    exchange.urls = lead_via(exchange.urls, f"127.0.0.1:{port}")
    exchange.has["fetchCurrencies"] = False
    await exchange.load_markets()

    while True:
        await exchange.watch_order_book_for_symbols(symbols)


async def run(command: list[str], simulator: Simulator, symbols: int) -> Run:
    """Run a client over one load; it is measured from when all its books are there."""
    loop = asyncio.get_running_loop()
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while all(len(stage.books_answered) < symbols for stage in simulator._markets):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        cpu_begin, wall_begin = cpu_s(process.pid), loop.time()
        async with asyncio.timeout(120):
            await simulator.finished.wait()
        await asyncio.sleep(0.3)  # what was read last is acknowledged
        spent = Run(cpu_s(process.pid) - cpu_begin, loop.time() - wall_begin)
    finally:
        process.send_signal(signal.SIGTERM)
        output = await process.stdout.read()
        await process.wait()
    return replace(spent, captured=orjson.loads(output)["captured"]) if output else spent


async def run_bare(frames: int, symbols: int) -> Run:
    async with Simulator(options(frames, symbols)) as simulator:
        command = [sys.executable, "-m", "benchmarks.collector", "--bare", str(simulator.port), str(symbols)]
        return await run(command, simulator, symbols)


async def run_collector(frames: int, symbols: int, data: Path) -> Run:
    server = EmbeddedNats(data / "nats", 8_388_608)
    await server.start()
    try:
        bus_options = BusOptions(servers=(server.url,))
        await provision(bus_options)
        bus = await connect(bus_options, name="bench")
        await open_lane(bus)
        async with Simulator(options(frames, symbols)) as simulator:
            config = data / "config.yaml"
            config.write_bytes(orjson.dumps(configuration(server.url, simulator.port, symbols, data)))
            command = [sys.executable, "-m", "fluxforge_collector", "--config", str(config), "--exchange", "binance"]
            spent = await run(command, simulator, symbols)
        await bus.close()
    finally:
        await server.stop()
    assert spent.captured is not None
    assert spent.captured >= frames, f"{spent.captured} records of {frames} frames"
    return spent


async def open_lane(bus: JetStreamBus) -> None:
    """What a collector and a segmenter do for a new lane."""
    await bus.states.create(LANE)
    await bus.streams.create(LANE, 1)
    state = await bus.states.get(LANE)
    assert state is not None
    await bus.states.update(LANE, replace(state.state, epoch=1), state.revision)


def options(frames: int, symbols: int) -> SimulateOptions:
    return SimulateOptions(
        exchange="binance", load=LoadPlan(frames=frames, rate_hz=RATE_HZ, levels=LEVELS, symbols=symbols, settle_s=0.5)
    )


def configuration(url: str, port: int, symbols: int, data: Path) -> dict[str, Any]:
    return {
        "nats": {"servers": [url]},
        "storage": {"scratch_dir": str(data)},
        "telemetry": {"port": 0},
        "log_level": "ERROR",
        "ccxt": {
            "exchanges": {
                "binance": {"via": f"127.0.0.1:{port}", "channels": {"watchOrderBook": SYMBOLS[:symbols]}},
            }
        },
    }


async def measure(frames: int, symbols: int) -> dict[str, object]:
    bare, ours = [], []
    for _ in range(PAIRS):
        bare.append(await run_bare(frames, symbols))
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            ours.append(await run_collector(frames, symbols, Path(folder)))
    ratio = statistics.median(mine.cpu_s / theirs.cpu_s for mine, theirs in zip(ours, bare, strict=True))
    return {
        "benchmark": "collector",
        "symbols": symbols,
        "frames": frames,
        "rate_hz": RATE_HZ,
        "ratio_to_bare": round(ratio, 3),
        "target_ratio": TARGETS[symbols],
        "cpu_s": [round(spent.cpu_s, 2) for spent in ours],
        "bare_cpu_s": [round(spent.cpu_s, 2) for spent in bare],
        "wall_s": [round(spent.wall_s, 1) for spent in (*ours, *bare)],
        "ok": ratio <= TARGETS[symbols],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=30_000)
    parser.add_argument("--bare", nargs=2, type=int, metavar=("PORT", "SYMBOLS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        port, symbols = arguments.bare
        uvloop.run(watch_and_drop(port, SYMBOLS[:symbols]))
        return 0
    results = [asyncio.run(measure(arguments.frames, symbols)) for symbols in TARGETS]
    print("| symbols | CPU s, collector | CPU s, bare ccxt.pro | ratio | at most |")
    print("|---|---|---|---|---|")
    for result in results:
        print("| {symbols} | {cpu_s} | {bare_cpu_s} | {ratio_to_bare} | {target_ratio} |".format(**result))
    for result in results:
        print(orjson.dumps(result).decode())
    return 0 if all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
