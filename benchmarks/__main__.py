"""`make bench`: runs every benchmark and writes docs/benchmarks.md anew from what they print."""

import datetime as dt
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.etl import MISSED

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`; each table stands below the command that prints it. Rates are per CPU second (user + system),
since wall time on a shared machine tells little; every figure but those by segment size (one run each) is the median of
three and stands beside the bare operation of the same run. "At least" and "at most" are what we hold ourselves to;
what a run missed, it says below its table.

"""
CLAIMS = {
    "collector": "## Collector: what keeping every update costs, against bare ccxt.pro that drops them",
    "segmenter": "## Segmenter: from a lane's stream to sealed segments",
    "etl": "## ETL: from a sealed segment to Parquet with every feature, beside plain conversions, one thread each",
    "scaling": "## ETL workers: one and two, measured; four and eight, simulated from their service times, with a core "
    "for each and a disk that none waits for",
    "compaction": "## Compactor: small parts into one, checked row by row, beside DuckDB sorting them",
}


def machine() -> str:
    """The machine in one line."""
    day = dt.datetime.now(tz=dt.UTC).date()
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{day}, {os.cpu_count()} x {model}, Linux {kernel}, Python {platform.python_version()}\n"


def main() -> int:
    """Run all; return 1 if any missed what it should reach."""
    text, missed = HEAD + machine(), 0
    for name, claim in CLAIMS.items():
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        print(claim, flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        told = [line for line in done.stdout.splitlines() if line.startswith(("|", MISSED)) or not line]
        table = "\n".join(told).strip()
        if not table:
            return done.returncode or 1
        missed += done.returncode != 0
        text += f"\n{claim}\n`.venv/bin/python -m benchmarks.{name}`\n\n{table}\n"
    DOCUMENT.write_text(text)
    print(f"written to {DOCUMENT}; {missed} of {len(CLAIMS)} missed what they should reach")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
