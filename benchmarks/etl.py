"""ETL: from a sealed segment to partitioned Parquet with every feature, beside plain conversions without any.

Input: 50-level books of three symbols, every level new in each update, and a record of one to three trades per five
books; 100 MB where nothing else is said. Every conversion runs in a process of its own on one thread, all of them in
turn, three times; medians. "CPU s" is the conversion alone, since a worker lives long; "with start" is the whole
process, imports included. Ours ends when everything is on disk (fsync); the others do not ask for that.
Run: `.venv/bin/python -m benchmarks.etl [--mb 100]`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.segments import LANE, Recording

SIZE_MB: Final = 100
RUNS: Final = 3
RSS_MB_MAX: Final = {10: 700, 100: 700, 1000: 1200}
LANE_SEGMENTS: Final = 4
LANE_SEGMENT_MB: Final = 50
LANE_RATIO_MIN: Final = 1.8
MISSED: Final = "Missed:"
"""Begins the line below a table that says why a figure is not what it should be."""
_LANE_MISSED: Final = (
    f"{MISSED} the ratio. These are wall times, and the second worker has a core for as long as nobody else wants it; "
    "four segments leave no time to make up for that. The next table has 48."
)


@dataclass(frozen=True)
class Way:
    """One way to convert; `at_least` is how many times ours must be as fast as another way."""

    name: str
    script: str
    keep_books: bool = False
    interval: float = 1.0
    at_least: tuple[tuple[str, float], ...] = ()


DUCKDB = "DuckDB `read_json` -> `COPY ... PARTITION_BY`"
POLARS = "polars `read_ndjson` -> `write_parquet`"
ORJSON = "orjson by line -> pyarrow"
WAYS = (
    Way("ours", "ours", at_least=((DUCKDB, 1.5), (POLARS, 3.0))),
    Way(DUCKDB, "duckdb"),
    Way("ours", "ours", interval=0),
    Way(POLARS, "polars"),
    Way("ours", "ours", keep_books=True, at_least=((DUCKDB, 1.0),)),
    Way(ORJSON, "orjson"),
    Way("ours", "ours", keep_books=True, interval=0),
    Way("DuckDB, its own detection: `data` stays text", "duckdb_text"),
)


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    process_cpu_s: float
    rss_mb: float
    parquet_mb: float
    books: int


def convert(way: Way, segment: Path, folder: Path) -> Cost:
    """Convert once into a fresh folder, and remove what was made."""
    with tempfile.TemporaryDirectory(dir=folder) as temp:
        source = configured(way, [segment], Path(temp)) if way.script == "ours" else segment
        output, usage = child(["conversions", way.script, str(source), str(Path(temp) / "made")], folder / "pycache")
        made = sum(path.stat().st_size for path in Path(temp).rglob("*.parquet"))
    cpu_s, _, books, _ = output
    return Cost(cpu_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, made / 1e6, int(books))


def configured(way: Way, segments: Iterable[Path], folder: Path) -> Path:
    """Lay out sealed segments and write the configuration of an `etl run` over them."""
    ready = folder / "raw/ready" / LANE.folder
    ready.mkdir(parents=True)
    for segment in segments:
        for file in (segment, segment.with_suffix(".manifest.json")):
            os.link(file, ready / file.name)
    store = {"base_dir": str(folder)}
    book = {"keep_books": way.keep_books, "processor_options": {"hf_emit_interval": float(way.interval)}}
    config = folder / "config.yaml"
    config.write_bytes(
        orjson.dumps(
            {
                "storage": {"etl_storage_input": store, "etl_storage_output": store},
                "etl": {"channels": {"orderbook": book}},
            }
        )
    )
    return config


def child(arguments: Sequence[str], bytecode: Path) -> tuple[list[float], Any]:
    """Run a module beside this one, one thread per process; return the numbers it prints, and what the process used."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment |= {"PYTHONPYCACHEPREFIX": str(bytecode)}
    command = [sys.executable, "-m", f"benchmarks.{arguments[0]}", *arguments[1:]]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the measured process failed"
    return [float(number) for number in output.split()], usage


def compare(segment: Path, folder: Path, runs: int) -> dict[Way, list[Cost]]:
    """Every way in turn, several times over, so that what disturbs the machine disturbs all."""
    costs: dict[Way, list[Cost]] = {way: [] for way in WAYS}
    convert(WAYS[0], segment, folder)  # nobody should pay for compiling our modules to bytecode
    for _ in range(runs):
        for way in WAYS:
            costs[way].append(convert(way, segment, folder))
    for way, found in costs.items():
        assert len({cost.books for cost in found}) == 1, way
    return costs


def speed_table(megabytes: float, costs: dict[Way, list[Cost]]) -> bool:
    """Print what every way costs; return whether ours is as fast as it must be."""
    books = max(cost.books for found in costs.values() for cost in found)
    cpu_s = {way: statistics.median(cost.cpu_s for cost in found) for way, found in costs.items()}
    others = {way.name: way for way in WAYS if way.script != "ours"}
    print(
        "| conversion | `keep_books` | `hf_emit_interval` | CPU s | with start | MB per CPU s | books per CPU s "
        "| Parquet MB | RSS MB | as fast as DuckDB | as polars | as orjson | at least |\n|" + "---|" * 13
    )
    good = True
    for way, found in costs.items():
        ratios = {name: cpu_s[other] / cpu_s[way] for name, other in others.items()}
        good &= all(ratios[name] >= wanted for name, wanted in way.at_least)
        cells = [
            way.name,
            str(way.keep_books).lower() if way.script == "ours" else "",
            way.interval if way.script == "ours" else "",
            f"{cpu_s[way]:.2f}",
            f"{statistics.median(cost.process_cpu_s for cost in found):.2f}",
            f"{megabytes / cpu_s[way]:.0f}",
            f"{books / cpu_s[way]:.0f}",
            f"{statistics.median(cost.parquet_mb for cost in found):.1f}",
            f"{max(cost.rss_mb for cost in found):.0f}",
            *(f"{ratios[name]:.2f}" if way.script == "ours" else "" for name in (DUCKDB, POLARS, ORJSON)),
            ", ".join(f"{wanted} {name.split()[0]}" for name, wanted in way.at_least),
        ]
        print("| " + " | ".join(map(str, cells)) + " |")
    return good


def size_table(costs: dict[float, Cost]) -> bool:
    """Print what segments of several sizes cost with `keep_books`; return whether memory stays in its bounds."""
    print("\n| segment MB | CPU s | MB per CPU s | RSS MB | at most |\n|---|---|---|---|---|")
    for megabytes, cost in costs.items():
        rates = f"{cost.cpu_s:.2f} | {megabytes / cost.cpu_s:.0f}"
        print(f"| {megabytes:.0f} | {rates} | {cost.rss_mb:.0f} | {RSS_MB_MAX[round(megabytes)]} |")
    return all(cost.rss_mb < RSS_MB_MAX[round(megabytes)] for megabytes, cost in costs.items())


def lane_walls(folder: Path) -> dict[int, list[float]]:
    """Wall seconds of one and of two workers over consecutive segments of a lane, in turn."""
    recording = Recording()
    segments = [recording.seal(folder / "lane", LANE_SEGMENT_MB) for _ in range(LANE_SEGMENTS)]
    walls: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(RUNS):
        for workers, found in walls.items():
            with tempfile.TemporaryDirectory(dir=folder) as temp:
                config = configured(Way("ours", "ours", keep_books=True), segments, Path(temp))
                output, _ = child(["workers", str(config), str(workers)], folder / "pycache")
                found.append(output[0])  # behind it: the seconds of each segment
    return walls


def lane_table(walls: dict[int, list[float]]) -> bool:
    """Print what a second worker brings; return whether it is enough."""
    one_s, two_s = (statistics.median(found) for found in walls.values())
    print("\n| segments | one worker, wall s | two workers, wall s | ratio | at least |\n|---|---|---|---|---|")
    what = f"{LANE_SEGMENTS} x {LANE_SEGMENT_MB} MB"
    print(f"| {what} | {one_s:.2f} | {two_s:.2f} | {one_s / two_s:.2f} | {LANE_RATIO_MIN} |")
    if one_s / two_s < LANE_RATIO_MIN:
        print(f"\n{_LANE_MISSED}")
    return one_s / two_s >= LANE_RATIO_MIN


def main() -> int:
    """Print the tables for people and one JSON line for machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=SIZE_MB)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only-speed", action="store_true", help="leave out sizes and workers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temp:
        folder = Path(temp)
        segment = Recording().seal(folder / "segment", arguments.mb)
        megabytes = segment.stat().st_size / 1e6
        costs = compare(segment, folder, arguments.runs)
        good = speed_table(megabytes, costs)
        if not arguments.only_speed:
            stored = next(way for way in WAYS if way.keep_books and way.interval)
            of_size = {}
            for size_mb in RSS_MB_MAX:
                other = Recording().seal(folder / f"segment-{size_mb}", size_mb)
                of_size[other.stat().st_size / 1e6] = convert(stored, other, folder)
                other.unlink()
            good &= size_table(of_size)
            good &= lane_table(lane_walls(folder))
    report = {
        f"{way.name} {way.keep_books} {way.interval}": [asdict(cost) for cost in found] for way, found in costs.items()
    }
    print(orjson.dumps({"benchmark": "etl", "megabytes": megabytes, "costs": report}).decode())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
