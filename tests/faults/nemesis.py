"""The nemesis: ends services at random moments under load, again and again, and counts how soon they are back."""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass, field

from fluxforge.domain.errors import BusUnavailableError
from fluxforge.domain.lane import Lane
from tests.faults.plant import PATIENCE_S, PROGRESS, READY, Plant, Service

_EARLY_SHARE = 0.1
_DELAY_S = (0.005, 1.5)
_EXITS_MAX = 20
"""Lives that end by themselves; where they are more, the service cannot start."""


@dataclass(slots=True)
class Toll:
    """What was done to one service. `recoveries_s`: from a kill to the service's first new progress."""

    kills: int = 0
    after_ready: int = 0
    recoveries_s: list[float] = field(default_factory=list)


async def kill_service(
    service: Service,
    kills: int,
    chance: random.Random,
    *,
    delay_s: tuple[float, float] = _DELAY_S,
) -> Toll:
    """Kill a service so many times, mostly soon after it was ready, sometimes while it starts; it is left running."""
    toll = Toll()
    killed_at: float | None = None
    while True:
        early = chance.random() < _EARLY_SHARE
        if not early or toll.kills == kills:
            await service.until_ready()
        begun = time.monotonic()
        wait_s = chance.uniform(*delay_s)
        if killed_at is not None and (not early or toll.kills == kills):
            # Whoever is killed before its first progress has not recovered: the clock goes on.
            patience_s = PATIENCE_S if toll.kills == kills else wait_s
            if await _progressed(service, patience_s):
                toll.recoveries_s.append(time.monotonic() - killed_at)
                killed_at = None
        if toll.kills == kills:
            return toll
        await asyncio.sleep(max(0.0, begun + wait_s - time.monotonic()))
        was_ready = service.logged(*READY[service.kind])
        at = time.monotonic()
        if await service.kill():
            toll.kills += 1
            toll.after_ready += was_ready
            killed_at = killed_at if killed_at is not None else at
        assert len(service.exits) <= _EXITS_MAX, service.tail()
        await service.start()


async def _progressed(service: Service, patience_s: float) -> bool:
    try:
        return await service.until_logged(PROGRESS[service.kind], patience_s=patience_s)
    except TimeoutError:
        return False


async def kill_bus(plant: Plant, kills: int, chance: random.Random, *, pause_s: tuple[float, float]) -> Toll:
    """Kill the bus so many times; it is back when a lane's stream has grown beyond where it stood."""
    toll = Toll()
    lane = plant.lanes[0]
    while toll.kills < kills:
        await asyncio.sleep(chance.uniform(*pause_s))
        before = await end_of(plant, lane)
        at = time.monotonic()
        os.kill(plant.server.pid, signal.SIGKILL)
        toll.kills += 1
        toll.after_ready += 1
        await plant.server.start()

        async def has_grown(before: tuple[int, int] = before) -> bool:
            return await end_of(plant, lane) > before

        await plant.until(has_grown)
        toll.recoveries_s.append(time.monotonic() - at)
    return toll


async def end_of(plant: Plant, lane: Lane) -> tuple[int, int]:
    """Return where a lane stands, once the bus answers."""
    while True:
        try:
            return await plant.stream_end(lane)
        except BusUnavailableError:
            await asyncio.sleep(0.05)
