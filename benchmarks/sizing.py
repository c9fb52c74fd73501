"""What each container takes at a known rate: `python -m benchmarks.sizing [--seconds 120] [--speed 100]`.

The shipped compose file with a lively simulated exchange, in this machine's Docker engine. CPU is what the engine
counts for a container over the time, per 1000 captured records a second; memory is the highest seen, without file
cache.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import yaml
from tests.e2e.engine import read, require_engine, require_images
from tests.e2e.stack import PIPELINE, Stack, look_on, until

BUSY: Final = Path(__file__).resolve().parent.parent / "tests" / "e2e" / "busy.yml"
SERVICES: Final = (*PIPELINE, "simulator", "prometheus")
_MB: Final = 1e6
_PARQUET: Final = (
    "import pathlib; print(sum(p.stat().st_size for p in pathlib.Path('/data/processed').rglob('*.parquet')))"
)


def busy(folder: Path, speed: float) -> Path:
    """Write a compose file that makes the simulated exchange this lively."""
    tree = yaml.safe_load(BUSY.read_text())
    command = tree["services"]["simulator"]["command"]
    command[command.index("--speed") + 1] = str(speed)
    path = folder / "busy.yml"
    path.write_text(yaml.safe_dump(tree))
    return path


def measure(stack: Stack, seconds: float) -> tuple[dict[str, float], dict[str, int], float]:
    """Return of each service how many cores it used and its highest memory, and the records captured per second."""
    ids = {name: one[0]["Id"] for name in SERVICES if (one := stack.of(name))}
    captured, counted_s = stack.audit()["totals"]["captured"], time.monotonic()
    used = {name: read(one).cpu_s for name, one in ids.items()}
    highest, began_s = dict.fromkeys(ids, 0), time.monotonic()

    def look() -> None:
        highest.update({name: max(highest[name], read(one).memory_bytes) for name, one in ids.items()})

    look_on(seconds, look)
    took_s = time.monotonic() - began_s
    cores = {name: (read(one).cpu_s - used[name]) / took_s for name, one in ids.items()}
    captured, counted_s = stack.audit()["totals"]["captured"] - captured, time.monotonic() - counted_s
    return cores, highest, captured / counted_s


def sizes(stack: Stack) -> tuple[float, float]:
    """Return bytes of Parquet and of sealed segments for each record that is in Parquet."""
    parquet = int(stack.compose("exec", "--no-TTY", "segmenter", "python", "-c", _PARQUET))
    raw = stack.query("sum(fluxforge_segmenter_sealed_bytes_total) / sum(fluxforge_segmenter_sealed_records_total)")
    return parquet / stack.audit()["totals"]["in_parquet"], raw[0][1] if raw else float("nan")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--speed", type=float, default=100.0)
    arguments = parser.parse_args()
    require_engine()
    absent = require_images()
    with tempfile.TemporaryDirectory() as temp:
        stack = Stack(absent, more=busy(Path(temp), arguments.speed))
        with stack.running():
            until("rows in Parquet", lambda: stack.audit()["totals"]["in_parquet"] > 0)
            cores, highest, rate = measure(stack, arguments.seconds)
            parquet, raw = sizes(stack)
    print(f"\n{rate:,.0f} records/s; a record is {raw:,.0f} bytes raw, {parquet:,.0f} in Parquet\n")
    print("| service | CPU, cores per 1000 records/s | memory, MB |\n|---|---|---|")
    for name, used in cores.items():
        print(f"| {name} | {used / rate * 1000:.3f} | {highest[name] / _MB:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
