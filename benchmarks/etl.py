"""ETL: MB/s of CPU from sealed segment to partitioned Parquet, `etl run` in a process of its own.

Input: 100 MB of 50-level books of three symbols, every level new in each update. One thread. CPU seconds are those of
the whole child process, imports included. The bare operation beside it parses the same lines with the same parser into
the same arrays and drops them. Each figure is the median of three pairs.
Run: `.venv/bin/python -m benchmarks.etl [--mb 100]`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson

from fluxforge.domain.record import Feed, RecordWriter

SIZE_MB = 100
LEVELS = 50
RUNS = 3
T0 = 1_765_288_800_000_000_000
MARKETS = (("BTC/USDT", 65_000.0, 2), ("ETH/USDT", 3_200.0, 2), ("SOL/USDT", 150.0, 3))
RUN = """
import sys
import pyarrow as pa
pa.set_cpu_count(1)
pa.set_io_thread_count(1)
from pathlib import Path
from fluxforge.runtime.settings import load
from fluxforge_etl_worker.folder import run_folder
summary = run_folder(load(Path(sys.argv[1])))
assert summary.processed == 1 and not summary.dead, summary
print(sum(rows for name, rows in summary.rows.items() if name == "orderbook/books"))
"""

BARE = """
import sys
from simdjson import Parser
parser = Parser()
books = 0
for line in open(sys.argv[1], "rb"):
    data = parser.parse(line)["data"]
    data["bids"].as_buffer(of_type="d"), data["asks"].as_buffer(of_type="d")
    del data
    books += 1
print(books)
"""
TARGET_MB_PER_S = 40


@dataclass(frozen=True)
class Result:
    hf_emit_interval: float
    megabytes: float
    books: int
    cpu_s: float
    mb_per_cpu_s: float
    books_per_cpu_s: float
    ratio_to_bare: float
    rss_mb_peak: float


def lines(size_bytes: int) -> Iterator[bytes]:
    """Yield book records whose prices drift and whose levels are all new each time."""
    chance = np.random.default_rng(7)
    writers = [RecordWriter(Feed("ccxt", "binance", "orderbook", market), "9f3c21ab") for market, _, _ in MARKETS]
    mids = [mid for _, mid, _ in MARKETS]
    seqs = [0] * len(MARKETS)
    at, written = T0, 0
    while written < size_bytes:
        i = int(chance.integers(len(MARKETS)))
        market, _, digits = MARKETS[i]
        tick = 10.0**-digits
        seqs[i] += 1
        mids[i] *= 1 + chance.normal() * 1e-5
        steps = np.cumsum(chance.integers(1, 8, (2, LEVELS)), axis=1) * tick
        sizes = np.round(chance.exponential(1.0, (2, LEVELS)) + 1e-5, 5)
        bids, asks = np.round(mids[i] - steps[0], digits), np.round(mids[i] + steps[1], digits)
        at += int(chance.integers(1_000_000, 20_000_000))
        data = {
            "symbol": market,
            "bids": list(zip(bids.tolist(), sizes[0].tolist(), strict=True)),
            "asks": list(zip(asks.tolist(), sizes[1].tolist(), strict=True)),
            "timestamp": at // 1_000_000,
            "datetime": "2025-12-09T14:00:00.000Z",
            "nonce": seqs[i],
        }
        line = writers[i].line(conn=1, seq=seqs[i], capture_ns=at, exchange_ms=at // 1_000_000, data=orjson.dumps(data))
        written += len(line)
        yield line


def measure(segment: Path, interval: float, folder: Path) -> tuple[float, int, float]:
    """Run the ETL once over the segment; return CPU seconds, books and peak RSS of the child."""
    ready = folder / "raw/ready/ccxt/binance-0of1"
    ready.mkdir(parents=True)
    for file in segment.parent.iterdir():
        os.link(file, ready / file.name)
    config = folder / "config.yaml"
    store = f'{{base_dir: "{folder}"}}'
    config.write_text(
        f"storage: {{etl_storage_input: {store}, etl_storage_output: {store}}}\n"
        f"etl: {{channels: {{orderbook: {{processor_options: {{hf_emit_interval: {interval}}}}}}}}}\n"
    )
    return child(RUN, config, segment.parent.parent / "pycache")


def child(script: str, argument: Path, bytecode: Path) -> tuple[float, int, float]:
    """Run a script with one thread; return its CPU seconds, the number it prints, and its peak RSS in MB."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"PYTHONPYCACHEPREFIX": str(bytecode)}
    process = subprocess.Popen([sys.executable, "-c", script, argument], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the measured process failed"
    return usage.ru_utime + usage.ru_stime, int(output), usage.ru_maxrss / 1000


def adopted(folder: Path, size_mb: int) -> Path:
    """Write the segment, and let one run give it its manifest: a sealed segment has one."""
    folder.mkdir()
    segment = folder / "segment_20251209T14_00001.ndjson"
    with segment.open("wb") as file:
        file.writelines(lines(size_mb * 1_000_000))
    first = folder.parent / "first"
    measure(segment, 1.0, first)
    manifest = next(first.rglob("*.manifest.json"))
    (folder / manifest.name).write_bytes(manifest.read_bytes())
    return segment


def compare(segment: Path, interval: float, folder: Path) -> Result:
    """Measure the ETL and the bare operation in turn, on fresh output each."""
    megabytes = segment.stat().st_size / 1e6
    ours, bare = [], []
    for run in range(RUNS):
        ours.append(measure(segment, interval, folder / f"run-{interval}-{run}"))
        bare.append(child(BARE, segment, folder / "pycache"))
    cpu_s = statistics.median(cpu_s for cpu_s, _, _ in ours)
    return Result(
        hf_emit_interval=interval,
        megabytes=megabytes,
        books=ours[0][1],
        cpu_s=cpu_s,
        mb_per_cpu_s=megabytes / cpu_s,
        books_per_cpu_s=ours[0][1] / cpu_s,
        ratio_to_bare=statistics.median(a[0] / b[0] for a, b in zip(ours, bare, strict=True)),
        rss_mb_peak=max(rss_mb for _, _, rss_mb in ours),
    )


def main() -> int:
    """Print the table for people and one JSON line for machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=SIZE_MB)
    size_mb = parser.parse_args().mb
    with tempfile.TemporaryDirectory() as temp:
        segment = adopted(Path(temp) / "segment", size_mb)
        results = [compare(segment, interval, Path(temp)) for interval in (1.0, 0.0)]
    print(
        "| hf_emit_interval | MB | CPU s | MB per CPU s | books per CPU s | CPU to parsing alone | RSS MB | at least |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for r in results:
        target = f"{TARGET_MB_PER_S} MB per CPU s" if r.hf_emit_interval else ""
        rates = f"{r.mb_per_cpu_s:.1f} | {r.books_per_cpu_s:.0f} | {r.ratio_to_bare:.2f}"
        target = TARGET_MB_PER_S if r.hf_emit_interval else ""
        print(
            f"| {r.hf_emit_interval} | {r.megabytes:.1f} | {r.cpu_s:.2f} | {rates} | {r.rss_mb_peak:.0f} | {target} |"
        )
    print(orjson.dumps({"benchmark": "etl", "runs": RUNS, "results": [asdict(r) for r in results]}).decode())
    return 0 if results[0].mb_per_cpu_s >= TARGET_MB_PER_S else 1


if __name__ == "__main__":
    sys.exit(main())
