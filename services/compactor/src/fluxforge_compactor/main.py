"""The compactor's composition root: reads the settings, builds the adapters, runs the service."""

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.stores import open_partitions, open_store
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.dataset.rewrite.candidates import Looker
from fluxforge.domain.errors import FluxForgeError
from fluxforge.domain.status import status_to_json
from fluxforge.ports.partitions import Partitions
from fluxforge.runtime import lifecycle, logs, telemetry
from fluxforge.runtime.metrics import expose_service, local_places
from fluxforge.runtime.notices import BusNotices, give_notice
from fluxforge.runtime.patience import Patience
from fluxforge.runtime.settings import Settings, load
from fluxforge_compactor.compact import Compactor
from fluxforge_compactor.events import CompactorEvents
from fluxforge_compactor.service import CompactorService
from fluxforge_compactor.settings import CompactorSettings

_SERVICE = "compactor"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service; return its exit code."""
    arguments = _arguments(argv)
    try:
        settings = load(arguments.config)
        logs.configure(_SERVICE, level=settings.log_level, log_format=settings.telemetry.log_format)
        give_notice(settings.nats)
    except FluxForgeError as error:
        return lifecycle.report(_SERVICE, error)

    async def body(shutdown: lifecycle.Shutdown) -> None:
        await _serve(settings, shutdown)

    return lifecycle.run(_SERVICE, body, parent_pipe=arguments.parent_pipe)


def compactor_of(settings: Settings, own: CompactorSettings) -> tuple[Compactor, Partitions]:
    """Return a compactor on the configured stores, and their partitions; they are not looked at yet."""
    storage = settings.storage
    raw, output = open_store(storage.etl_storage_input), open_store(storage.etl_storage_output)
    partitions = open_partitions(storage.etl_storage_output, storage.scratch_dir)
    return Compactor(Looker(raw, output, own.layout), partitions, own.policy, SystemClock()), partitions


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("fluxforge_compactor", description="Merge small files of the datasets.")
    parser.add_argument("--config", type=Path, help="the configuration file")
    parser.add_argument("--parent-pipe", action="store_true", help="drain when stdin closes")
    return parser.parse_args(argv)


async def _serve(settings: Settings, shutdown: lifecycle.Shutdown) -> None:
    own, registry = CompactorSettings.of(settings), CollectorRegistry()
    storage = settings.storage
    places = local_places(segments=storage.etl_storage_input, datasets=storage.etl_storage_output)
    expose_service(registry, _SERVICE, {**places, "scratch": storage.scratch_dir})
    events, notices = CompactorEvents(registry), BusNotices(registry)
    compactor, partitions = compactor_of(settings, own)
    service = CompactorService(compactor, open_store(settings.storage.etl_storage_input), own, SystemClock(), events)
    server = await telemetry.serve(
        settings.telemetry.host, settings.telemetry.port, registry, lambda: service.is_ready, lambda: True
    )
    try:
        events.settings_loaded(
            output=open_store(settings.storage.etl_storage_output).place,
            telemetry_port=server.port,
            interval_s=own.interval_s,
            compact_after_s=own.policy.quiet_ns / 1e9,
            grace_s=own.policy.grace_ns / 1e9,
        )
        await shutdown.unless_requested(Patience(events).disk(partitions.probe))
        async with asyncio.TaskGroup() as group:
            hints = group.create_task(_listen(settings, service, events, notices))
            await service.run(shutdown)
            hints.cancel()
    finally:
        await server.close()
    sys.stdout.buffer.write(status_to_json(service.status()) + b"\n")
    sys.stdout.flush()


async def _listen(settings: Settings, service: CompactorService, events: CompactorEvents, notices: BusNotices) -> None:
    options = BusOptions.from_settings(settings.nats)
    bus = await Patience(events).bus(partial(connect, options, name=_SERVICE, changed=notices.changed))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(bus.failed())
            group.create_task(service.listen(bus))
            group.create_task(service.announce(bus, f"{os.getpid()}-{secrets.token_hex(2)}"))
    finally:
        await bus.close()
