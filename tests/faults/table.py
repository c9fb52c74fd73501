"""The table of a fault run: what was injected how often, what it cost, and how long the system took to be back."""

import datetime as dt
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

BEGIN = "<!-- faults: begin (written by `make faults`) -->"
END = "<!-- faults: end -->"
_HEAD = (
    "| fault | runs | lost | duplicated | unexplained | recovery p50 / p99 |",
    "|---|---:|---:|---:|---:|---:|",
)
_QUANTILES = 100


class Losses(Protocol):
    """What a judge has counted."""

    @property
    def lost(self) -> int: ...

    @property
    def duplicated(self) -> int: ...

    @property
    def unexplained(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `unexplained`: numbers that are neither in the dataset nor inside a hole that is named."""

    fault: str
    runs: int
    lost: int
    duplicated: int
    unexplained: int
    recoveries_s: Sequence[float]

    def cells(self) -> str:
        counts = f"{self.runs:,} | {self.lost:,} | {self.duplicated:,} | {self.unexplained:,}"
        return f"| {self.fault} | {counts} | {_spread(self.recoveries_s)} |"


@dataclass(slots=True)
class FaultTable:
    """Collects the rows of a run; a test adds its row before it judges it."""

    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        *,
        fault: str,
        runs: int,
        lost: int = 0,
        duplicated: int = 0,
        unexplained: int = 0,
        recoveries_s: Sequence[float] = (),
    ) -> Row:
        row = Row(fault, runs, lost, duplicated, unexplained, tuple(recoveries_s))
        self.rows.append(row)
        return row

    def judged(
        self, fault: str, verdict: Losses, recoveries_s: Sequence[float] = (), *, runs: int | None = None
    ) -> Row:
        """Add what a judge has counted; without `runs` there was one for each recovery."""
        return self.add(
            fault=fault,
            runs=len(recoveries_s) if runs is None else runs,
            lost=verdict.lost,
            duplicated=verdict.duplicated,
            unexplained=verdict.unexplained,
            recoveries_s=recoveries_s,
        )

    def lines(self) -> list[str]:
        return [*_HEAD, *(row.cells() for row in sorted(self.rows, key=lambda row: row.fault))]

    def write(self, page: Path, *, command: str, seed: int) -> None:
        """Replace what stands between the markers of a page."""
        replace_between(page, BEGIN, END, [facts(command=command, seed=seed), "", *self.lines()])


def facts(*, command: str, seed: int) -> str:
    """Return what a table says of its run."""
    now = dt.datetime.now(dt.UTC)
    return f"`{command}`, seed {seed}, {now:%Y-%m-%d %H:%M} UTC; {machine()}."


def replace_between(page: Path, begin: str, end: str, lines: Sequence[str]) -> None:
    """Replace what stands between two markers of a page."""
    before, found_begin, rest = page.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    assert found_begin, f"{page}: no line {begin}"
    assert found_end, f"{page}: no line {end}"
    page.write_text("\n".join([before + begin, *lines, end]) + after)


def machine() -> str:
    """Return what the run ran on, in words."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory_kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return (
        f"{os.cpu_count()} cores of {cpu}, {memory_kib / 2**20:.0f} GiB, "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, Python {platform.python_version()}"
    )


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def _spread(recoveries_s: Sequence[float]) -> str:
    if not recoveries_s:
        return "-"
    if len(recoveries_s) == 1:
        return f"{recoveries_s[0]:.2f} s"
    cuts = statistics.quantiles(recoveries_s, n=_QUANTILES, method="inclusive")
    return f"{cuts[49]:.2f} s / {cuts[98]:.2f} s"
