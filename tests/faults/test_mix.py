"""Everything at once, at random, on one system: nothing lost that is not named, nothing twice, nothing out of order."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from fluxforge.adapters.jetstream.api import Api, ApiError
from fluxforge.domain.errors import BusUnavailableError
from tests.fault_proxy import FaultProxy, Weather, fault_proxy
from tests.faults.mode import Runs
from tests.faults.oracle import audit, judge
from tests.faults.plant import Plant, Service, numbered, running_plant
from tests.faults.table import FaultTable
from tests.faults.test_bus import supervision

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Mix:
    """Injects one fault after the other, chosen at random, into a running system."""

    def __init__(self, plant: Plant, proxies: list[FaultProxy], chance: random.Random) -> None:
        self.injected: Counter[str] = Counter()
        self._plant = plant
        self._proxies = proxies
        self._chance = chance
        self._faults: list[Callable[[], Awaitable[None]]] = [
            self._kill,
            self._kill,
            self._terminate,
            self._sleep,
            self._kill_bus,
            self._stop_bus,
            self._change_weather,
            self._change_weather,
            self._cut,
            self._go_away,
            self._drop_consumers,
            self._purge_events,
        ]

    async def run(self, seconds: float) -> None:
        """Inject until the time is over, then let everything be well again."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fault = self._chance.choice(self._faults)
            await fault()
            self.injected[fault.__name__] += 1
            await asyncio.sleep(self._chance.uniform(0, 0.8))
        for proxy in self._proxies:
            proxy.weather = Weather()

    def _service(self) -> Service:
        return self._chance.choice(sorted(self._plant.services.values(), key=lambda service: service.name))

    async def _kill(self) -> None:
        self._service().signal(signal.SIGKILL)

    async def _terminate(self) -> None:
        self._service().signal(signal.SIGTERM)

    async def _sleep(self) -> None:
        service = self._service()
        service.signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.1, 3))
        service.signal(signal.SIGCONT)

    async def _kill_bus(self) -> None:
        os.kill(self._plant.server.pid, signal.SIGKILL)
        await asyncio.sleep(self._chance.uniform(0, 1))
        await self._plant.server.start()

    async def _stop_bus(self) -> None:
        os.kill(self._plant.server.pid, signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.1, 2))
        os.kill(self._plant.server.pid, signal.SIGCONT)

    async def _change_weather(self) -> None:
        chance = self._chance
        chance.choice(self._proxies).weather = chance.choice(
            (
                Weather(),
                Weather(ack_loss=0.2),
                Weather(chunk_bytes=64, answer_bytes=1, delay_s=0.0005),
                Weather(reset_bytes=100_000),
                Weather(delay_s=0.02),
            )
        )

    async def _cut(self) -> None:
        self._chance.choice(self._proxies).cut()

    async def _go_away(self) -> None:
        proxy = self._chance.choice(self._proxies)
        proxy.go_away()
        await asyncio.sleep(self._chance.uniform(0, 3))
        proxy.come_back()

    async def _drop_consumers(self) -> None:
        api: Api = self._plant.bus._api
        try:
            for lane in self._plant.lanes:
                epoch, _ = await self._plant.stream_end(lane)
                for name in (await api.call(f"CONSUMER.NAMES.{lane.stream(epoch)}"))["consumers"] or ():
                    await api.call(f"CONSUMER.DELETE.{lane.stream(epoch)}.{name}")
        except (ApiError, BusUnavailableError):
            return  # the bus has not come back yet, or the consumer went by itself

    async def _purge_events(self) -> None:
        api: Api = self._plant.bus._api
        try:
            await api.call("STREAM.PURGE.SEGMENTS")
        except BusUnavailableError:
            return  # the bus has not come back yet


async def test_all_faults_at_random(tmp_path: Path, runs: Runs, table: FaultTable, seed: int) -> None:
    chance = random.Random(seed)
    seconds = runs(bounded=8, full=240)
    names = ("one", "two")
    async with running_plant(tmp_path, numbered(tmp_path, *names)) as plant:
        plant.is_supervised = True
        services = [plant.segmenter("segmenter-1"), plant.segmenter("segmenter-2"), plant.etl("etl-1")]
        if seconds > 60:
            services.append(plant.etl("etl-2"))
        async with fault_proxy(plant.server.url, chance) as one, fault_proxy(plant.server.url, chance) as two:
            for name, proxy in zip(names, (one, two), strict=True):
                urls = orjson.dumps([proxy.url]).decode()
                services.append(plant.collector(name, FLUXFORGE__NATS__SERVERS=urls))
            for service in services:
                await service.start()
            await plant.until(lambda: plant.stream_end(plant.lanes[0]))
            async with supervision(plant):
                mix = Mix(plant, [one, two], chance)
                await mix.run(seconds)
                for service in services:
                    service.signal(signal.SIGCONT)
                for name in names:
                    await plant.services[f"collector-{name}"].until_ready()
            standby = plant.services.pop("segmenter-2")
            await standby.stop(codes=(0, 1))
            await plant.drain()
        assert plant.crashes() == []
        report = await audit(plant)
        verdict = judge(plant)
    table.judged(
        f"random mix for {seconds} s: {', '.join(sorted(name.strip('_') for name in mix.injected))}",
        verdict,
        runs=mix.injected.total(),
    )
    assert verdict.is_explained, verdict
    assert report["balanced"], report["findings"][:20]
