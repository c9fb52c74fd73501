"""`fluxforge health`: what the services say of themselves on the bus."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxforge_cli.options import ConfigOption, DataOption, choose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxforge.domain.status import Status
    from fluxforge.runtime.settings import Settings

_LISTEN_S: Final = 3.0

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")]


@dataclass(frozen=True, slots=True)
class Finding:
    """One process that is or should be there."""

    name: str
    healthy: bool
    says: str


def health(
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Listen for the services. Exit code 0: all are there and ready; 1: something is not; 2: wrong configuration."""
    import orjson  # noqa: PLC0415 - heavy
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.text import Text  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    found = findings(settings, asyncio.run(_listen(settings)))
    healthy = all(one.healthy for one in found)
    if json:
        services = [{"name": one.name, "healthy": one.healthy, "says": one.says} for one in found]
        typer.echo(orjson.dumps({"healthy": healthy, "services": services}).decode())
    else:
        console = Console()
        for one in found:
            mark = Text("ok     ", style="green") if one.healthy else Text("not ok ", style="red")
            console.print(mark, f"{one.name}: {one.says}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if healthy else 1)


def findings(settings: "Settings", heard: "Mapping[str, Status]") -> list[Finding]:
    """Return each process that the configuration asks for, or that was heard, and how it is. Pure."""
    from fluxforge.domain.status import CollectorStatus, CompactorStatus, EtlStatus, SegmenterStatus  # noqa: PLC0415 - heavy
    from fluxforge_cli.system.plan import lanes  # noqa: PLC0415 - heavy

    statuses = list(heard.values())
    collectors = {status.lane: status for status in statuses if isinstance(status, CollectorStatus)}
    found = [_collector(str(lane), collectors.pop(str(lane), None)) for lane in lanes(settings)]
    found += [_collector(lane, status) for lane, status in sorted(collectors.items())]
    segmenters = [status for status in statuses if isinstance(status, SegmenterStatus)]
    workers = [status for status in statuses if isinstance(status, EtlStatus)]
    found += [
        Finding("segmenter", one.ready, f"{_ready(one.ready)}, {len(one.lanes)} lanes") for one in segmenters
    ] or [_silent("segmenter")]
    found += [
        Finding("etl-worker", one.ready, f"{_ready(one.ready)}, backlog {one.backlog:,} segments") for one in workers
    ] or [_silent("etl-worker")]
    found += [
        Finding("compactor", one.ready, f"{_ready(one.ready)}, {one.merges:,} merges of {one.files:,} files")
        for one in statuses
        if isinstance(one, CompactorStatus)
    ]
    return found


def _collector(lane: str, status: "Status | None") -> Finding:
    from fluxforge.domain.status import CollectorStatus  # noqa: PLC0415 - heavy

    name = f"collector {lane}"
    if not isinstance(status, CollectorStatus):
        return _silent(name)
    unsound = [f"{feed.symbol} {feed.channel}" for feed in status.feeds if not feed.sound]
    says = f"{_ready(status.ready)}, {len(status.feeds) - len(unsound)} of {len(status.feeds)} feeds sound"
    if unsound:
        says += f" (not: {', '.join(unsound)})"
    if status.spooled:
        says += f", {status.spooled:,} records spooled"
    return Finding(name, status.ready and not unsound, says)


def _ready(ready: bool) -> str:
    return "ready" if ready else "not ready"


def _silent(name: str) -> Finding:
    return Finding(name, healthy=False, says=f"not heard within {_LISTEN_S:.0f} s")


async def _listen(settings: "Settings") -> "Mapping[str, Status]":
    from fluxforge.domain.status import status_from_json  # noqa: PLC0415 - heavy
    from fluxforge_cli.bus import connected  # noqa: PLC0415 - heavy

    bus = await connected(settings, "health")
    try:
        heard = await bus.statuses(wait_s=_LISTEN_S)
    finally:
        await bus.close()
    return {subject: status_from_json(text) for subject, text in heard.items()}
