"""`fluxforge dead`: segments that cannot be processed; a person lists them, has them tried again, or gives them up."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxforge_cli.options import ConfigOption, ThereOption, choose

if TYPE_CHECKING:
    from fluxforge.domain.segment import SealedEvent
    from fluxforge.runtime.settings import Settings
    from fluxforge_etl_worker.dead import DeadMark
    from fluxforge_etl_worker.work import Worker

app: Final = typer.Typer(no_args_is_help=True, help="Segments that cannot be processed: list, try again, give up.")

_BUS_S: Final = 10.0
_NS: Final = 1_000_000_000

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON array instead of a table.")]
LaneArgument = Annotated[str, typer.Argument(metavar="LANE", help="Such as ccxt-binance-0of1.")]
SegmentArgument = Annotated[str, typer.Argument(metavar="SEGMENT", help="Such as segment_20261122T17_00001.")]


@app.command()
def ls(json: JsonOption = False, config: ConfigOption = None, data: ThereOption = None) -> None:
    """List the marks: lane, segment, when, why, and which of data, manifest and commit stand."""
    import orjson  # noqa: PLC0415 - heavy

    from fluxforge_etl_worker.dead import dead_marks  # noqa: PLC0415 - heavy

    marks = list(dead_marks(_worker(choose(config, data).settings)))
    if not json:
        _show(marks)
        return
    rows = [
        {
            "lane": str(mark.lane),
            "segment": mark.segment,
            "created_ns": mark.created_ns,
            "error": mark.error,
            "reason": mark.reason,
            "data": mark.has_data,
            "manifest": mark.has_manifest,
            "committed": mark.is_committed,
        }
        for mark in marks
    ]
    typer.echo(orjson.dumps(rows).decode())


@app.command()
def retry(
    lane: Annotated[str | None, typer.Argument(metavar="LANE", help="Such as ccxt-binance-0of1.")] = None,
    segment: Annotated[str | None, typer.Argument(metavar="SEGMENT", help="Such as segment_20261122T17_00001.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that can be tried again.")] = False,
    config: ConfigOption = None,
    data: ThereOption = None,
) -> None:
    """Take the mark away and announce the segment again. Exit code 1: of --all, some cannot be tried again."""
    from fluxforge.domain.errors import UsageError  # noqa: PLC0415 - beside its use
    from fluxforge.domain.lane import Lane  # noqa: PLC0415 - beside its use
    from fluxforge_etl_worker import dead  # noqa: PLC0415 - heavy

    if everything == (lane is not None) or (lane is None) != (segment is None):
        raise UsageError("dead retry: give LANE and SEGMENT, or --all")
    settings = choose(config, data).settings
    worker = _worker(settings)
    if lane is not None and segment is not None:
        mark = dead.dead_mark(worker, Lane.parse(lane), segment)
        _announce(settings, [(mark, dead.retry(worker, mark))])
        return
    revived, refused = [], False
    for mark in list(dead.dead_marks(worker)):
        try:
            revived.append((mark, dead.retry(worker, mark)))
        except dead.DeadSegmentError as error:
            typer.echo(f"left as it is: {error}", err=True)
            refused = True
    _announce(settings, revived)
    raise typer.Exit(1 if refused else 0)


@app.command()
def drop(lane: LaneArgument, segment: SegmentArgument, config: ConfigOption = None, data: ThereOption = None) -> None:
    """Give a segment up: coverage names every seq it held as lost; its files stay where they are."""
    from fluxforge.domain.lane import Lane  # noqa: PLC0415 - beside its use
    from fluxforge_etl_worker import dead  # noqa: PLC0415 - heavy

    worker = _worker(choose(config, data).settings)
    commit = dead.drop(worker, dead.dead_mark(worker, Lane.parse(lane), segment))
    rows = sum(part.rows for part in commit.parts)
    typer.echo(f"{lane} {segment}: given up, {rows:,} rows of coverage name what it held")


def _worker(settings: "Settings") -> "Worker":
    from fluxforge_etl_worker.main import worker_of  # noqa: PLC0415 - heavy

    return worker_of(settings)


def _show(marks: "list[DeadMark]") -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - beside its use

    from rich.table import Table  # noqa: PLC0415 - heavy

    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("lane", "segment", "since (UTC)", "stands"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why", overflow="fold")
    for mark in marks:
        stands = {"data": mark.has_data, "manifest": mark.has_manifest, "commit": mark.is_committed}
        table.add_row(
            str(mark.lane),
            mark.segment,
            datetime.fromtimestamp(mark.created_ns // _NS, tz=UTC).strftime("%Y-%m-%d %H:%M:%S"),
            ", ".join(name for name, stands_here in stands.items() if stands_here) or "nothing",
            f"{mark.error}: {mark.reason}" if mark.error else mark.reason,
        )
    console = terminal()
    if marks:
        console.print(table)
    console.print(f"{len(marks):,} segments cannot be processed", highlight=False)


def _announce(settings: "Settings", revived: "list[tuple[DeadMark, SealedEvent | None]]") -> None:
    """Say of each segment what happens now; workers hear of those with an event at once, if the bus is there."""
    from fluxforge.domain.errors import FluxForgeError  # noqa: PLC0415 - beside its use

    events = [(mark, event) for mark, event in revived if event is not None]
    trouble = ""
    if events:
        try:
            asyncio.run(_publish(settings, events))
        except (FluxForgeError, TimeoutError) as error:
            trouble = f"the bus was not reached ({error or 'no answer'})"
    for mark, event in revived:
        if event is None:
            says = "the next `fluxforge etl run` adopts it"
        elif trouble:
            says = f"{trouble}: a worker finds it within a minute of its start, or the next `fluxforge etl run`"
        else:
            says = "announced again"
        typer.echo(f"{mark.lane} {mark.segment}: {says}")


async def _publish(settings: "Settings", events: "list[tuple[DeadMark, SealedEvent]]") -> None:
    from fluxforge_cli.bus import connected  # noqa: PLC0415 - heavy

    async with asyncio.timeout(_BUS_S):
        bus = await connected(settings, "dead")
        try:
            for mark, event in events:
                name = f"{mark.lane}.{mark.segment}"
                # Of its own: within the dedupe window the segment's first event may have been stored.
                message_id = f"{name}.retry.{mark.created_ns}"
                await bus.events.publish(f"segments.sealed.{name}", event.to_json(), message_id=message_id)
        finally:
            await bus.close()
