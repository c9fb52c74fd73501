"""`fluxforge health`: what the services say of themselves on the bus."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxforge_cli.findings import Finding, State, show
from fluxforge_cli.options import ConfigOption, DataOption, choose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxforge.domain.status import CollectorStatus, CompactorStatus, EtlStatus, SegmenterStatus, Status
    from fluxforge.runtime.settings import Settings

_LISTEN_S: Final = 3.0
_BACKLOG_MINUTES: Final = 15
_QUIET_S: Final = 60.0
_NS: Final = 1_000_000_000
_NS_PER_MINUTE: Final = 60 * _NS
_NAMED_MAX: Final = 20

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")]
BacklogOption = Annotated[
    int, typer.Option("--backlog-minutes", metavar="N", min=1, help="A segment waiting for longer is too old.")
]


def health(
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
    backlog_minutes: BacklogOption = _BACKLOG_MINUTES,
) -> None:
    """Listen for the services.

    Exit code 0: all are there and well; 1: something is degraded; 2: something is not there, the bus does not answer,
    or the configuration is wrong.
    """
    from fluxforge.domain.errors import FluxForgeError, UsageError  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    try:
        found = findings(settings, asyncio.run(_listen(settings)), backlog_minutes=backlog_minutes)
    except UsageError:
        raise
    except FluxForgeError as error:
        found = [Finding("bus", State.CRITICAL, str(error), "`fluxforge doctor` looks at the installation")]
    raise typer.Exit(show(found, key="services", json=json))


def findings(
    settings: "Settings", heard: "Mapping[str, Status]", *, backlog_minutes: int = _BACKLOG_MINUTES
) -> list[Finding]:
    """Return each process that the configuration asks for, or that was heard, and how it is. Pure."""
    from fluxforge.domain.status import CollectorStatus, CompactorStatus, EtlStatus, SegmenterStatus  # noqa: PLC0415 - heavy
    from fluxforge_cli.system.plan import lanes  # noqa: PLC0415 - heavy

    statuses = list(heard.values())
    quiet_s = settings.ingestion.stall_seconds or _QUIET_S
    collectors = {status.lane: status for status in statuses if isinstance(status, CollectorStatus)}
    names = [str(lane) for lane in lanes(settings)]
    names += sorted(collectors.keys() - set(names))
    found = [_collector(lane, collectors.get(lane), quiet_s) for lane in names]
    segmenters = [_segmenter(status) for status in statuses if isinstance(status, SegmenterStatus)]
    found += segmenters or [_silent("segmenter")]
    workers = [_worker(status, backlog_minutes) for status in statuses if isinstance(status, EtlStatus)]
    found += workers or [_silent("etl-worker")]
    return found + [_compactor(status) for status in statuses if isinstance(status, CompactorStatus)]


def _collector(lane: str, status: "CollectorStatus | None", quiet_s: float) -> Finding:
    name = f"collector {lane}"
    if status is None:
        return _silent(name)
    unsound = [f"{feed.symbol} {feed.channel}" for feed in status.feeds if not feed.sound]
    quiet = [
        f"{feed.symbol} {feed.channel}"
        for feed in status.feeds
        if feed.last_ns and status.at_ns - feed.last_ns > quiet_s * _NS
    ]
    says = f"{_ready(status.ready)}, {len(status.feeds) - len(unsound)} of {len(status.feeds)} feeds sound"
    if unsound:
        says += f" (not: {_some(unsound)})"
    if quiet:
        says += f", no record for {quiet_s:g} s of {_some(quiet)}"
    if status.spooled:
        says += f", {status.spooled:,} records spooled"
    if status.dropped:
        says += f", {status.dropped:,} records dropped since it started"
    return Finding(name, _state(status.ready and not unsound and not status.spooled), says)


def _segmenter(status: "SegmenterStatus") -> Finding:
    return Finding("segmenter", _state(status.ready), f"{_ready(status.ready)}, {len(status.lanes)} lanes")


def _worker(status: "EtlStatus", backlog_minutes: int) -> Finding:
    says = f"{_ready(status.ready)}, backlog {status.backlog:,} segments"
    age_ns = status.at_ns - status.oldest_ns if status.oldest_ns else 0
    is_old = age_ns > backlog_minutes * _NS_PER_MINUTE
    if is_old:
        says += f", the oldest waits for {age_ns // _NS_PER_MINUTE:,} minutes"
    return Finding("etl-worker", _state(status.ready and not is_old), says)


def _compactor(status: "CompactorStatus") -> Finding:
    says = f"{_ready(status.ready)}, {status.merges:,} merges of {status.files:,} files"
    if status.failing:
        says += f", {status.failing:,} partitions cannot be compacted"
    return Finding("compactor", _state(status.ready and not status.failing), says)


def _some(names: list[str]) -> str:
    left = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {left} more" if left > 0 else "")


def _state(is_well: bool) -> State:
    return State.OK if is_well else State.DEGRADED


def _ready(ready: bool) -> str:
    return "ready" if ready else "not ready"


def _silent(name: str) -> Finding:
    return Finding(name, State.CRITICAL, f"not heard within {_LISTEN_S:.0f} s")


async def _listen(settings: "Settings") -> "Mapping[str, Status]":
    from fluxforge.domain.status import status_from_json  # noqa: PLC0415 - heavy
    from fluxforge_cli.bus import connected  # noqa: PLC0415 - heavy

    bus = await connected(settings, "health")
    try:
        heard = await bus.statuses(wait_s=_LISTEN_S)
    finally:
        await bus.close()
    return {subject: status_from_json(text) for subject, text in heard.items()}
