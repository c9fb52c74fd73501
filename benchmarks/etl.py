"""ETL: MB/s of CPU from sealed segment to partitioned Parquet, `etl run` in a process of its own.

Input: 100 MB of 50-level books of three symbols, every level new in each update. One thread. CPU seconds are those of
the whole child process, imports included; each figure is the median of three runs on fresh output.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
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


@dataclass(frozen=True)
class Result:
    hf_emit_interval: float
    megabytes: float
    books: int
    cpu_s: float
    mb_per_cpu_s: float
    books_per_cpu_s: float
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
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"PYTHONPYCACHEPREFIX": str(segment.parent.parent / "pycache")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", RUN, config], env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, int(done.stdout), after.ru_maxrss / 1000


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


def main() -> None:
    """Print the table for people and one JSON line for machines."""
    parser = argparse.ArgumentParser(description="Benchmark the ETL worker.")
    parser.add_argument("--mb", type=int, default=SIZE_MB)
    size_mb = parser.parse_args().mb
    started_s = time.monotonic()
    results = []
    with tempfile.TemporaryDirectory() as temp:
        segment = adopted(Path(temp) / "segment", size_mb)
        megabytes = segment.stat().st_size / 1e6
        for interval in (1.0, 0.0):
            runs = [measure(segment, interval, Path(temp) / f"run-{interval}-{n}") for n in range(RUNS)]
            cpu_s = statistics.median(run[0] for run in runs)
            books = runs[0][1]
            rss_mb = max(run[2] for run in runs)
            results.append(Result(interval, megabytes, books, cpu_s, megabytes / cpu_s, books / cpu_s, rss_mb))
    print(f"{'hf_emit_interval':>16} {'MB':>7} {'CPU s':>7} {'MB/s':>7} {'books/s':>9} {'RSS MB':>7}")
    for r in results:
        print(
            f"{r.hf_emit_interval:>16} {r.megabytes:>7.1f} {r.cpu_s:>7.2f} {r.mb_per_cpu_s:>7.1f} "
            f"{r.books_per_cpu_s:>9.0f} {r.rss_mb_peak:>7.0f}"
        )
    report = {"benchmark": "etl", "runs": RUNS, "took_s": round(time.monotonic() - started_s, 1)}
    print(orjson.dumps(report | {"results": [asdict(result) for result in results]}).decode())


if __name__ == "__main__":
    main()
