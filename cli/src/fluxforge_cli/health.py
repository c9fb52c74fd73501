"""`fluxforge health`: what the services say of themselves on the bus, and to whoever asks them by address."""

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
_NS: Final = 1_000_000_000
_NS_PER_MINUTE: Final = 60 * _NS
_NAMED_MAX: Final = 20

_SILENT: Final = "start it, or see in its log why it ended; it must use the same bus (nats.servers)"
_NOT_READY: Final = "give it a minute after a start; then its log says what it waits for"
_UNSOUND: Final = "nothing where the exchange is away; else the log says whether it refuses us, or which feed has a gap"
_SPOOLED: Final = "see whether the bus is there, has room and is quick (`fluxforge doctor`); it is sent by itself then"
_BACKLOG: Final = "start more ETL workers; one segment that is tried again and again stands in their log"
_FIRST_ROUND: Final = "give it time for its first round; then its log says what it waits for"
_PARTITIONS: Final = "its log names them (partition.failed) and why; the datasets stay right meanwhile"

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")]
BacklogOption = Annotated[
    int, typer.Option("--backlog-minutes", metavar="N", min=1, help="A segment waiting for longer is too old.")
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help="Ask this service's /readyz, too, at each address that its name has; may be repeated.",
    ),
]


def health(
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
    backlog_minutes: BacklogOption = _BACKLOG_MINUTES,
    target: TargetOption = None,
) -> None:
    """Listen for the services on the bus, and ask those that are named.

    Exit code 0: all are there and well; 1: something is degraded; 2: something is not there, the bus does not answer,
    or the configuration is wrong.
    """
    from fluxforge.domain.errors import FluxForgeError  # noqa: PLC0415 - heavy
    from fluxforge_cli.targets import Target, ask_all  # noqa: PLC0415 - heavy

    settings = choose(config, data).settings
    targets = [Target.parse(text) for text in target or ()]
    findings(settings, {}, backlog_minutes=backlog_minutes)  # refuse what nothing can be expected of
    try:
        heard = asyncio.run(_listen(settings))
    except FluxForgeError as error:  # refused by the bus, too: whoever watches wants an answer in the form asked for
        found = [Finding("bus", State.CRITICAL, str(error), "`fluxforge doctor` looks at the installation")]
    else:
        found = findings(settings, heard, backlog_minutes=backlog_minutes)
    found += asyncio.run(ask_all(targets))
    raise typer.Exit(show(found, key="services", json=json))


def findings(
    settings: "Settings", heard: "Mapping[str, Status]", *, backlog_minutes: int = _BACKLOG_MINUTES
) -> list[Finding]:
    """Return each process that the configuration asks for, or that was heard, and how it is. Pure."""
    from fluxforge.domain.status import CollectorStatus, CompactorStatus, EtlStatus, SegmenterStatus  # noqa: PLC0415 - heavy
    from fluxforge.runtime.settings.lanes import configured_lanes  # noqa: PLC0415 - heavy
    from fluxforge_collector.settings import STALE_S  # noqa: PLC0415 - heavy

    statuses = list(heard.values())
    quiet_s = settings.ingestion.stall_seconds or STALE_S
    collectors = {status.lane: status for status in statuses if isinstance(status, CollectorStatus)}
    names = [str(lane) for lane in configured_lanes(settings)]
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
    remedies = {
        _NOT_READY: not status.ready,
        _UNSOUND: bool(unsound) and status.ready,
        _SPOOLED: bool(status.spooled),
    }
    return _finding(name, says, remedies)


def _segmenter(status: "SegmenterStatus") -> Finding:
    return _finding("segmenter", f"{_ready(status.ready)}, {len(status.lanes)} lanes", {_NOT_READY: not status.ready})


def _worker(status: "EtlStatus", backlog_minutes: int) -> Finding:
    says = f"{_ready(status.ready)}, backlog {status.backlog:,} segments"
    is_old = status.oldest_age_ns > backlog_minutes * _NS_PER_MINUTE
    if is_old:
        says += f", the oldest waits for {status.oldest_age_ns // _NS_PER_MINUTE:,} minutes"
    return _finding("etl-worker", says, {_NOT_READY: not status.ready, _BACKLOG: is_old})


def _compactor(status: "CompactorStatus") -> Finding:
    says = f"{_ready(status.ready)}, {status.merges:,} merges of {status.files:,} files"
    if status.failing:
        says += f", {status.failing:,} partitions cannot be compacted"
    return _finding("compactor", says, {_FIRST_ROUND: not status.ready, _PARTITIONS: bool(status.failing)})


def _some(names: list[str]) -> str:
    left = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {left} more" if left > 0 else "")


def _finding(name: str, says: str, remedies: "Mapping[str, bool]") -> Finding:
    """Return how a process is that was heard; each remedy is told whose fault is there."""
    remedy = "; ".join(text for text, is_due in remedies.items() if is_due)
    return Finding(name, State.DEGRADED if remedy else State.OK, says, remedy)


def _ready(ready: bool) -> str:
    return "ready" if ready else "not ready"


def _silent(name: str) -> Finding:
    return Finding(name, State.CRITICAL, f"not heard within {_LISTEN_S:.0f} s", _SILENT)


async def _listen(settings: "Settings") -> "Mapping[str, Status]":
    from fluxforge.domain.status import status_from_json  # noqa: PLC0415 - heavy
    from fluxforge_cli.bus import connected  # noqa: PLC0415 - heavy

    bus = await connected(settings, "health")
    try:
        heard = await bus.statuses(wait_s=_LISTEN_S)
    finally:
        await bus.close()
    return {subject: status_from_json(text) for subject, text in heard.items()}
