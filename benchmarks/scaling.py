"""Rows per second of one and of two ETL workers, measured, and of four and eight, simulated.

This machine has two cores. What more workers would do is computed from how long each segment took here: whoever is
free takes the next segment, as workers do of the bus. That supposes a core for each worker, and a disk and a bus that
none of them waits for. The same computation stands beside the two measured figures, so that one sees by how much it
errs.
"""

import heapq
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from benchmarks.etl import Way, child, configured
from benchmarks.segments import LANE, Recording

SEGMENTS: Final = 48
SEGMENT_MB: Final = 10
RUNS: Final = 3
MEASURED: Final = (1, 2)
SIMULATED: Final = (4, 8)
WAY: Final = Way("ours", "ours", keep_books=True)


def makespan(services_s: Sequence[float], workers: int) -> float:
    """Return when the last segment is done if whoever is free takes the next."""
    free_s = [0.0] * workers
    for service_s in services_s:
        heapq.heapreplace(free_s, free_s[0] + service_s)
    return max(free_s)


def rows_of(folder: Path) -> int:
    """Return the rows of all datasets below a folder."""
    return sum(pq.ParquetFile(part).metadata.num_rows for part in (folder / "processed").rglob("*.parquet"))


def measure(folder: Path) -> tuple[dict[int, list[list[float]]], int, int]:
    """Return, for each number of workers, the wall seconds of each run with those of its segments; records; rows."""
    recording = Recording()
    segments = [recording.seal(folder / "lane", SEGMENT_MB) for _ in range(SEGMENTS)]
    found: dict[int, list[list[float]]] = {workers: [] for workers in MEASURED}
    rows = 0
    for _ in range(RUNS):
        for workers, runs in found.items():
            with tempfile.TemporaryDirectory(dir=folder) as temp:
                config = configured(WAY, segments, Path(temp))
                output, _ = child(["workers", str(config), str(workers)], folder / "pycache")
                runs.append(output)
                rows = rows_of(Path(temp))
    records = sum(1 for segment in segments for _ in segment.open("rb"))
    return found, records, rows


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temp:
        found, records, rows = measure(Path(temp))
    walls_s = {workers: statistics.median(run[0] for run in runs) for workers, runs in found.items()}
    # Side by side on one machine segments take longer than alone; the simulation takes the longer times.
    services_s = sorted(found[2], key=lambda run: run[0])[len(found[2]) // 2][1:]
    print(f"\n{SEGMENTS} segments of {SEGMENT_MB} MB of lane {LANE}: {records:,} records, {rows:,} rows\n")
    print("| workers | how | wall s | records/s | rows/s | times one | the simulation says, s |")
    print("|---|---|---|---|---|---|---|")
    alone_s = sorted(found[1], key=lambda run: run[0])[len(found[1]) // 2][1:]
    for workers in (*MEASURED, *SIMULATED):
        simulated_s = makespan(alone_s if workers == 1 else services_s, workers)
        wall_s = walls_s.get(workers, simulated_s)
        how = "measured" if workers in walls_s else "simulated"
        cells = (workers, how, f"{wall_s:.2f}", f"{records / wall_s:,.0f}", f"{rows / wall_s:,.0f}")
        print("| " + " | ".join(map(str, (*cells, f"{walls_s[1] / wall_s:.2f}", f"{simulated_s:.2f}"))) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
