"""`fluxforge merge`: what two legs captured of an exchange becomes one source, hour by hour."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose

if TYPE_CHECKING:
    from fluxforge.runtime.settings import Settings
    from fluxforge_etl_worker.legs.arrivals import FeedLeads, LegLead
    from fluxforge_etl_worker.legs.merge import HourOutcome, Merger


def merge(
    exchange: Annotated[str | None, typer.Option(metavar="ID", help="This exchange alone.")] = None,
    date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The hours of this UTC date alone.")] = None,
    hour: Annotated[int | None, typer.Option(min=0, max=23, help="This hour of --date alone, UTC.")] = None,
    ended: Annotated[
        bool,
        typer.Option(
            "--ended", help="Do not wait for a leg of which nobody knows how far it came; what it brings is left out."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per hour.")] = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Merge the legs of every exchange with `legs: 2` into processed/<source>.merged/; what is done is left alone.

    An hour is merged once both legs are in Parquet beyond it. Of each update the row that arrived first is kept; what
    one leg lacks comes from the other; features and bars are made anew. Says how often and by how much each leg was
    first. Exit code 1: an hour that is over has to wait.
    """
    from fluxforge_etl_worker.main import merger_of  # noqa: PLC0415 - heavy

    first, last = _span(date, hour)
    settings = choose(config, data).settings
    merger = merger_of(settings, is_over=ended)
    merger.worker.probe()
    waits = count = before = 0
    for outcome in merger.run(exchange=exchange, first=first, last=last):
        count += 1
        waits += bool(outcome.waits_for)
        is_old = not (outcome.is_new or outcome.waits_for)
        before += is_old
        if as_json or not is_old:
            typer.echo(_json(outcome) if as_json else _text(outcome))
    if before and not as_json:
        typer.echo(f"merged before: {before:,} hours")
    if not count and exchange is not None:
        _check_known(exchange, merger, settings)
    if not count and not as_json:
        typer.echo("nothing to merge: no hour that is over, of an exchange with two legs")
    raise typer.Exit(1 if waits else 0)


def _check_known(exchange: str, merger: "Merger", settings: "Settings") -> None:
    """Refuse an exchange that nothing was captured of and that nobody means to capture."""
    from difflib import get_close_matches  # noqa: PLC0415 - beside its use

    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use
    from fluxforge_etl_worker.listing import listed  # noqa: PLC0415 - heavy

    worker = merger.worker
    known = {lane.exchange for lane in listed(worker.raw, worker.options.layout)} | settings.ccxt.exchanges.keys()
    if exchange not in known:
        near = get_close_matches(exchange, sorted(known), n=1)
        rest = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(sorted(known)) or 'nothing'}"
        raise UsageError(f"exchange {exchange!r}: nothing was captured of it; {rest}")


def _span(date: str | None, hour: int | None) -> tuple[datetime | None, datetime | None]:
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use

    if date is None:
        if hour is not None:
            raise UsageError("merge: --hour is an hour of --date; give both")
        return None, None
    try:
        day = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise UsageError(f"merge --date: expected a day such as 2026-11-22, was {date!r}") from error
    first = day + timedelta(hours=hour or 0)
    return first, first if hour is not None else day + timedelta(hours=23)


def _json(outcome: "HourOutcome") -> str:
    import orjson  # noqa: PLC0415 - beside its use

    return orjson.dumps(asdict(outcome)).decode()


def _text(outcome: "HourOutcome") -> str:
    name = f"{outcome.source} {outcome.exchange} {outcome.begin:%Y-%m-%d %H:%M}"
    if outcome.waits_for:
        return "\n".join([f"{name}: waits", *(f"  {what}" for what in outcome.waits_for)])
    rows = ", ".join(f"{dataset} {count:,}" for dataset, count in sorted(outcome.rows.items())) or "none"
    return "\n".join([f"{name}: merged; rows: {rows}", *map(_feed, outcome.feeds)])


def _feed(feed: "FeedLeads") -> str:
    late = f", {feed.overtaken:,} came too late for features" if feed.overtaken else ""
    return (
        f"  {feed.channel} {feed.symbol}: {feed.rows:,} rows; {_leg('A', feed.a)}; {_leg('B', feed.b)}; "
        f"{feed.ties:,} at one instant{late}"
    )


def _leg(name: str, lead: "LegLead") -> str:
    first = f"{name} first {lead.first:,} times"
    if lead.lead_median_ms is not None and lead.lead_p99_ms is not None:
        first += f" by {lead.lead_median_ms:.3f} ms (p99 {lead.lead_p99_ms:.3f})"
    return f"{first}, alone {lead.only:,} times"
