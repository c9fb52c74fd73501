"""The table of connection faults: by which record the collector told of each, how soon, and how soon it was over."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.table import replace_between

BEGIN = "<!-- connection faults: begin (written by `make faults`) -->"
END = "<!-- connection faults: end -->"
_HEAD = (
    "| fault | exchange | told by | of | told after, ms | whole again after, ms |",
    "|---|---|---|---|---:|---:|",
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One fault on one exchange. Without `event` nothing was told, which it must not need to be."""

    fault: str
    exchange: str
    event: str | None
    feeds: int
    told_ns: int | None
    healed_ns: int | None

    def cells(self) -> str:
        told = f"`{self.event}`" if self.event else "nothing: the book stays right"
        of = f"{self.feeds} feed{'s' * (self.feeds > 1)}" if self.feeds else "-"
        return f"| {self.fault} | {self.exchange} | {told} | {of} | {_ms(self.told_ns)} | {_ms(self.healed_ns)} |"


@dataclass(slots=True)
class NoticeTable:
    """Collects the notices of a run."""

    rows: list[Notice] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [*_HEAD, *(row.cells() for row in sorted(self.rows, key=lambda row: (row.fault, row.exchange)))]

    def write(self, page: Path, *, facts: str) -> None:
        """Replace what stands between the markers of a page."""
        replace_between(page, BEGIN, END, [facts, "", *self.lines()])


def _ms(duration_ns: int | None) -> str:
    return "-" if duration_ns is None else f"{duration_ns / 1e6:,.0f}"
