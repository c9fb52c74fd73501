"""Tables: a view as a person reads it, as rich tables or as one plain line. Pure."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fluxforge.domain.status import LaneStatus
from fluxforge_cli.screen.view import EtlRow, FeedRow, View

_FEEDS_MAX = 24


def tables(view: View, *, title: str) -> RenderableType:
    """Return the live screen."""
    parts: list[RenderableType] = [Text(title, style="bold"), "", _feeds(view.feeds), "", _lanes(view.lanes)]
    if view.etl:
        parts += ["", _etl(view.etl)]
    if view.dropped or view.silent:
        parts.append("")
    if view.dropped:
        parts.append(Text(f"{view.dropped:,} records dropped and named: the bus does not keep up", style="red"))
    if view.silent:
        parts.append(Text(f"not heard of late: {', '.join(view.silent)}", style="yellow"))
    return Group(*parts)


def line(view: View, *, draining: bool = False) -> str:
    """Return the same in one line, for a log or a pipe; in a drain it is no news that feeds are not sound."""
    segments = sum(lane.segments for lane in view.lanes)
    sealed = sum(lane.records for lane in view.lanes)
    text = f"captured {view.captured:,} ({view.rate_hz:,.0f}/s) | sealed {sealed:,} in {segments:,} segments"
    if view.etl:
        text += f" | parquet {sum(view.etl.rows.values()):,} rows of {view.etl.records:,} records"
        text += f", backlog {view.etl.backlog:,}"
    unsound = sum(1 for feed in view.feeds if not feed.sound)
    if unsound and not draining:
        text += f" | {unsound} of {len(view.feeds)} feeds not sound"
    if view.dropped:
        text += f" | dropped {view.dropped:,}"
    return text


def _feeds(feeds: tuple[FeedRow, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    table.add_column("feed", no_wrap=True)
    for heading in ("records", "records/s", "lag ms", "last price"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for feed in feeds[:_FEEDS_MAX]:
        table.add_row(
            f"{feed.exchange} {feed.symbol} {feed.channel}",
            f"{feed.records:,}",
            "" if feed.rate_hz is None else f"{feed.rate_hz:,.1f}",
            "" if feed.lag_ms is None else f"{feed.lag_ms:,}",
            "" if feed.last_price is None else f"{feed.last_price:,.10g}",
            Text("sound", style="green") if feed.sound else Text("not sound", style="yellow"),
        )
    if not feeds:
        table.add_row(Text("waiting for the first record of a collector", style="dim"))
    if len(feeds) > _FEEDS_MAX:
        rest = feeds[_FEEDS_MAX:]
        rate_hz = sum(feed.rate_hz or 0.0 for feed in rest)
        table.add_row(f"and {len(rest)} more feeds", f"{sum(f.records for f in rest):,}", f"{rate_hz:,.1f}")
    return table


def _lanes(lanes: tuple[LaneStatus, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("lane", no_wrap=True)
    for heading in ("stream", "sealed", "segments", "records sealed", "MB sealed", "MB open"):
        table.add_column(heading, justify="right", no_wrap=True)
    for lane in lanes:
        table.add_row(
            lane.lane,
            f"{lane.stream_seq:,}",
            f"{lane.sealed_seq:,}",
            f"{lane.segments:,}",
            f"{lane.records:,}",
            f"{lane.sealed_bytes / 1e6:,.1f}",
            f"{lane.open_bytes / 1e6:,.1f}",
        )
    return table


def _etl(etl: EtlRow) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("etl", no_wrap=True)
    table.add_column("backlog", justify="right", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    datasets = sorted(etl.rows)
    for dataset in datasets:
        table.add_column(dataset.rpartition("/")[2], justify="right", no_wrap=True)
    rows = [f"{etl.rows[dataset]:,}" for dataset in datasets]
    table.add_row(f"{etl.segments:,} segments", f"{etl.backlog:,}", f"{etl.records:,}", *rows)
    return table
