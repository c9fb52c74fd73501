"""The ETL worker's composition root: reads the settings, builds the adapters, runs the service."""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fluxforge.adapters.stores import open_store
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import FluxForgeError
from fluxforge.runtime.settings import Backend, Settings, load
from fluxforge_etl_worker.retire import Retirement
from fluxforge_etl_worker.settings import etl_options
from fluxforge_etl_worker.work import Worker

if TYPE_CHECKING:
    from fluxforge.runtime.lifecycle import Shutdown
    from fluxforge_etl_worker.legs.merge import Merger

_SERVICE = "etl-worker"
_NS = 1_000_000_000
_SEALING_S = 60
"""So long a segment that is old enough may take until it is sealed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service; return its exit code."""
    # A run over a folder needs a worker and nothing of the service: what the service needs is imported here.
    from fluxforge.runtime import lifecycle, logs  # noqa: PLC0415 - see above
    from fluxforge.runtime.notices import give_notice  # noqa: PLC0415 - see above

    arguments = _arguments(argv)
    try:
        settings = load(arguments.config)
        logs.configure(_SERVICE, level=settings.log_level, log_format=settings.telemetry.log_format)
        give_notice(settings.nats)
        worker = worker_of(settings)
    except FluxForgeError as error:
        return lifecycle.report(_SERVICE, error)

    async def body(shutdown: lifecycle.Shutdown) -> None:
        await _serve(settings, worker, shutdown)

    return lifecycle.run(_SERVICE, body, parent_pipe=arguments.parent_pipe)


def worker_of(settings: Settings) -> Worker:
    """Return a worker on the configured stores; they are not looked at yet."""
    raw, output = open_store(settings.storage.etl_storage_input), open_store(settings.storage.etl_storage_output)
    # Of S3 the compactor deletes it, a grace after the commit and with another look at every part.
    deletes = settings.etl.delete_after_processing and settings.storage.etl_storage_output.backend == Backend.LOCAL
    retirement = Retirement(sealed=deletes, with_disabled=settings.etl.drop_disabled)
    return Worker(raw, output, etl_options(settings), SystemClock(), retirement)


def merger_of(settings: Settings, *, is_over: bool = False) -> "Merger":
    """Return what merges the legs on the configured stores; they are not looked at yet."""
    from fluxforge_etl_worker.legs.ledger import Delays  # noqa: PLC0415 - no worker wants it
    from fluxforge_etl_worker.legs.merge import Merger  # noqa: PLC0415 - no worker wants it

    follows_journal = settings.storage.etl_storage_output.backend != Backend.LOCAL
    ingestion = settings.ingestion
    silence_s = max(ingestion.stall_seconds or 0, ingestion.stall_ceiling_seconds)
    delays = Delays(round(silence_s * _NS), (ingestion.segment_max_age_seconds + _SEALING_S) * _NS)
    return Merger(worker_of(settings), follows_journal, delays, is_over)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("fluxforge_etl_worker", description="Turn sealed segments into Parquet.")
    parser.add_argument("--config", type=Path, help="the configuration file")
    parser.add_argument("--parent-pipe", action="store_true", help="drain when stdin closes")
    return parser.parse_args(argv)


async def _serve(settings: Settings, worker: Worker, shutdown: "Shutdown") -> None:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - see main

    from fluxforge.adapters.jetstream import BusOptions, connect  # noqa: PLC0415 - see main
    from fluxforge.domain.status import status_to_json  # noqa: PLC0415 - see main
    from fluxforge.runtime import telemetry  # noqa: PLC0415 - see main
    from fluxforge.runtime.metrics import expose_service, local_places  # noqa: PLC0415 - see main
    from fluxforge.runtime.notices import BusNotices  # noqa: PLC0415 - see main
    from fluxforge.runtime.patience import Patience  # noqa: PLC0415 - see main
    from fluxforge_etl_worker.consume import EtlService  # noqa: PLC0415 - see main
    from fluxforge_etl_worker.events import EtlEvents  # noqa: PLC0415 - see main

    registry, storage = CollectorRegistry(), settings.storage
    places = local_places(segments=storage.etl_storage_input, datasets=storage.etl_storage_output)
    expose_service(registry, _SERVICE, places)
    events, notices = EtlEvents(registry), BusNotices(registry)
    service: EtlService | None = None
    server = await telemetry.serve(
        settings.telemetry.host,
        settings.telemetry.port,
        registry,
        ready=lambda: service is not None and service.is_ready,
        live=lambda: True,
    )
    try:
        events.settings_loaded(
            input=worker.raw.place,
            output=worker.output.place,
            telemetry_port=server.port,
            hf_emit_interval_s=settings.etl.channels.orderbook.processor_options.hf_emit_interval,
            keep_books=worker.options.keep_books,
            disabled=sorted(worker.options.disabled),
            delete_after_processing=worker.retirement.sealed,
        )
        patience = Patience(events)
        await shutdown.unless_requested(patience.disk(worker.probe))
        connecting = partial(connect, BusOptions.from_settings(settings.nats), name=_SERVICE, changed=notices.changed)
        bus = await shutdown.unless_requested(patience.bus(connecting))
        if bus is None:
            return
        try:
            # A pid alone is not one worker's: containers all count from 1.
            service = EtlService(worker, bus, events, shutdown, instance=f"{os.getpid()}-{secrets.token_hex(2)}")
            await service.run()
        finally:
            await bus.close()
    finally:
        await server.close()
    sys.stdout.buffer.write(status_to_json(service.status()) + b"\n")
    sys.stdout.flush()
