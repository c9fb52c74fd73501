"""Segments that kill their workers, and workers that somebody kills."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import JetStreamBus
from fluxforge.adapters.jetstream.api import NS_PER_S, Api
from fluxforge.adapters.jetstream.connection import Connection
from fluxforge.adapters.jetstream.provision import consumer_of
from fluxforge.domain.segment import Manifest
from tests.integration.etl.processes import announce, bus_options, log_of, provisioned, start_worker, until
from tests.integration.etl.test_service import backlog, placed, rows, seal, settled
from tests.unit.fluxforge_etl_worker.samples import LANE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@asynccontextmanager
async def impatient(server: EmbeddedNats) -> AsyncIterator[JetStreamBus]:
    """A provisioned bus that delivers again after two seconds what nobody acknowledged."""
    async with provisioned(server) as bus:
        options = bus_options(server)
        connection = await Connection.open(options, "test")
        try:
            config = {**consumer_of(options), "ack_wait": 2 * NS_PER_S}
            await Api(connection).call("CONSUMER.CREATE.SEGMENTS.etl", {"stream_name": "SEGMENTS", "config": config})
        finally:
            await connection.close()
        yield bus


async def deliver(bus: JetStreamBus, manifest: Manifest, *, times: int) -> None:
    """Announce a segment and let it be delivered so often before a worker of the test takes it."""
    await announce(bus, manifest)
    work = await bus.work()
    try:
        for _ in range(times):
            claim = await work.claim(wait_s=30)
            assert claim is not None
            await claim.nak(0)
    finally:
        await work.close()


@asynccontextmanager
async def lethal_worker(server: EmbeddedNats, data: Path) -> AsyncIterator[Process]:
    worker = await start_worker(server, data, module="tests.integration.etl.lethal")
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


def put(data: Path, kind: str, segment: str) -> Path:
    path = data / kind / segment
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def working(data: Path) -> set[int]:
    return {int(path.name) for path in (data / "working").iterdir()} if (data / "working").exists() else set()


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(") ", 1)[1][0] != "Z"


def events(data: Path) -> list[object]:
    return [line["event"] for line in log_of(data)]


def mark(data: Path, manifest: Manifest) -> Path:
    return data / "dead" / str(LANE) / f"{manifest.name}.json"


async def test_a_segment_that_kills_its_workers_is_condemned_at_its_sixth_delivery_and_others_flow(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with impatient(nats_server) as bus:
        lethal = seal(data, 1)
        put(data, "lethal", lethal.name)
        await deliver(bus, lethal, times=4)
        # The fifth delivery: it is processed as any other is, and takes the worker with it.
        async with lethal_worker(nats_server, data) as worker:
            await asyncio.wait_for(worker.wait(), 60)
            assert worker.returncode == -signal.SIGKILL
        assert not mark(data, lethal).exists()
        await announce(bus, seal(data, 2))
        async with lethal_worker(nats_server, data) as worker:
            await until(lambda: placed(data) == 1 and mark(data, lethal).exists(), deadline_s=120)
            await settled(bus)
            worker.send_signal(signal.SIGTERM)
            await asyncio.wait_for(worker.wait(), 60)
            assert worker.returncode == 0
    condemned = orjson.loads(mark(data, lethal).read_bytes())
    assert (condemned["error"], "Killed" in condemned["reason"]) == ("DiedAloneError", True)
    said = events(data)
    assert (said.count("segment.isolated"), said.count("segment.condemned")) == (1, 1)
    assert list((data / "raw").rglob(f"{lethal.name}.ndjson"))


async def test_a_worker_killed_seven_times_condemns_nothing_and_leaves_no_process_behind(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with impatient(nats_server) as bus:
        healthy = seal(data, 1)
        slow = put(data, "slow", healthy.name)
        await announce(bus, healthy)
        seen: set[int] = set()
        for delivery in range(1, 8):
            async with lethal_worker(nats_server, data) as worker:
                await until(lambda: working(data) > seen)
                (pid,) = working(data) - seen
                assert (pid == worker.pid) == (delivery < 6)
                seen.add(pid)
            await until(lambda pid=pid: not is_alive(pid))
        slow.unlink()
        async with lethal_worker(nats_server, data) as worker:
            await until(lambda: placed(data) == 1)
            await settled(bus)
            worker.send_signal(signal.SIGTERM)
            await asyncio.wait_for(worker.wait(), 60)
            assert worker.returncode == 0
    assert not mark(data, healthy).exists()
    assert rows(data) == 50


async def test_a_group_told_to_end_finishes_the_segment_that_is_worked_on_alone(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with impatient(nats_server) as bus:
        healthy = seal(data, 1)
        slow = put(data, "slow", healthy.name)
        await deliver(bus, healthy, times=5)
        async with lethal_worker(nats_server, data) as worker:
            await until(lambda: bool(working(data)))
            (child,) = working(data)
            for pid in (child, worker.pid):
                os.kill(pid, signal.SIGTERM)
            slow.unlink()
            await asyncio.wait_for(worker.wait(), 60)
            assert worker.returncode == 0
        assert await backlog(bus) == 0
    assert (placed(data), mark(data, healthy).exists()) == (1, False)
    assert "operation.retried" not in events(data)
