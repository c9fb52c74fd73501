"""The bus stops, forgets, is wiped, fills up and loses its messages: what was captured is in Parquet, or is named."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxforge.adapters.jetstream import BusOptions
from fluxforge.adapters.jetstream.api import Api, ApiError
from fluxforge.adapters.jetstream.provision import provision
from fluxforge.domain.errors import BusUnavailableError
from fluxforge.domain.lane import Lane
from tests.faults.mode import Runs
from tests.faults.nemesis import end_of
from tests.faults.oracle import audit, drained, judge
from tests.faults.plant import Plant, numbered, running_plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.usefixtures("full_run")]


@asynccontextmanager
async def working(base: Path, exchanges: dict[str, Any], **sections: Any) -> AsyncIterator[Plant]:
    """Run a system that works on numbered records; drained and audited at the end."""
    async with running_plant(base, exchanges, **sections) as plant:
        for service in (plant.segmenter(), plant.etl(), *(plant.collector(name) for name in exchanges)):
            await service.start()
        for service in plant.services.values():
            await service.until_ready()
        yield plant
        await drained(plant)


async def until_sealing(plant: Plant) -> float:
    """Wait until every lane has sealed more than now; return how long that took."""
    before = {lane: await sealed(plant, lane) for lane in plant.lanes}

    async def has_moved() -> bool:
        return all([await sealed(plant, lane) > before[lane] for lane in plant.lanes])

    return await plant.until(has_moved)


async def sealed(plant: Plant, lane: Lane) -> tuple[int, int]:
    try:
        found = await plant.bus.states.get(lane)
    except BusUnavailableError:
        return 0, 0
    return (found.state.epoch, found.state.sealed_seq) if found else (0, 0)


async def test_a_bus_that_stops_answering_or_drops_consumers_costs_nothing(
    tmp_path: Path, runs: Runs, table: FaultTable
) -> None:
    stop_s = runs(bounded=3, full=60)
    async with working(tmp_path, numbered(tmp_path, "steady")) as plant:
        stopped = []
        for _ in range(runs(bounded=1, full=2)):
            os.kill(plant.server.pid, signal.SIGSTOP)
            await asyncio.sleep(stop_s)
            os.kill(plant.server.pid, signal.SIGCONT)
            stopped.append(await until_sealing(plant))
        dropped = await drop_consumers(plant, seconds=runs(bounded=3, full=30))
    verdict = judge(plant)
    table.judged(f"nats-server SIGSTOP {stop_s} s under load", verdict, stopped)
    table.judged("consumers of the lane deleted under a fetch", verdict, dropped)
    assert verdict.is_whole, verdict


async def drop_consumers(plant: Plant, seconds: float) -> list[float]:
    """Delete the consumer on the lane's stream, again and again; one comes for each that went."""
    api: Api = plant.bus._api
    stream = plant.lanes[0].stream(1)
    seen: set[str] = set()
    deleted, end = 0, time.monotonic() + seconds
    due = time.monotonic()
    while time.monotonic() < end:
        names = (await api.call(f"CONSUMER.NAMES.{stream}"))["consumers"] or ()
        seen.update(names)
        if names and time.monotonic() > due:
            due = time.monotonic() + 0.5
            with contextlib.suppress(ApiError):  # its owner was quicker
                await api.call(f"CONSUMER.DELETE.{stream}.{names[0]}")
                deleted += 1
        await asyncio.sleep(0.01)
    assert deleted
    assert len(seen) <= 2 * deleted + 2, f"{len(seen)} consumers were made for {deleted} that were deleted"
    return [await until_sealing(plant)] * deleted


async def test_events_that_are_lost_repeated_and_out_of_order_cost_nothing(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    chance = random.Random(seed)
    async with working(tmp_path, numbered(tmp_path, "steady")) as plant:
        api: Api = plant.bus._api
        events, end = 0, time.monotonic() + runs(bounded=2, full=90)
        while time.monotonic() < end:
            await until_sealing(plant)
            info = (await api.call("STREAM.INFO.SEGMENTS"))["state"]
            stored = [
                await api.message("SEGMENTS", {"seq": seq}) for seq in range(info["first_seq"], info["last_seq"] + 1)
            ]
            again = [message for message in stored[-20:] if message is not None]
            if chance.random() < 0.5:
                await api.call("STREAM.PURGE.SEGMENTS")
            for message in chance.sample(again, len(again)):
                await api.store(message.subject, message.payload, {})
                events += 1
        # What a purge took from the queue comes back when the worker looks: at its start, and every minute.
        begin, due = time.monotonic(), plant.sealed()
        etl = plant.services["etl"]
        await etl.kill()
        await etl.start()

        async def is_placed() -> bool:
            return plant.all_placed(due)

        recovery_s = await plant.until(is_placed) if runs(bounded=0, full=1) else time.monotonic() - begin
    verdict = judge(plant)
    table.judged("segment events lost, repeated, reordered", verdict, [recovery_s], runs=events)
    assert verdict.is_whole, verdict


async def test_a_full_stream_is_backpressure(tmp_path: Path, runs: Runs, table: FaultTable) -> None:
    exchanges = numbered(tmp_path, "steady", rate_hz=400, bulk=3, bulk_bytes=10_000)
    sections = {"nats": {"lane_max_bytes": "4MB"}, "ingestion": {"queue_maxsize": 300}}
    recoveries_s = []
    async with working(tmp_path, exchanges, **sections) as plant:
        segmenter, collector = plant.services["segmenter"], plant.services["collector-steady"]
        for _ in range(runs(bounded=1, full=5)):
            spooled = collector.log_path.read_bytes().count(b'"spool.begun"')
            await segmenter.kill()

            async def is_spooling(before: int = spooled) -> bool:
                return collector.log_path.read_bytes().count(b'"spool.begun"') > before

            await plant.until(is_spooling)
            begin = time.monotonic()
            await segmenter.start()

            async def is_drained() -> bool:
                log = collector.log_path.read_bytes()
                return log.count(b'"spool.drained"') == log.count(b'"spool.begun"')

            await plant.until(is_drained)
            recoveries_s.append(time.monotonic() - begin)
    verdict = judge(plant)
    table.judged("lane's stream full, segmenter dead", verdict, recoveries_s)
    assert verdict.is_whole, verdict


async def test_a_bus_that_forgets_is_noticed_and_what_it_lost_is_named(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    chance = random.Random(seed)
    forgetting = {
        "lane's key deleted": forget_key,
        "lane states deleted": forget_states,
        "lane's stream deleted": forget_stream,
        "leases deleted": forget_leases,
        "bus store wiped": wipe,
    }
    recoveries: dict[str, list[float]] = {fault: [] for fault in forgetting}
    async with running_plant(tmp_path, numbered(tmp_path, "steady")) as plant:
        plant.is_supervised = True
        for service in (plant.segmenter(), plant.etl(), plant.collector("steady")):
            await service.start()
        async with supervision(plant):
            await until_sealing(plant)
            for _ in range(runs(bounded=1, full=6)):
                for fault in chance.sample(sorted(forgetting), len(forgetting)):
                    await asyncio.sleep(chance.uniform(0, 1))
                    recoveries[fault].append(await forgotten(plant, forgetting[fault]))
        await plant.drain()
        assert plant.crashes() == []
        report = await audit(plant)
        verdict = judge(plant)
    for fault, recoveries_s in recoveries.items():
        table.judged(fault, verdict, recoveries_s)
    assert verdict.is_explained, verdict
    assert report["balanced"], report["findings"][:20]


@asynccontextmanager
async def supervision(plant: Plant) -> AsyncIterator[None]:
    """Start what ends by itself again, as long as the block runs."""

    async def supervise() -> None:
        while True:
            for service in plant.services.values():
                if service.process is not None and service.process.returncode is not None:
                    service.exits.append(service.process.returncode)
                    await service.start()
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(supervise())
        yield
        task.cancel()


async def forgotten(plant: Plant, forget: Callable[[Plant], Awaitable[None]]) -> float:
    """Make the bus forget; return how long it took until sealing went on."""
    manifests = len(plant.manifests())
    begin = time.monotonic()
    await forget(plant)

    async def goes_on() -> bool:
        return len(plant.manifests()) > manifests + 1

    await plant.until(goes_on)
    await end_of(plant, plant.lanes[0])
    return time.monotonic() - begin


async def forget_key(plant: Plant) -> None:
    api: Api = plant.bus._api
    (lane,) = plant.lanes
    await api.call("STREAM.PURGE.KV_lanes", {"filter": f"$KV.lanes.{lane}"})


async def forget_states(plant: Plant) -> None:
    api: Api = plant.bus._api
    await api.call("STREAM.DELETE.KV_lanes")
    await reprovision(plant)


async def forget_leases(plant: Plant) -> None:
    api: Api = plant.bus._api
    await api.call("STREAM.DELETE.KV_leases")
    await reprovision(plant)


async def forget_stream(plant: Plant) -> None:
    api: Api = plant.bus._api
    (lane,) = plant.lanes
    epoch, _ = await end_of(plant, lane)
    await api.call(f"STREAM.DELETE.{lane.stream(epoch)}")


async def wipe(plant: Plant) -> None:
    os.kill(plant.server.pid, signal.SIGKILL)
    while plant.server.alive:  # noqa: ASYNC110 - another process' end has no event
        await asyncio.sleep(0.01)
    await asyncio.to_thread(shutil.rmtree, plant.base / "nats" / "jetstream")
    await plant.server.start()
    await reprovision(plant)


async def reprovision(plant: Plant) -> None:
    lease_ttl_s = plant.tree["nats"]["lease_ttl_seconds"]
    await provision(BusOptions(servers=(plant.server.url,), lease_ttl_s=lease_ttl_s))
