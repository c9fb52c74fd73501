"""What each container takes at a known rate: `python -m benchmarks.sizing [--seconds 120] [--speed 100]`.

The shipped compose file with a lively simulated exchange, in this machine's Docker engine. CPU is what the engine
counts for a container over the time, per 1000 captured records a second; memory is the highest seen, without file
cache.
"""

import argparse
import http.client
import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import yaml
from tests.e2e.engine import require_engine, require_images
from tests.e2e.stack import PIPELINE, Stack, until
from typing_extensions import override

HERE: Final = Path(__file__).resolve().parent.parent / "tests" / "e2e"
SERVICES: Final = (*PIPELINE, "simulator", "prometheus")
_MB: Final = 1e6
_NS: Final = 1e9
_PARQUET: Final = (
    "import pathlib; print(sum(p.stat().st_size for p in pathlib.Path('/data/processed').rglob('*.parquet')))"
)


class Engine(http.client.HTTPConnection):
    """The engine's own interface, which tells more than its command does."""

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect("/var/run/docker.sock")

    def stats(self, container: str) -> dict[str, Any]:
        """Return one reading of a container."""
        self.request("GET", f"/containers/{container}/stats?stream=false&one-shot=true")
        found: dict[str, Any] = json.loads(self.getresponse().read())
        return found


def memory(stats: dict[str, Any]) -> int:
    """Return the bytes a container holds without file cache, as `docker stats` counts them."""
    usage = stats["memory_stats"]
    cache = usage["stats"].get("total_inactive_file", usage["stats"].get("inactive_file", 0))
    return int(usage["usage"]) - int(cache)


def cpu_s(stats: dict[str, Any]) -> float:
    """Return the CPU seconds a container has used."""
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / _NS


def busy(folder: Path, speed: float) -> Path:
    """Write a compose file that makes the simulated exchange this lively."""
    tree = yaml.safe_load((HERE / "busy.yml").read_text())
    command = tree["services"]["simulator"]["command"]
    command[command.index("--speed") + 1] = str(speed)
    path = folder / "busy.yml"
    path.write_text(yaml.safe_dump(tree))
    return path


def measure(stack: Stack, seconds: float) -> tuple[dict[str, float], dict[str, int], dict[str, Any], float]:
    """Return CPU seconds and the highest memory of each service, what the audit counted, and how long it was."""
    ids = {name: stack.of(name)[0]["Id"] for name in SERVICES if stack.of(name)}
    before, began_s = stack.audit()["totals"], time.monotonic()
    used_before = {name: cpu_s(Engine("engine").stats(one)) for name, one in ids.items()}
    highest = dict.fromkeys(ids, 0)

    def over() -> bool:
        for name, one in ids.items():
            highest[name] = max(highest[name], memory(Engine("engine").stats(one)))
        return time.monotonic() - began_s >= seconds

    until("the end of the measurement", over, seconds + 60)
    used = {name: cpu_s(Engine("engine").stats(one)) - used_before[name] for name, one in ids.items()}
    after, took_s = stack.audit()["totals"], time.monotonic() - began_s
    counted = {name: after[name] - before[name] for name in ("captured", "in_parquet")}
    return used, highest, counted, took_s


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
        stack = Stack(absent, more=busy(Path(temp), arguments.speed), config=HERE / "busy.yaml")
        with stack.running(failed=lambda: False):
            until("rows in Parquet", lambda: stack.audit()["totals"]["in_parquet"] > 0)
            used, highest, counted, took_s = measure(stack, arguments.seconds)
            parquet, raw = sizes(stack)
    rate = counted["captured"] / took_s
    print(f"\n{rate:,.0f} records/s for {took_s:.0f} s; a record is {raw:,.0f} bytes raw, {parquet:,.0f} in Parquet\n")
    print("| service | CPU, cores per 1000 records/s | memory, MB |\n|---|---|---|")
    for name, seconds in used.items():
        print(f"| {name} | {seconds / took_s / rate * 1000:.3f} | {highest[name] / _MB:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
