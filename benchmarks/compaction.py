"""Compaction: MB of parts merged per CPU second, against DuckDB sorting the same files into one, and what readers gain.

Ours hashes every row, reads its output again and syncs it; DuckDB sorts and writes. Each runs in a process of its own,
one after the other, three times.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from fluxforge.adapters.local_partitions import LocalPartitions
from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.dataset.rewrite.candidates import Looker
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import part_name
from fluxforge.runtime.parquet import open_writer
from fluxforge_compactor.compact import Compactor, Policy
from fluxforge_compactor.plan import MergePolicy

LANE = Lane("ccxt", "binance", "0of1")
BEGIN_US = 1_765_288_800_000_000
TIMES = 3
SPEED_AT_LEAST = 1.0
RSS_MB_AT_MOST = 800
PARTITION = "exchange=binance/symbol=BTC-USDT/date=2025-12-09"


def keys(number: int, rows: int, seconds: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    ts = np.sort(BEGIN_US + number * seconds * 1_000_000 + rng.integers(0, seconds * 1_000_000, rows))
    text = {"exchange": "binance", "symbol": "BTC-USDT"}
    return {
        **{name: pa.array([value] * rows).dictionary_encode() for name, value in text.items()},
        "market": pa.array(["BTC/USDT"] * rows),
        "ts": pa.array(ts, pa.timestamp("us", "UTC")),
        "capture_ns": pa.array(ts * 1000),
        "exchange_ms": pa.array(ts // 1000),
        "boot": pa.array(["9f3c21ab"] * rows),
        "seq": pa.array(np.arange(number * rows, (number + 1) * rows)),
    }


def trades(number: int, rows: int, rng: np.random.Generator) -> pa.Table:
    price = np.round(60_000 + np.cumsum(rng.normal(0, 1, rows)), 2)
    amount = np.round(rng.exponential(1, rows), 4)
    return pa.table(
        {
            **keys(number, rows, 60, rng),
            "idx": pa.array(np.zeros(rows, np.int32)),
            "trade_id": pa.array((np.arange(number * rows, (number + 1) * rows) + 10**9).astype(str)),
            "side": pa.array(np.where(rng.random(rows) < 0.5, "buy", "sell")),
            "price": price,
            "amount": amount,
            "cost": price * amount,
            "resent": pa.array(np.zeros(rows, np.bool_)),
        }
    )


def features(number: int, rows: int, rng: np.random.Generator) -> pa.Table:
    columns = {f"feature_{n}": rng.normal(0, 1, rows) for n in range(116)}
    return pa.table({**keys(number, rows, 3600, rng), "book_state": pa.array(["synced"] * rows), **columns})


DATASETS: dict[str, tuple[Callable[[int, int, np.random.Generator], pa.Table], int, int]] = {
    "trades": (trades, 1000, 10_000),
    "orderbook/hf": (features, 300, 3_600),
}


def fill(base: Path, dataset: str) -> tuple[int, int]:
    """Write the parts of a dataset; return how many and how many bytes."""
    make, parts, rows = DATASETS[dataset]
    rng, size_bytes = np.random.default_rng(1), 0
    place = base / "processed" / "ccxt" / dataset / PARTITION
    place.mkdir(parents=True)
    raw = LocalStore(base, sync=False)
    for number in range(parts):
        segment = f"segment_20251209T14_{number:05d}"
        path = place / part_name(LANE, segment)
        table = make(number, rows, rng)
        told = {"dataset": dataset, "lane": str(LANE), "segment": segment, "schema_version": "3"}
        with open_writer(str(path), table.schema, "zstd") as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({f"fluxforge.{name}": value for name, value in told.items()})
        raw.create(Layout().placed_key(LANE, segment), b"{}\n")
        size_bytes += path.stat().st_size
    return parts, size_bytes


def ours(base: Path, dataset: str) -> None:
    store = LocalStore(base)
    policy = Policy(MergePolicy(2, 1, 10**12), quiet_ns=0, grace_ns=0, compression="zstd")
    compactor = Compactor(Looker(store, store, Layout()), LocalPartitions(store), policy, SystemClock())
    assert len(compactor.compact(f"processed/ccxt/{dataset}/{PARTITION}").merges) == 1


def by_duckdb(base: Path, dataset: str) -> None:
    with duckdb.connect() as database:
        glob = base / "processed" / "ccxt" / dataset / PARTITION / "*.parquet"
        order = "ts, capture_ns, seq" + (", idx" if dataset == "trades" else "")
        rows = f"SELECT * FROM read_parquet('{glob}', hive_partitioning = false) ORDER BY {order}"
        database.execute(f"COPY ({rows}) TO '{base}/sorted.parquet' (FORMAT parquet, COMPRESSION zstd)")


def query_s(base: Path, dataset: str) -> float:
    """Return how long a query of one column takes over all files of a dataset."""
    column = "price" if dataset == "trades" else "feature_1"
    began = time.perf_counter()
    pl.scan_parquet(base / "processed/ccxt" / dataset / "**/*.parquet", hive_partitioning=False).select(
        pl.col(column).mean()
    ).collect()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Cost:
    """What one merge took."""

    wall_s: float
    cpu_s: float
    rss_mb: float


def child(what: str, base: Path, dataset: str) -> Cost:
    """Run one merge in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.compaction", what, str(base), dataset]
    return Cost(*orjson.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def measure(dataset: str) -> tuple[list[str], list[str], bool]:
    runs: dict[str, list[Cost]] = {"ours": [], "duckdb": []}
    queries: dict[str, list[float]] = {"before": [], "after": []}
    parts = size_bytes = 0
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            parts, size_bytes = fill(base, dataset)
            query_s(base, dataset)
            queries["before"].append(min(query_s(base, dataset) for _ in range(3)))
            runs["duckdb"].append(child("duckdb", base, dataset))
            runs["ours"].append(child("ours", base, dataset))
            queries["after"].append(min(query_s(base, dataset) for _ in range(3)))
    seconds = {name: statistics.median(cost.cpu_s for cost in found) for name, found in runs.items()}
    rss_mb = {name: max(cost.rss_mb for cost in found) for name, found in runs.items()}
    pairs = list(zip(runs["ours"], runs["duckdb"], strict=True))
    ratio = statistics.median(other.cpu_s / own.cpu_s for own, other in pairs)
    wall_ratio = statistics.median(other.wall_s / own.wall_s for own, other in pairs)
    speed = [f"{size_bytes / 1e6 / seconds[name]:.0f}" for name in ("ours", "duckdb")]
    before, after = (statistics.median(found) for found in queries.values())
    merges = [dataset, str(parts), f"{size_bytes / 1e6:.0f}", *speed, f"{ratio:.2f}", f"{SPEED_AT_LEAST}"]
    merges += [f"{wall_ratio:.2f}"]
    merges += [f"{rss_mb['ours']:.0f}", f"{RSS_MB_AT_MOST}", f"{rss_mb['duckdb']:.0f}"]
    read = [dataset, str(parts), f"{before * 1000:.0f}", f"{after * 1000:.0f}", f"{before / after:.1f}"]
    return merges, read, ratio >= SPEED_AT_LEAST and rss_mb["ours"] <= RSS_MB_AT_MOST


def main() -> int:
    found = [measure(dataset) for dataset in DATASETS]
    heads = [
        "dataset",
        "parts",
        "MB",
        "MB per CPU s",
        "DuckDB",
        "ratio",
        "at least",
        "ratio of wall times",
        "RSS MB",
        "at most",
        "RSS MB, DuckDB",
    ]
    print("|" + "|".join(f" {head} " for head in heads) + "|\n" + "|---" * len(heads) + "|")
    for merges, _, _ in found:
        print("| " + " | ".join(merges) + " |")
    heads = ["dataset", "parts", "query of all parts, ms", "of the merged file, ms", "times as fast"]
    print("\n|" + "|".join(f" {head} " for head in heads) + "|\n" + "|---" * len(heads) + "|")
    for _, read, _ in found:
        print("| " + " | ".join(read) + " |")
    return 0 if all(is_met for _, _, is_met in found) else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run = {"ours": ours, "duckdb": by_duckdb}[sys.argv[1]]
        began_s, used_s = time.perf_counter(), time.process_time()
        run(Path(sys.argv[2]), sys.argv[3])
        wall, used = time.perf_counter() - began_s, time.process_time() - used_s
        print(orjson.dumps([wall, used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]).decode())
        sys.exit(0)
    sys.exit(main())
