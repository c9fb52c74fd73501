"""A scratch disk without room, and one whose fsync fails, under a lane that is being sealed."""

import errno
import os
from pathlib import Path

import pytest

from fluxforge.adapters.local_files import fsync_file
from fluxforge.domain.errors import DurabilityError
from tests.traffic import LANE, Traffic, audit, manifests
from tests.unit.fluxforge_segmenter.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While the list holds something, writes of open files stop half-way for want of room."""
    is_full = [True]
    pwrite = os.pwrite

    def write(fd: int, body: memoryview, offset: int) -> int:
        if not is_full:
            return pwrite(fd, body, offset)
        if len(body) > 1_000:
            return pwrite(fd, body[:700], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", write)
    return is_full


async def test_a_full_disk_is_waited_for_with_an_alarm_and_nothing_of_a_failed_write_is_kept(
    world: World, full: list[bool]
) -> None:
    traffic = Traffic()
    await world.put([traffic.block() for _ in range(6)])
    segmenting = await world.segmenter(size_bytes_max=3_000)
    async with segmenting.running() as run:
        await segmenting.until(lambda: tries(world) >= 2)
        assert not run.done()
        assert list((world.data / world.layout.active_prefix(LANE)).rglob("*.ndjson")) == []
        assert manifests(world.data) == []
        await world.put([traffic.block()])
        full.clear()
        await segmenting.until(lambda: segmenting.task.status().sealed_seq >= 6)
    audit(world.data, traffic.published)
    assert [manifest.holes for manifest in manifests(world.data)] == [()] * len(manifests(world.data))


def tries(world: World) -> float:
    """Return how often the disk refused."""
    labels = {"error": "StoreUnavailableError"}
    return world.registry.get_sample_value("fluxforge_segmenter_retries_total", labels) or 0.0


async def test_a_failed_fsync_ends_the_task_and_the_next_reads_the_data_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic()
    await world.put([traffic.block() for _ in range(6)])
    calls: list[Path] = []

    def fail(fd: int) -> None:
        calls.append(Path(f"/proc/self/fd/{fd}").readlink())
        raise OSError(errno.EIO, "Input/output error")

    segmenting = await world.segmenter(sync=fsync_file)
    segmenting.is_draining = True
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(DurabilityError, match="cannot be trusted"):
            await segmenting.task.run()
    assert len(calls) == 1
    assert manifests(world.data) == []
    assert (await world.state()).sealing is None
    await world.drain()
    audit(world.data, traffic.published)
