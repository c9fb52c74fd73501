"""The collector over time: 20 markets in 3 channels each, about 3000 frames a second, for ten minutes.

A simulated Binance in a process of its own, the true collector, a real server that syncs every acknowledged block.
Memory is looked at every five seconds, from the second minute on. Lag is from when the simulator's ledger says that a
book's frame left to its record's stamp, of the records of the newest block four times a second. Lost is what the
venue's numbers show missing (`gap`), what was dropped, and what was not stored. Needs Linux.
Run: `.venv/bin/python -m benchmarks.soak [--seconds 600] [--speed 10]`.
"""

import argparse
import asyncio
import os
import signal
import socket
import statistics
import sys
import tempfile
import urllib.request
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks.collector import LANE, open_lane
from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, JetStreamBus, connect
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.record import read_data, read_envelope

BASES = (
    *("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "LTC", "LINK", "AVAX"),
    *("DOT", "UNI", "ATOM", "NEAR", "TRX", "ETC", "FIL", "APT", "ARB", "OP"),
)
CHANNELS = ("watchOrderBook", "watchTrades", "watchTicker")
WARM_S = 60.0
_LOOK_S = 0.25
_MEMORY_EVERY = 20
_RECORDS = "fluxforge_collector_records_total"
_MS = 1_000_000
LEDGER = "ledger.ndjson"


@dataclass
class Seen:
    """What was seen of a run; memory as (s, MB)."""

    stamps: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of book records, by market and the venue's id: when they were captured, ns UTC."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    records_per_s: float = 0.0

    def lags_ms(self, ledger: Path) -> list[float]:
        """Return the lags of the records that were looked at, by what the simulator says it sent."""
        lags = []
        with ledger.open("rb") as lines:
            for line in lines:
                told = orjson.loads(line)
                if told["kind"] == "data" and told["channel"] == "orderbook":
                    stamp_ns = self.stamps.get((told["symbol"], told["key"][-1]))
                    lags += [] if stamp_ns is None else [(stamp_ns - told["sent_ns"]) / _MS]
        return lags

    @property
    def slope_mb_per_min(self) -> float:
        """Of memory over time, by least squares."""
        times, sizes = zip(*self.memory, strict=True)
        return 60 * statistics.linear_regression(times, sizes).slope


async def soak(seconds: float, speed: float, data: Path) -> tuple[Seen, dict[str, int]]:
    """Run everything; return what was seen and what the collector said at its end."""
    server = EmbeddedNats(data / "nats", 8_388_608)
    await server.start()
    try:
        options = BusOptions(servers=(server.url,))
        await provision(options)
        bus = await connect(options, name="bench")
        await open_lane(bus)
        simulator, port = await _simulator(speed, data / LEDGER)
        try:
            config = data / "config.json"
            telemetry = _free_port()
            config.write_bytes(_configuration(server.url, port, telemetry, data))
            command = (sys.executable, "-m", "fluxforge_collector", "--config", str(config), "--exchange", "binance")
            collector = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
            seen = await _watch(bus, collector.pid, telemetry, seconds)
            gaps = round(await _metric(telemetry, "fluxforge_collector_control_records_total", 'event="gap"'))
            collector.send_signal(signal.SIGTERM)
            output, _ = await collector.communicate()
        finally:
            simulator.terminate()
            await simulator.wait()
        said = orjson.loads(output)
        found = {"gaps": gaps, **{name: said[name] for name in ("captured", "stored", "dropped")}}
        await bus.close()
    finally:
        await server.stop()
    return seen, found


async def _simulator(speed: float, ledger: Path) -> tuple[Process, int]:
    command = ("-m", "fluxforge_simulator", "--exchange", "binance", "--speed", str(speed), "--ledger", str(ledger))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    assert process.stdout is not None
    line = orjson.loads(await process.stdout.readline())
    return process, int(line["port"])


def _configuration(url: str, port: int, telemetry: int, data: Path) -> bytes:
    markets = [f"{base}/USDT" for base in BASES]
    channels = dict.fromkeys(CHANNELS, markets)
    exchange = {"via": f"127.0.0.1:{port}", "max_orderbook_depth": 10, "channels": channels}
    return orjson.dumps(
        {
            "nats": {"servers": [url]},
            "storage": {"scratch_dir": str(data)},
            "telemetry": {"port": telemetry},
            "log_level": "ERROR",
            "ccxt": {"exchanges": {"binance": exchange}},
        }
    )


async def _watch(bus: JetStreamBus, pid: int, telemetry: int, seconds: float) -> Seen:
    seen, loop = Seen(), asyncio.get_running_loop()
    await asyncio.sleep(WARM_S)
    began_s, looks, before = loop.time(), 0, await _metric(telemetry, _RECORDS)
    while loop.time() - began_s < seconds:
        stored = await bus.streams.last(LANE, 1)
        for line in stored.block.payload.splitlines() if stored else ():
            envelope = read_envelope(line)
            if envelope.channel == "orderbook" and envelope.market:
                seen.stamps[envelope.market, orjson.loads(read_data(line + b"\n"))["nonce"]] = envelope.capture_ns
        if looks % _MEMORY_EVERY == 0:
            seen.memory.append((loop.time() - began_s, _rss_mb(pid)))
        looks += 1
        await asyncio.sleep(_LOOK_S)
    seen.records_per_s = (await _metric(telemetry, _RECORDS) - before) / (loop.time() - began_s)
    return seen


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _metric(port: int, name: str, label: str = "") -> float:
    """Return the sum of a metric's samples whose labels hold `label`."""
    with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and label in line)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> int:
    """Print the table; return 1 if something was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--speed", type=float, default=10.0, help="of the simulated markets")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen, found = asyncio.run(soak(arguments.seconds, arguments.speed, Path(folder)))
        lags = statistics.quantiles(seen.lags_ms(Path(folder) / LEDGER), n=1000)
    lost = found["gaps"] + found["dropped"] + found["captured"] - found["stored"]
    sizes = [size for _, size in seen.memory]
    print("| records/s | lag p50, ms | p99 | p99.9 | memory, MB, first and last | slope, MB/min | captured | lost |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {seen.records_per_s:,.0f} | {lags[499]:.1f} | {lags[989]:.1f} | {lags[998]:.1f} "
        f"| {sizes[0]:.0f}, {sizes[-1]:.0f} | {seen.slope_mb_per_min:+.2f} | {found['captured']:,} | {lost} |"
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
