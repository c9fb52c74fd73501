"""The segmenter's composition root: reads the settings, builds the adapters, runs the service."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.local_files import fsync_file
from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.stores import open_store
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import FluxForgeError
from fluxforge.domain.status import status_to_json
from fluxforge.ports.store import Store
from fluxforge.runtime import lifecycle, logs, telemetry
from fluxforge.runtime.metrics import expose_service, local_places
from fluxforge.runtime.notices import BusNotices, give_notice
from fluxforge.runtime.patience import Patience
from fluxforge.runtime.settings import Settings, load
from fluxforge_segmenter.events import SegmenterEvents
from fluxforge_segmenter.service import Ports, Segmenter
from fluxforge_segmenter.settings import SegmenterSettings

_SERVICE = "segmenter"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service; return its exit code."""
    arguments = _arguments(argv)
    try:
        settings = load(arguments.config)
        logs.configure(_SERVICE, level=settings.log_level, log_format=settings.telemetry.log_format)
        give_notice(settings.nats)
        own = SegmenterSettings.of(settings)
        store = open_store(settings.storage.ingestion_storage, sync=own.fsync)
        LocalStore(own.scratch_dir, sync=own.fsync).probe()
    except FluxForgeError as error:
        return lifecycle.report(_SERVICE, error)

    async def body(shutdown: lifecycle.Shutdown) -> None:
        await _serve(settings, own, store, shutdown)

    return lifecycle.run(_SERVICE, body, parent_pipe=arguments.parent_pipe)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("fluxforge_segmenter", description="Seal the lanes of the bus as NDJSON segments.")
    parser.add_argument("--config", type=Path, help="the configuration file")
    parser.add_argument("--parent-pipe", action="store_true", help="drain when stdin closes")
    return parser.parse_args(argv)


def _no_fsync(_fd: int, _path: Path) -> None:
    """Leave it to the kernel when bytes reach the disk."""


async def _serve(settings: Settings, own: SegmenterSettings, store: Store, shutdown: lifecycle.Shutdown) -> None:
    registry = CollectorRegistry()
    places = local_places(segments=settings.storage.ingestion_storage)
    expose_service(registry, _SERVICE, {**places, "scratch": own.scratch_dir})
    events, notices = SegmenterEvents(registry), BusNotices(registry)
    segmenter: Segmenter | None = None
    server = await telemetry.serve(
        settings.telemetry.host,
        settings.telemetry.port,
        registry,
        ready=lambda: segmenter is not None and segmenter.is_ready,
        live=lambda: True,
    )
    try:
        events.settings_loaded(
            store=store.place,
            telemetry_port=server.port,
            segment_bytes_max=own.policy.size_bytes_max,
            segment_age_s=own.policy.age_ns_max / 1e9,
            compression=own.compression.value,
            fsync=own.fsync,
        )
        patience = Patience(events)
        await shutdown.unless_requested(patience.disk(store.probe))
        options = BusOptions.from_settings(settings.nats)
        connecting = partial(connect, options, name=_SERVICE, changed=notices.changed)
        bus = await shutdown.unless_requested(patience.bus(connecting))
        if bus is None:
            return
        try:
            ports = Ports(bus, store, SystemClock(), fsync_file if own.fsync else _no_fsync)
            segmenter = Segmenter(own, ports, events, shutdown)
            await segmenter.run()
        finally:
            await bus.close()
    finally:
        await server.close()
    sys.stdout.buffer.write(status_to_json(segmenter.status()) + b"\n")
    sys.stdout.flush()
