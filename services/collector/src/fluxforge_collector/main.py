"""The collector's main: reads the settings, builds the adapters, runs. Wiring only."""

import argparse
import asyncio
import contextlib
import random
import secrets
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry

from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.backoff import Backoff
from fluxforge.domain.errors import BusUnavailableError, FluxForgeError
from fluxforge.domain.lane import Lane
from fluxforge.domain.status import status_to_json
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.runtime import logs, telemetry
from fluxforge.runtime.lifecycle import Shutdown, report, run
from fluxforge.runtime.metrics import expose_service
from fluxforge.runtime.notices import BusNotices, give_notice
from fluxforge.runtime.settings import Settings, load
from fluxforge.runtime.settings.lanes import CCXT
from fluxforge_collector.collector import Collector, idle_status
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.reload import Reload, asked_by_signal
from fluxforge_collector.settings import CollectorSettings, collector_settings
from fluxforge_collector.source import Source
from fluxforge_collector.sources import open_source

SERVICE: Final = "collector"
_CONNECT_BACKOFF: Final = Backoff(base_s=0.2, cap_s=5.0)
_BOOT_BYTES: Final = 4
_EXCHANGE: Final = "a configured exchange: by ccxt's id, coinbase, ibkr, or Databento's dataset as in glbxmdp3"
_Result = TypeVar("_Result")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one collector process; return its exit code."""
    parser = argparse.ArgumentParser(prog="fluxforge_collector", description="Capture one shard of one exchange.")
    parser.add_argument("--config", type=Path, help="YAML file; defaults and environment without it")
    parser.add_argument(
        "--source", default=CCXT, metavar="NAME", help=f"where the exchange is reached (default {CCXT})"
    )
    parser.add_argument("--exchange", required=True, metavar="ID", help=_EXCHANGE)
    parser.add_argument("--shard", default="0of1", metavar="IofN", help="which shard of the exchange (default 0of1)")
    parser.add_argument("--parent-pipe", action="store_true", help="drain when stdin closes")
    arguments = parser.parse_args(argv)
    try:
        lane = Lane(arguments.source, arguments.exchange, arguments.shard)
        tree = load(arguments.config)
    except FluxForgeError as error:
        return report(SERVICE, error)
    logs.configure(SERVICE, level=tree.log_level, log_format=tree.telemetry.log_format)
    give_notice(tree.nats)

    async def body(shutdown: Shutdown) -> None:
        await collect(tree, lane, SystemClock(), shutdown, arguments.config)

    return run(SERVICE, body, parent_pipe=arguments.parent_pipe)


async def collect(tree: Settings, lane: Lane, clock: Clock, shutdown: Shutdown, config: Path | None = None) -> None:
    """Capture what one lane is of until the end is asked for; print the final status on stdout.

    `config` is the file that the tree was read from, and is read again when SIGHUP comes.

    Raises:
        UsageError: What is configured cannot be captured; nothing was created or subscribed.
    """
    settings = collector_settings(tree, lane)
    boot = secrets.token_hex(_BOOT_BYTES)
    registry = CollectorRegistry()
    expose_service(registry, SERVICE, {"spool": settings.spool.directory})
    events = CollectorEvents(registry, str(settings.lane), clock)
    events.count_from(lambda: idle_status(settings, boot, clock.wall_ns()), stale_s=settings.stale_s)
    collector: Collector | None = None
    # Before the bus and the exchange are there: whoever asks why nothing is captured gets an answer.
    server = await telemetry.serve(
        tree.telemetry.host,
        tree.telemetry.port,
        registry,
        ready=lambda: collector is not None and collector.is_ready,
        live=lambda: True,
    )
    try:
        async with contextlib.AsyncExitStack() as stack:
            asked = stack.enter_context(asked_by_signal())
            ends = _Ends(tree, settings, events, BusNotices(registry), stack)
            found = await _unless_ended(shutdown, ends.find())
            if found is None:
                return
            source, bus = found
            collector = Collector(settings, source=source, bus=bus, clock=clock, events=events, boot=boot)
            reload = Reload(lane, tree, read=partial(load, config), source=source, events=events)
            async with asyncio.TaskGroup() as tasks:
                reloading = tasks.create_task(shutdown.watched(partial(reload.run, asked)))
                await collector.run(shutdown)
                reloading.cancel()
            status = collector.status()
    finally:
        await server.close()
    sys.stdout.write(status_to_json(status).decode() + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a collector stands between, looked for at once: an exchange that is away does not look like a lost bus.

    `stack` closes what was found.
    """

    tree: Settings
    settings: CollectorSettings
    events: CollectorEvents
    notices: BusNotices
    stack: contextlib.AsyncExitStack

    async def find(self) -> tuple[Source, Bus]:
        async with asyncio.TaskGroup() as tasks:
            source, bus = tasks.create_task(self._source()), tasks.create_task(self._bus())
        return source.result(), bus.result()

    async def _source(self) -> Source:
        source = await open_source(self.tree, self.settings, chance=random.random, events=self.events)
        self.stack.push_async_callback(source.close)
        return source

    async def _bus(self) -> Bus:
        bus = await _connect(BusOptions.from_settings(self.tree.nats), self.settings, self.events, self.notices)
        self.stack.push_async_callback(bus.close)
        return bus


async def _connect(
    options: BusOptions, settings: CollectorSettings, events: CollectorEvents, notices: BusNotices
) -> Bus:
    failures = 0
    while True:
        try:
            return await connect(options, name=f"{SERVICE} {settings.lane}", changed=notices.changed)
        except BusUnavailableError as error:
            failures += 1
            events.bus_awaited(error)
            await asyncio.sleep(_CONNECT_BACKOFF.delay_s(failures, random.random))


async def _unless_ended(shutdown: Shutdown, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """Return what the work returns, or None when the end is asked for first."""
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work)
        ended = tasks.create_task(shutdown.wait())
        await asyncio.wait([working, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not working.done():
            working.cancel()
            return None
    return working.result()
