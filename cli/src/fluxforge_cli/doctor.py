"""`fluxforge doctor`: whether the installation is fit, and what to do where it is not."""

import asyncio
from typing import TYPE_CHECKING

import typer

from fluxforge_cli.findings import Finding, show
from fluxforge_cli.health import JsonOption
from fluxforge_cli.options import ConfigOption, DataOption, choose

if TYPE_CHECKING:
    from fluxforge.runtime.settings import Settings


def doctor(config: ConfigOption = None, data: DataOption = None, json: JsonOption = False) -> None:
    """Look at bus, storage, clock, disks and versions, each with a remedy; run it where the services run.

    Exit code 0: fit; 1: something should be seen to; 2: it cannot work like this, or the configuration is wrong.
    """
    settings = choose(config, data).settings
    raise typer.Exit(show(asyncio.run(_look(settings)), key="findings", json=json))


async def _look(settings: "Settings") -> list[Finding]:
    from fluxforge.adapters.system_clock import SystemClock  # noqa: PLC0415 - heavy
    from fluxforge_cli.checkup.bus import check_bus  # noqa: PLC0415 - heavy
    from fluxforge_cli.checkup.machine import check_machine  # noqa: PLC0415 - heavy
    from fluxforge_cli.checkup.storage import check_storage  # noqa: PLC0415 - heavy

    bus = await check_bus(settings, SystemClock())
    storage = await asyncio.to_thread(check_storage, settings)
    return [*bus, *storage, *check_machine(settings)]
