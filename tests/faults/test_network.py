"""The way to the bus loses acknowledgements, dribbles, breaks and is gone: every record arrives once and in order."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge.adapters.jetstream.api import Api
from fluxforge.domain.lane import Lane
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.faults.load import produced
from tests.faults.mode import Runs
from tests.faults.oracle import Verdict, drained, judge
from tests.faults.plant import Plant, Service, numbered, running_plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MIB = 2**20
QUEUE_RECORDS = 500
RSS_GROWTH_BYTES_MAX = 64 * MIB
"""What a collector may take beyond what it had when the bus went: memory's and window's bounds, twice over."""


@dataclass(slots=True)
class Way:
    """One collector on its own way to the bus."""

    plant: Plant
    exchange: str
    proxy: FaultProxy
    collector: Service

    async def stored(self) -> int:
        """Return how many blocks the bus holds or held."""
        _, last = await self.plant.stream_end(self.lane)
        return last

    @property
    def lane(self) -> Lane:
        return next(lane for lane in self.plant.lanes if lane.exchange == self.exchange)

    async def until_grown(self) -> float:
        """Wait until more is stored than now; return how long that took."""
        before = await self.stored()

        async def has_grown() -> bool:
            return await self.stored() > before

        return await self.plant.until(has_grown)


@asynccontextmanager
async def ways(
    base: Path, chance: random.Random, exchanges: dict[str, Any], **ingestion: object
) -> AsyncIterator[dict[str, Way]]:
    """Run a system whose collectors reach the bus each by a way of its own."""
    sections = {"ingestion": {"queue_maxsize": QUEUE_RECORDS, "spool_max_mb": 2_000, **ingestion}}
    async with running_plant(base, exchanges, **sections) as plant, AsyncExitStack() as stack:
        for service in (plant.segmenter(), plant.etl()):
            await service.start()
        found = {}
        for name in exchanges:
            proxy = await stack.enter_async_context(fault_proxy(plant.server.url, chance))
            urls = orjson.dumps([proxy.url]).decode()
            found[name] = Way(plant, name, proxy, plant.collector(name, FLUXFORGE__NATS__SERVERS=urls))
            await found[name].collector.start()
        for way in found.values():
            await way.collector.until_ready()
            await way.until_grown()
        yield found
        await drained(plant)


async def test_a_bad_way_to_the_bus_costs_nothing(tmp_path: Path, runs: Runs, table: FaultTable, seed: int) -> None:
    chance = random.Random(seed)
    rough_s = runs(bounded=4, full=60)
    rates = {"acks": 300, "forgetful": 300, "rough": 200, "resets": 300}
    exchanges = {}
    for name, rate_hz in rates.items():
        exchanges |= numbered(tmp_path, name, rate_hz=rate_hz, bulk_bytes=500)
    async with ways(tmp_path, chance, exchanges) as found:
        plant = found["acks"].plant
        async with asyncio.TaskGroup() as tasks:
            acks = tasks.create_task(acks_lost(found["acks"], rough_s))
            forgotten = tasks.create_task(acks_lost_until_forgotten(found["forgetful"], rough_s))
            rough = tasks.create_task(dribble(found["rough"], rough_s))
            resets = tasks.create_task(reset_in_the_middle(found["resets"], rough_s))
    verdicts = {name: judge(plant, name) for name in rates}
    add(table, "acknowledgements lost, 1 in 5", acks.result(), verdicts["acks"])
    add(table, "acknowledgements lost until the dedupe window forgot", forgotten.result(), verdicts["forgetful"])
    add(table, "link of 1-byte answers, 64-byte requests and jitter, s", rough.result(), verdicts["rough"])
    add(table, "connection reset in the middle of a message", resets.result(), verdicts["resets"])
    for verdict in verdicts.values():
        assert verdict.is_whole, verdict


def add(table: FaultTable, fault: str, toll: tuple[int, list[float]], verdict: Verdict) -> None:
    injected, recoveries_s = toll
    assert injected, f"{fault}: nothing was injected"
    table.judged(fault, verdict, recoveries_s, runs=injected)


async def acks_lost(way: Way, seconds: float) -> tuple[int, list[float]]:
    way.proxy.weather.ack_loss = 0.2
    await asyncio.sleep(seconds)
    way.proxy.weather.ack_loss = 0.0
    return way.proxy.acks_lost, [await way.until_grown()]


async def acks_lost_until_forgotten(way: Way, seconds: float) -> tuple[int, list[float]]:
    """Hold acknowledgements until their blocks' ids are forgotten, then lose them with the connection."""
    api: Api = way.plant.bus._api
    stream = way.lane.stream(1)
    config = (await api.call(f"STREAM.INFO.{stream}"))["config"]
    await api.call(f"STREAM.UPDATE.{stream}", {**config, "duplicate_window": 100_000_000})
    recoveries_s, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        await way.until_grown()
        way.proxy.hold_answers()
        await asyncio.sleep(0.4)
        way.proxy.cut()
        way.proxy.release_answers()
        recoveries_s.append(await way.until_grown())
    return len(recoveries_s), recoveries_s


async def dribble(way: Way, seconds: float) -> tuple[int, list[float]]:
    weather = way.proxy.weather
    weather.answer_bytes, weather.chunk_bytes, weather.delay_s = 1, 64, 0.0005
    before = await way.stored()
    busy_s = cpu_s(way.collector)
    await asyncio.sleep(seconds)
    assert await way.stored() > before, "nothing came through"
    assert cpu_s(way.collector) - busy_s < 0.8 * seconds, "the collector spins"
    weather.answer_bytes = weather.chunk_bytes = 65_536
    weather.delay_s = 0.0
    return round(seconds), [await way.until_grown()]


async def reset_in_the_middle(way: Way, seconds: float) -> tuple[int, list[float]]:
    way.proxy.weather.reset_bytes = 200_000
    recoveries_s, end, resets = [], time.monotonic() + seconds, 0
    while time.monotonic() < end:
        await asyncio.sleep(0.02)
        if way.proxy.resets > resets:
            resets = way.proxy.resets
            recoveries_s.append(await way.until_grown())
    way.proxy.weather.reset_bytes = None
    return way.proxy.resets, recoveries_s


async def test_a_bus_that_is_away_fills_the_spool_and_not_the_memory(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    # What five minutes at 2,000 records a second leave behind is reached sooner at a higher rate.
    rate_hz, records = runs(bounded=2_000, full=8_000), runs(bounded=6_000, full=600_000)
    exchanges = numbered(tmp_path, "away", rate_hz=rate_hz, bulk_bytes=1_000)
    ingestion = {
        # A thousand small segments would say nothing more and take the worker half an hour.
        "segment_max_mb": runs(bounded=1, full=50),
        # Half a second of records: what a sync of a busy disk may take before memory and spool are full.
        "queue_maxsize": rate_hz // 2,
    }
    async with ways(tmp_path, random.Random(seed), exchanges, **ingestion) as found:
        way = found["away"]
        before_bytes, peak_bytes = rss_bytes(way.collector), 0
        made = sum(way_made(way))
        way.proxy.go_away()
        async with asyncio.timeout(600):
            while sum(way_made(way)) < made + records:
                await asyncio.sleep(0.2)
                peak_bytes = max(peak_bytes, rss_bytes(way.collector))
        assert way.collector.logged(b'"spool.begun"')
        spooled, missed = spool_bytes(way), sum(way_made(way)) - made
        way.proxy.come_back()
        recovery_s = await way.until_grown()
        async with asyncio.timeout(600):
            while not way.collector.logged(b'"spool.drained"'):
                await asyncio.sleep(0.2)
                peak_bytes = max(peak_bytes, rss_bytes(way.collector))
    verdict = judge(way.plant)
    add(table, f"bus away while {missed:,} records came in", (1, [recovery_s]), verdict)
    assert verdict.is_whole, verdict
    assert spooled > records * 100 > ingestion["queue_maxsize"] * 100, "the spool did not hold what memory cannot"
    assert peak_bytes - before_bytes < RSS_GROWTH_BYTES_MAX, f"grew by {(peak_bytes - before_bytes) / MIB:.0f} MiB"


def way_made(way: Way) -> list[int]:
    return [count.seq for count in produced(way.plant.produced_dir / way.exchange).values()]


def spool_bytes(way: Way) -> int:
    return sum(path.stat().st_size for path in (way.plant.base / "spool").rglob("*") if path.is_file())


def rss_bytes(service: Service) -> int:
    for line in Path(f"/proc/{service.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{service.name} has ended")


def cpu_s(service: Service) -> float:
    fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.usefixtures("full_run")
async def test_a_record_no_bus_takes_is_named_and_breaks_no_connection(tmp_path: Path, table: FaultTable) -> None:
    # One byte over the server's limit would close the client's connection for good.
    exchanges = numbered(tmp_path, "large", rate_hz=20)
    exchanges["large"]["options"]["bulk_sizes"] = [8_322_000, 1_000, 8_323_072, 8_388_608, 1_000]
    async with ways(tmp_path, random.Random(0), exchanges) as found:
        way = found["large"]

        async def is_rejected() -> bool:
            return way.collector.log_path.read_bytes().count(b'"message.rejected"') >= 4

        await way.plant.until(is_rejected)
        connections = way.proxy.connections
    verdict = judge(way.plant)
    table.judged("record larger than the bus takes", verdict, runs=4)
    assert connections == 1
    assert verdict.is_explained, verdict
    assert verdict.lost >= 4
