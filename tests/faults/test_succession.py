"""Several at once, and the ones who slept through their succession: one works, the others wait or are refused."""

import asyncio
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fluxforge.adapters.jetstream.api import Api
from fluxforge.domain.errors import BusUnavailableError
from fluxforge.domain.lane import Lane
from tests.faults.mode import Runs
from tests.faults.oracle import drained, judge
from tests.faults.plant import Plant, Service, numbered, running_plant
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.usefixtures("full_run")]

TTL_S = 2
TAKEOVER_S = TTL_S + 2.0
EXIT_S = 15.0
SECTIONS: dict[str, Any] = {"nats": {"lease_ttl_seconds": TTL_S}}


async def owner(plant: Plant, lane: Lane) -> str | None:
    """Return who seals a lane."""
    try:
        found = await plant.bus.states.get(lane)
    except BusUnavailableError:
        return None
    return found.state.owner if found else None


async def until_written(plant: Plant, lane: Lane) -> None:
    """Wait until a lane's stream has grown."""
    before = await plant.stream_end(lane)

    async def has_grown() -> bool:
        return await plant.stream_end(lane) > before

    await plant.until(has_grown)


async def until_owned(plant: Plant, lane: Lane, *, other_than: str | None = None) -> float:
    async def is_owned() -> bool:
        return await owner(plant, lane) not in {None, other_than}

    return await plant.until(is_owned)


def working(services: list[Service]) -> list[Service]:
    """Return those whose present life has taken a lane."""
    return [service for service in services if service.logged(b'"lane.taken"')]


async def test_a_segmenter_that_slept_through_its_succession_is_refused(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    chance = random.Random(seed)
    takeovers_s, rounds = [], runs(bounded=1, full=30)
    async with running_plant(tmp_path, numbered(tmp_path, "steady"), **SECTIONS) as plant:
        plant.is_supervised = True
        (lane,) = plant.lanes
        holder, standby = plant.segmenter("first"), plant.segmenter("second")
        for service in (plant.collector("steady"), plant.etl(), holder):
            await service.start()
        await until_owned(plant, lane)
        await standby.start()
        await standby.until_logged((b'"lane.awaited"',))
        for _ in range(rounds):
            await asyncio.sleep(chance.uniform(0, 1.5))
            before = await owner(plant, lane)
            holder.signal(signal.SIGSTOP)
            takeovers_s.append(await until_owned(plant, lane, other_than=before))
            assert standby.process is not None
            assert standby.process.returncode is None, standby.tail()
            await asyncio.sleep(chance.uniform(0, 2 * TTL_S))
            holder.signal(signal.SIGCONT)
            assert holder.process is not None
            code = await asyncio.wait_for(holder.process.wait(), EXIT_S)
            await holder.process.communicate()
            assert code == 1, holder.tail()
            assert holder.logged(b"FencedError"), holder.tail()
            await holder.start()
            holder, standby = standby, holder
            await standby.until_logged((b'"lane.awaited"',))
        await standby.stop()
        plant.services = {name: service for name, service in plant.services.items() if service is not standby}
        await drained(plant)
        verdict = judge(plant)
    table.judged(f"segmenter SIGSTOP past its lease of {TTL_S} s, then SIGCONT", verdict, takeovers_s)
    assert verdict.is_whole, verdict
    assert max(takeovers_s) < TAKEOVER_S, takeovers_s


async def test_of_segmenters_started_at_once_one_works(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    chance = random.Random(seed)
    takeovers_s, rounds, count = [], runs(bounded=1, full=10), runs(bounded=2, full=8)
    async with running_plant(tmp_path, numbered(tmp_path, "steady"), **SECTIONS) as plant:
        (lane,) = plant.lanes
        for service in (plant.collector("steady"), plant.etl()):
            await service.start()
        segmenters = [plant.segmenter(f"segmenter-{i}") for i in range(count)]
        await asyncio.gather(*(segmenter.start() for segmenter in segmenters))
        await until_owned(plant, lane)
        for segmenter in segmenters:
            await segmenter.until_logged((b'"lane.taken"', b'"lane.awaited"'))
        for _ in range(rounds):
            (holder,) = working(segmenters)
            await asyncio.sleep(chance.uniform(0, 1.5))
            before = await owner(plant, lane)
            await holder.kill()
            takeovers_s.append(await until_owned(plant, lane, other_than=before))
            await holder.start()
            await holder.until_logged((b'"lane.taken"', b'"lane.awaited"'))
        (holder,) = working(segmenters)
        for segmenter in segmenters:
            if segmenter is not holder:
                await segmenter.stop()
                del plant.services[segmenter.name]
        await drained(plant)
        verdict = judge(plant)
    table.judged(f"{count} segmenters at once, the one that works SIGKILLed", verdict, takeovers_s)
    assert verdict.is_whole, verdict
    assert max(takeovers_s) < TAKEOVER_S, takeovers_s


async def test_of_two_collectors_one_works_and_a_sleeper_is_refused(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    chance = random.Random(seed)
    takeovers_s, rounds = [], runs(bounded=1, full=20)
    # What the sleeper holds is compared with the stream, which is there for that as long as its grace lasts.
    sections = {"nats": {**SECTIONS["nats"], "bus_grace_seconds": 600}}
    async with running_plant(tmp_path, numbered(tmp_path, "steady"), **sections) as plant:
        plant.is_supervised = True
        (lane,) = plant.lanes
        for service in (plant.segmenter(), plant.etl()):
            await service.start()
        # Two hosts have two disks.
        active, standby = (
            plant.collector(
                "steady", name=f"collector-{name}", FLUXFORGE__INGESTION__SPOOL_DIR=str(tmp_path / f"spool-{name}")
            )
            for name in ("one", "two")
        )
        await active.start()
        await active.until_ready()
        await standby.start()
        for _ in range(rounds):
            assert await standby.until_logged((b'"lease.awaited"',)), standby.tail()
            await asyncio.sleep(chance.uniform(0.5, 2))
            assert active.logged(b'"lane.joined"')
            assert not standby.logged(b'"lane.joined"'), standby.tail()
            begin = time.monotonic()
            active.signal(signal.SIGSTOP)
            assert await standby.until_logged((b'"lane.joined"',)), standby.tail()
            takeovers_s.append(time.monotonic() - begin)
            await until_written(plant, lane)  # before that the sleeper's next block would be the one that is taken
            active.signal(signal.SIGCONT)
            assert active.process is not None
            code = await asyncio.wait_for(active.process.wait(), EXIT_S)
            await active.process.communicate()
            assert code == 1, active.tail()
            await active.start()
            active, standby = standby, active
        # What the fenced one holds is in its spool; it brings it in once the lane is its own.
        await active.stop()
        assert await standby.until_logged((b'"lane.joined"',)), standby.tail()
        await drained(plant)
        verdict = judge(plant)
    table.judged(
        f"collector SIGSTOP past its lease of {TTL_S} s, then SIGCONT; a standby takes over", verdict, takeovers_s
    )
    assert verdict.is_explained, verdict
    assert max(takeovers_s) < TAKEOVER_S + 2, takeovers_s


async def test_a_segment_two_workers_have_at_once_is_committed_once(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    chance = random.Random(seed)
    async with running_plant(tmp_path, numbered(tmp_path, "steady", rate_hz=600), **SECTIONS) as plant:
        api: Api = plant.bus._api
        config = (await api.call("CONSUMER.INFO.SEGMENTS.etl"))["config"]
        redelivered = {"stream_name": "SEGMENTS", "config": {**config, "ack_wait": 500_000_000}}
        await api.call("CONSUMER.CREATE.SEGMENTS.etl", redelivered)
        workers = [plant.etl(f"etl-{i}") for i in range(runs(bounded=2, full=3))]
        for service in (plant.segmenter(), plant.collector("steady"), *workers):
            await service.start()
        for worker in workers:
            await worker.until_ready()
        sleeps = 0
        while sleeps < runs(bounded=2, full=60):
            worker = chance.choice(workers)
            await asyncio.sleep(chance.uniform(0, 0.8))
            worker.signal(signal.SIGSTOP)
            await asyncio.sleep(chance.uniform(0.6, 1.5))
            worker.signal(signal.SIGCONT)
            sleeps += 1
        delivered = (await api.call("CONSUMER.INFO.SEGMENTS.etl"))["delivered"]
        assert delivered["consumer_seq"] >= delivered["stream_seq"]
        await drained(plant)
        verdict = judge(plant)
    table.judged("segment delivered to a second worker while the first sleeps on it", verdict, runs=sleeps)
    assert verdict.is_whole, verdict
