import asyncio
import signal
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.jetstream import JetStreamBus
from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.segment import Manifest
from fluxforge.domain.status import EtlStatus, status_from_json
from tests.integration.etl.processes import announce, log_of, provisioned, start_worker, until
from tests.unit.fluxforge_etl_worker.samples import LANE, T0, Recording, S, manifest_of, stored


def seal(data: Path, number: int, count: int = 50) -> Manifest:
    """Put a segment of tickers into the folder, as the segmenter does."""
    recording = Recording()
    for n in range(count):
        recording.ticker(T0 + number * 1000 * S + n, last=float(n))
    name = f"segment_20231114T22_{number:05d}"
    return stored(LocalStore(data, sync=False), recording.body, manifest_of(recording.body, name=name))


def placed(data: Path) -> int:
    return len(list((data / "commits" / str(LANE)).glob("*.placed")))


def rows(data: Path) -> int:
    return sum(pq.read_metadata(file).num_rows for file in (data / "processed").rglob("*.parquet"))


async def backlog(bus: JetStreamBus) -> int:
    work = await bus.work()
    try:
        left = await work.backlog()
    finally:
        await work.close()
    return left.num_pending + left.num_ack_pending


async def settled(bus: JetStreamBus) -> None:
    async with asyncio.timeout(30):
        while await backlog(bus):  # noqa: ASYNC110 - the server's state
            await asyncio.sleep(0.05)


async def test_announced_segments_become_parquet_and_the_worker_says_what_it_did(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        for number in range(1, 6):
            await announce(bus, seal(data, number))
        worker = await start_worker(nats_server, data, "--parent-pipe")
        await until(lambda: placed(data) == 5)
        await settled(bus)
        assert worker.stdin is not None
        worker.stdin.close()
        stdout, _ = await worker.communicate()
    assert worker.returncode == 0
    status = status_from_json(stdout)
    assert isinstance(status, EtlStatus)
    assert (status.segments, status.records, status.quarantined, status.rows) == (5, 250, 0, {"ticker": 250})
    assert rows(data) == 250
    events = [line["event"] for line in log_of(data)]
    assert events.count("segment.committed") == 5
    assert list((data / "raw").rglob("*.ndjson")) == []
    assert len(list((data / "raw").rglob("*.manifest.json"))) == 5


async def test_a_drain_finishes_what_waits(nats_server: EmbeddedNats, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        for number in range(1, 9):
            await announce(bus, seal(data, number))
        worker = await start_worker(nats_server, data)
        await until(lambda: placed(data) >= 1)
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), 30)
        assert worker.returncode == 0
        assert placed(data) == 8
        assert await backlog(bus) == 0


async def test_a_killed_worker_leaves_no_row_out_and_none_twice(nats_server: EmbeddedNats, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        for number in range(1, 13):
            await announce(bus, seal(data, number))
        for kills in (1, 3, 5):
            worker = await start_worker(nats_server, data)
            await until(lambda least=kills: placed(data) >= least)
            worker.kill()
            await worker.wait()
        # What was in their hands comes again after the acknowledgement deadline, or is announced anew; here it is told.
        worker = await start_worker(nats_server, data)
        for manifest in (data / "raw").rglob("*.manifest.json"):
            found = Manifest.from_json(manifest.read_bytes())
            name = f"{found.lane}.{found.name}"
            await bus.events.publish(f"segments.sealed.{name}", _event(found), message_id=f"{name}.again")
        await until(lambda: placed(data) == 12)
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), 60)
    assert rows(data) == 12 * 50


def _event(manifest: Manifest) -> bytes:
    return orjson.dumps(
        {
            "lane": str(manifest.lane),
            "segment": manifest.name,
            "size_bytes": manifest.size_bytes,
            "records": manifest.records,
            "last_capture_ns": manifest.last_capture_ns,
        }
    )


async def test_a_corrupt_segment_is_condemned_and_the_next_is_processed(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        corrupt = seal(data, 1)
        path = next((data / "raw").rglob("*.ndjson"))
        path.write_bytes(path.read_bytes().replace(b'"last":3.0', b'"last":4.0'))
        await announce(bus, corrupt)
        await bus.events.publish("segments.sealed.nonsense.x", b"not an event", message_id="nonsense")
        await announce(bus, seal(data, 2))
        worker = await start_worker(nats_server, data)
        await until(lambda: placed(data) == 1)
        await settled(bus)
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), 30)
    assert worker.returncode == 0
    mark = orjson.loads((data / "dead" / str(LANE) / f"{corrupt.name}.json").read_bytes())
    assert mark["error"] == "SegmentCorruptError"
    assert path.exists()
    assert rows(data) == 50
    events = [line["event"] for line in log_of(data)]
    assert events.count("segment.condemned") == 1
    assert events.count("claim.refused") == 1


async def test_a_segment_that_nobody_announced_is_found(nats_server: EmbeddedNats, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server):
        seal(data, 1)
        worker = await start_worker(nats_server, data)
        await until(lambda: placed(data) == 1)
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), 30)
    assert "event.published_again" in [line["event"] for line in log_of(data)]


async def test_the_worker_waits_out_a_bus_that_is_away(nats_server: EmbeddedNats, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with provisioned(nats_server) as bus:
        await announce(bus, seal(data, 1))
        worker = await start_worker(nats_server, data)
        await until(lambda: placed(data) == 1)
        await nats_server.stop()
        await nats_server.start()
        async with asyncio.timeout(30):
            while not bus.connected:  # noqa: ASYNC110 - the connection's state
                await asyncio.sleep(0.05)
        await announce(bus, seal(data, 2))
        await until(lambda: placed(data) == 2)
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), 30)
    assert worker.returncode == 0


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"STORAGE__ETL_STORAGE_OUTPUT__BASE_DIR": "/proc/nowhere"}, "/proc/nowhere"),
        ({"NATS__SERVERS": "[]"}, "nats.servers"),
        ({"ETL__WORKRES": "1"}, "workers"),
    ],
)
async def test_a_wrong_configuration_ends_it_with_2_and_says_why(
    nats_server: EmbeddedNats, tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    worker = await start_worker(nats_server, data, **environment)
    await asyncio.wait_for(worker.wait(), 30)
    assert worker.returncode == 2
    line = log_of(data)[-1]
    assert line["event"] == "service.refused"
    assert said in str(line["error"])
