"""The report of an audit: a table of the lanes, a line per finding, the verdict; or one JSON object."""

from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fluxforge_cli.account.audit.boots import End, Hole
from fluxforge_cli.account.audit.close import Audit, LaneAccount
from fluxforge_cli.account.audit.findings import Finding, Kind

_COUNTS: Final = tuple(one.name for one in fields(LaneAccount) if one.type in {int, "int"})
_COLUMNS: Final = (
    "captured",
    "sealed",
    "named",
    "lost",
    "in_flight",
    "in_parquet",
    "quarantined",
    "off",
    "unprocessed",
    "dead",
    "given_up",
    "removed",
)
_ALWAYS: Final = frozenset({"captured", "sealed", "in_parquet", "quarantined", "named", "in_flight"})
_NS: Final = 1_000_000_000


def to_json(audit: Audit) -> bytes:
    """Return the audit as one JSON object; its fields are described in docs/audit.md and stay."""
    totals: dict[str, object] = {name: sum(getattr(one, name) for one in audit.lanes) for name in _COUNTS}
    totals["boots"] = sum(len(one.boots) for one in audit.lanes)
    totals["holes"] = sum(len(one.holes) for one in audit.lanes)
    totals["findings"] = {kind.value: _count(audit.findings, kind) for kind in Kind}
    totals["explained"] = dict(audit.explained)
    body = {
        "balanced": audit.balanced,
        "looked_at": {"bus": audit.bus, "spool": audit.spool},
        "lanes": [asdict(lane) for lane in audit.lanes],
        "findings": [asdict(finding) for finding in audit.findings],
        "totals": totals,
    }
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)


def print_audit(console: Console, audit: Audit) -> None:
    """Print the audit for people."""
    console.print(_table(audit.lanes))
    for lane in audit.lanes:
        if lane.rowless:
            console.print(f"{lane.lane}: {lane.rowless:,} records held an empty list, and make no row", highlight=False)
        for hole in lane.holes:
            console.print(f"{lane.lane}: hole: {_hole(hole)}", highlight=False)
    if not audit.bus:
        console.print("The bus does not answer: what is not sealed was not looked at.", style="yellow")
    for kind, count in audit.explained.items():
        console.print(f"sent by the exchange, not in Parquet, inside a hole: {kind} {count:,}", highlight=False)
    for finding in audit.findings:
        console.print(Text(line(finding), style="red"), soft_wrap=True)
    count = len(audit.findings)
    verdict = "balanced" if audit.balanced else f"{count:,} finding{'s' if count > 1 else ''}"
    console.print(verdict, style="green" if audit.balanced else "red", highlight=False)


def line(finding: Finding) -> str:
    """Return a finding as one line: kind, lane, boot, feed, seqs, and what is wrong."""
    feed = f"{finding.channel}{f' {finding.symbol}' if finding.symbol else ''}" if finding.channel else None
    seqs = None
    if finding.first is not None:
        seqs = f"{finding.first}" if finding.first == finding.last else f"{finding.first}-{finding.last}"
    known = (finding.kind.value, finding.lane, finding.boot and f"boot {finding.boot}", feed, seqs)
    return f"{' '.join(word for word in known if word)}: {finding.detail}"


def _table(lanes: Iterable[LaneAccount]) -> Table:
    rows = list(lanes)
    shown = [name for name in _COLUMNS if name in _ALWAYS or any(getattr(one, name) for one in rows)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("lane", no_wrap=True)
    table.add_column("boots", no_wrap=True)
    for name in ("feeds", "segments", "parts", *shown, "holes"):
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for one in rows:
        counts = [getattr(one, name) for name in ("feeds", "segments", "parts", *shown)]
        name = f"{one.lane} + {len(one.rescue)} rescue" if one.rescue else one.lane
        table.add_row(name, _ends(one), *(f"{count:,}" for count in counts), f"{len(one.holes):,}")
    return table


def _ends(lane: LaneAccount) -> str:
    counts = {end: sum(boot.end is end for boot in lane.boots) for end in End}
    return ", ".join(f"{count} {end.value}" for end, count in counts.items() if count) or "none"


def _hole(hole: Hole) -> str:
    what = f"crash of boot {hole.boot}" if hole.boot else f"messages {hole.first}-{hole.last} of epoch {hole.epoch}"
    return f"{what}, {_time(hole.from_ns)} to {_time(hole.to_ns)}"


def _time(ns: int | None) -> str:
    if ns is None:
        return "?"
    return datetime.fromtimestamp(ns // _NS, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % _NS:09d}Z"


def _count(findings: Iterable[Finding], kind: Kind) -> int:
    return sum(finding.kind is kind for finding in findings)
