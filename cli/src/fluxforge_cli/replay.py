"""`fluxforge replay`: the records of sealed segments once more, on the bus, over websockets, or through ccxt."""

import secrets
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fluxforge.domain.errors import UsageError
from fluxforge_cli.options import ConfigOption, DataOption, choose

if TYPE_CHECKING:  # heavy
    from collections.abc import Callable

    from fluxforge.runtime.lifecycle import Shutdown
    from fluxforge.runtime.settings import Settings
    from fluxforge_collector.replay.segments import Segments

SERVICE: Final = "replay"
_SHARD: Final = "0of1"
_BOOT_BYTES: Final = 4


class Target(StrEnum):
    """Where the records go."""

    BUS = "bus"
    WS = "ws"
    UNIFY = "unify"


def replay(
    segments: Annotated[list[Path], typer.Argument(metavar="SEGMENT...", help="Segment files of one lane.")],
    to: Annotated[
        Target,
        typer.Option(
            help="bus: a lane of its own; ws: the captured frames to any client; unify: records derived from them."
        ),
    ],
    speed: Annotated[
        float | None,
        typer.Option(min=0, metavar="N", help="bus, ws: multiple of the recorded pace; 0: unpaced (default: 1)."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="bus: the lane's source (default: replay).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="ws: 0 takes any free port, which is printed (default: 0).")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="unify: write here, not to stdout.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Feed the records of segments back, in their order.

    bus needs any segments; ws and unify need wire records (ingestion.capture_wire), from the beginning of a capture.
    """
    _refuse(to, {"--speed": speed, "--source": source, "--port": port, "--out": out})
    from fluxforge_collector.replay.segments import open_segments  # noqa: PLC0415 - heavy

    found = open_segments(segments)
    pace = 1.0 if speed is None else speed
    match to:
        case Target.BUS:
            raise typer.Exit(_publish(found, choose(config, data).settings, source or SERVICE, pace))
        case Target.WS:
            raise typer.Exit(_serve(found, port or 0, pace))
        case Target.UNIFY:
            _unify(found, out)


def _refuse(to: Target, given: dict[str, Any]) -> None:
    of = {Target.BUS: {"--speed", "--source"}, Target.WS: {"--speed", "--port"}, Target.UNIFY: {"--out"}}[to]
    for option in (name for name, value in given.items() if value is not None and name not in of):
        raise UsageError(f"{option} says nothing to --to {to.value}; it takes {', '.join(sorted(of))}")


def _publish(segments: "Segments", settings: "Settings", source: str, speed: float) -> int:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - heavy

    from fluxforge.adapters.system_clock import SystemClock  # noqa: PLC0415 - heavy
    from fluxforge.domain.lane import Lane  # noqa: PLC0415 - heavy
    from fluxforge.runtime import logs  # noqa: PLC0415 - heavy
    from fluxforge.runtime.lifecycle import run  # noqa: PLC0415 - heavy
    from fluxforge_cli.bus import connected  # noqa: PLC0415 - heavy
    from fluxforge_collector.collector import Collector  # noqa: PLC0415 - heavy
    from fluxforge_collector.events import CollectorEvents  # noqa: PLC0415 - heavy
    from fluxforge_collector.replay.publish import ReplaySource, feeds_of  # noqa: PLC0415 - heavy
    from fluxforge_collector.settings import settings_of  # noqa: PLC0415 - heavy

    lane = Lane(source, segments.exchange, _SHARD)
    feeds = feeds_of(segments, source)
    logs.configure(SERVICE, level=settings.log_level, log_format=settings.telemetry.log_format)

    async def body(shutdown: "Shutdown") -> None:
        records = ReplaySource(segments, feeds, speed=speed, ended=shutdown.request)
        clock = SystemClock()
        bus = await connected(settings, SERVICE)
        try:
            collector = Collector(
                settings_of(settings, lane),
                source=records,
                bus=bus,
                clock=clock,
                events=CollectorEvents(CollectorRegistry(), str(lane), clock),
                boot=secrets.token_hex(_BOOT_BYTES),
            )
            await collector.run(shutdown)
        finally:
            await bus.close()
        typer.echo(f"{lane}: {records.published:,} records replayed, {collector.status().stored:,} stored")

    return run(SERVICE, body)


def _serve(segments: "Segments", port: int, speed: float) -> int:
    from fluxforge.runtime.lifecycle import run  # noqa: PLC0415 - heavy
    from fluxforge_collector.replay.script import script_of  # noqa: PLC0415 - heavy
    from fluxforge_collector.replay.serve import WireServer  # noqa: PLC0415 - heavy
    from fluxforge_collector.replay.tape import steps  # noqa: PLC0415 - heavy

    script = script_of(steps(segments.records()))

    async def body(shutdown: "Shutdown") -> None:
        try:
            async with WireServer(script, port=port, speed=speed) as server:
                typer.echo(f'{{"port": {server.port}}}')
                sys.stdout.flush()
                await shutdown.wait()
        except OSError as error:
            raise UsageError(f"--port {port}: expected a free port: {error.strerror}") from error

    return run(SERVICE, body)


def _unify(segments: "Segments", out: Path | None) -> None:
    from fluxforge_collector.replay.tape import steps  # noqa: PLC0415 - heavy
    from fluxforge_collector.replay.unify import unify  # noqa: PLC0415 - heavy

    tape = steps(segments.records())
    if out is None:
        unify(tape, sys.stdout.buffer.write)
        sys.stdout.flush()
        return
    typer.echo(f"{_written(out, lambda write: unify(tape, write)):,} records in {out}")


def _written(out: Path, put: "Callable[[Callable[[bytes], object]], int]") -> int:
    """Write a new file, which appears when it is whole; return what writing it returns.

    Raises:
        UsageError: There is one already, or none can be created there.
        StoreUnavailableError: The disk is full, or failed.
    """
    from fluxforge.domain.errors import StoreUnavailableError  # noqa: PLC0415 - beside its use

    if out.exists():
        raise UsageError(f"--out {out} exists; choose another name, or remove it")
    aside = out.with_name(f".{out.name}.part")
    try:
        file = aside.open("wb")
    except OSError as error:
        raise UsageError(f"--out {out}: expected a file that can be created: {error.strerror}") from error
    try:
        with file:
            count = put(file.write)
        aside.rename(out)
    except OSError as error:
        raise StoreUnavailableError("write", str(out), error.strerror or str(error)) from error
    finally:
        aside.unlink(missing_ok=True)
    return count
