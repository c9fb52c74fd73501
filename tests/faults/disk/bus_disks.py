"""A whole system whose bus stands on a disk of its own, which can lose its power, fail or be full."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from typing_extensions import override

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import BusOptions, connect
from fluxforge.adapters.jetstream.provision import provision
from tests.faults.disk.volumes import Volume
from tests.faults.nemesis import end_of
from tests.faults.oracle import audit, judge
from tests.faults.plant import Plant, configured, numbered
from tests.faults.table import FaultTable
from tests.servers import MAX_PAYLOAD

LEASE_TTL_S = 2


class TracedNats(EmbeddedNats):
    """A server whose next process runs under strace with these expressions; none: without."""

    inject: tuple[str, ...] = ()

    @override
    def _spawn(self, program: str, name: str, lock: int) -> subprocess.Popen[bytes]:
        if self.inject:
            strace = shutil.which("strace")
            wrapper = self._dir / "traced.sh"
            wrapper.write_text(
                f'#!/bin/sh\nexec {strace} -D -f -qq -o {self._dir}/strace.log {" ".join(self.inject)} {program} "$@"\n'
            )
            wrapper.chmod(0o755)
            program = str(wrapper)
        return super()._spawn(program, name, lock)


class BusDisk:
    """The server and the disk below it."""

    def __init__(self, server: TracedNats, volume: Volume | None) -> None:
        self.server = server
        self._volume = volume

    async def lose_power(self, options: BusOptions) -> None:
        """Cut the power of the bus, let it come back and be provisioned, as at every start of a system."""
        assert self._volume is not None
        pid = self.server.pid
        self._volume.cut_power()
        self.kill(pid)
        self._volume.come_back()
        await self.server.start()
        await provision(options)

    def kill(self, pid: int) -> None:
        """Kill the server and give its directory back."""
        os.kill(pid, signal.SIGKILL)
        process = self.server._process
        assert process is not None
        process.wait()
        self.server._drop_owner_lock()

    async def restart(self) -> None:
        """Kill the server, as a supervisor does that finds it unhealthy, and start it again."""
        self.kill(self.server.pid)
        await self.server.start()


@asynccontextmanager
async def plant_with(
    base: Path, folder: Path, volume: Volume | None = None, *, sync_always: bool = True, **sections: Any
) -> AsyncIterator[tuple[Plant, BusDisk, BusOptions]]:
    """Run a system below `base` with a numbered collector's exchange "x" and the bus in `folder`."""
    await asyncio.to_thread(base.mkdir, parents=True, exist_ok=True)
    server = TracedNats(folder / "nats", MAX_PAYLOAD, sync_always=sync_always)
    await server.start()
    try:
        tree = configured(
            base, server.url, numbered(base, "x"), {"nats": {"lease_ttl_seconds": LEASE_TTL_S}, **sections}
        )
        nats = tree["nats"]
        options = BusOptions(
            servers=(server.url,),
            lease_ttl_s=nats["lease_ttl_seconds"],
            unsafe_durability=nats.get("unsafe_durability", False),
        )
        await provision(options)
        bus = await connect(options, name="harness")
        plant = Plant(base, server, bus, tree)
        plant.is_supervised = True
        try:
            yield plant, BusDisk(server, volume), options
        finally:
            await plant.end()
            await bus.close()
    finally:
        process = server._process
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()
        server._drop_owner_lock()


async def begin(plant: Plant) -> None:
    """Start all services and wait until the lane is joined."""
    for service in (plant.segmenter(), plant.collector("x"), plant.etl()):
        await service.start()
    await plant.services["collector-x"].until_ready()


async def grows(plant: Plant) -> float:
    """Wait until the lane's stream grows, with services that ended started again; return how long that took."""
    before = await end_of(plant, plant.lanes[0])

    async def has_grown() -> bool:
        await plant._revive_ended()
        return await end_of(plant, plant.lanes[0]) > before

    return await plant.until(has_grown)


async def settle(plant: Plant, table: FaultTable, fault: str, recoveries_s: list[float]) -> None:
    """Drain everything and judge it."""
    await plant.drain()
    verdict = judge(plant)
    report = await audit(plant)
    table.judged(fault, verdict, recoveries_s)
    assert verdict.is_whole, verdict
    assert report["balanced"], report["findings"]


def pauses_s(seed: int, count: int) -> list[float]:
    """Return how long to wait before each of so many faults."""
    chance = random.Random(seed)
    return [chance.uniform(0.05, 2.0) for _ in range(count)]
