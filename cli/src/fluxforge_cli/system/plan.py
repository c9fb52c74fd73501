"""The plan: which processes make up the system that a configuration describes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson

from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.lanes import CCXT, configured_lanes


class Role(StrEnum):
    """What a process does; the value begins its name."""

    COLLECTOR = "collector"
    SEGMENTER = "segmenter"
    ETL = "etl-worker"
    COMPACTOR = "compactor"


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One process: its name (of its log file, too), the module it runs, arguments, and variables beside ours."""

    role: Role
    name: str
    module: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str]


def plan(
    settings: Settings,
    *,
    config: Path | None,
    bus_urls: Sequence[str],
    variables: Mapping[str, str],
    compacts: bool = True,
) -> list[ServicePlan]:
    """Return the processes: segmenter first, then ETL workers, a collector for each lane, and the compactor.

    `compacts`: whether files can be replaced where the datasets stand; the configuration has a say, too.

    Telemetry ports count up from the configured one in this order; 0 stays 0.
    """
    services: list[ServicePlan] = []
    arguments = (*(("--config", str(config)) if config else ()), "--parent-pipe")

    def add(role: Role, instance: str, module: str, *extra: str) -> None:
        port = settings.telemetry.port
        own = {
            **variables,
            "FLUXFORGE__NATS__SERVERS": orjson.dumps(list(bus_urls)).decode(),
            "FLUXFORGE__TELEMETRY__PORT": str(port + len(services) if port else 0),
            "FLUXFORGE__TELEMETRY__LOG_FORMAT": "json",
        }
        name = f"{role}-{instance}" if instance else str(role)
        services.append(ServicePlan(role, name, module, (*arguments, *extra), own))

    add(Role.SEGMENTER, "", "fluxforge_segmenter")
    for worker in range(settings.etl.workers):
        add(Role.ETL, str(worker), "fluxforge_etl_worker")
    for lane in configured_lanes(settings):
        extra = ("--source", lane.source, "--exchange", lane.exchange, "--shard", lane.shard)
        instance = f"{lane.exchange}-{lane.shard}" if lane.source == CCXT else str(lane)
        add(Role.COLLECTOR, instance, "fluxforge_collector", *extra)
    if compacts and settings.compaction.enabled:
        add(Role.COMPACTOR, "", "fluxforge_compactor")
    return services
