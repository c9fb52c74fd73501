"""`fluxforge segments`: what has been sealed, and what became of it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fluxforge_cli.options import ConfigOption, ThereOption, choose

if TYPE_CHECKING:
    from fluxforge_cli.account.sealed import SealedSegment

_NS: Final = 1_000_000_000


def segments(config: ConfigOption = None, data: ThereOption = None) -> None:
    """List the sealed segments: records, bytes, the time they cover, whether they are in Parquet, and still in raw/."""
    from rich.table import Table  # noqa: PLC0415 - heavy

    from fluxforge_cli.account.sealed import segments as read_segments  # noqa: PLC0415 - heavy
    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import segment_store  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    found = read_segments(segment_store(settings), settings.layout)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("lane", "segment"):
        table.add_column(heading, no_wrap=True)
    for heading in ("records", "bytes"):
        table.add_column(heading, justify="right")
    for heading in ("from (UTC)", "to (UTC)", "state"):
        table.add_column(heading, no_wrap=True)
    for segment in found:
        manifest = segment.manifest
        table.add_row(
            str(manifest.lane),
            manifest.name,
            f"{manifest.records:,}",
            f"{manifest.size_bytes:,}",
            _time(manifest.first_capture_ns),
            _time(manifest.last_capture_ns),
            state(segment),
        )
    console = terminal()
    console.print(table)
    records = sum(segment.manifest.records for segment in found)
    console.print(f"{len(found):,} segments, {records:,} records", highlight=False)


def state(segment: "SealedSegment") -> str:
    """Return what became of a segment, in a word or two."""
    if segment.commit is None:
        return "sealed" if segment.has_data else "sealed, no data"
    quarantined = f", {segment.commit.quarantined:,} quarantined" if segment.commit.quarantined else ""
    deleted = "" if segment.has_data else ", raw deleted"
    return ("in Parquet" if segment.placed else "committed") + quarantined + deleted


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // _NS, tz=UTC).strftime("%Y-%m-%d %H:%M:%S") + f".{ns % _NS // 1_000_000:03d}"
