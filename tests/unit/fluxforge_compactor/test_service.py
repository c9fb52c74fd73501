"""The service: a schedule, and hints that only make it quicker."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import orjson
from prometheus_client import CollectorRegistry

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.dataset.edit import Editor
from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import SegmentIdentity
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_compactor.events import CompactorEvents
from fluxforge_compactor.retention import Ages
from fluxforge_compactor.service import CompactorService
from fluxforge_compactor.settings import CompactorSettings
from tests.unit.fluxforge_compactor.world import LANE, PARTITION, S_NS, World, trades


class Rig:
    """A service on a world whose clock only moves when it is told."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, "local")
        self.registry = CollectorRegistry()
        self.server = MemoryServer(clock=self.world.clock, lease_ttl_s=10)
        self.bus = MemoryBus(self.server)
        self.shutdown = Shutdown()
        compactor = self.world.compactor()
        settings = CompactorSettings(Layout(), compactor._policy, Ages(), interval_s=100_000)
        events = CompactorEvents(self.registry)
        self.service = CompactorService(compactor, self.world.raw, settings, self.world.clock, events)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"fluxforge_compactor_{name}", labels) or 0.0

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - a plain condition of the service under test
                await asyncio.sleep(0.01)


async def test_everything_is_looked_at_at_the_start_and_a_bad_partition_does_not_stop_the_others(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    for number in (1, 2):
        rig.world.put(number, trades(number * 10, 10))
        rig.world.put(number + 5, trades(1, 10), partition=PARTITION.replace("BTC", "AAA"))
    assert not rig.service.is_ready
    running = asyncio.ensure_future(rig.service.run(rig.shutdown))
    await rig.until(lambda: rig.service.is_ready)
    rig.shutdown.request()
    await running
    assert (rig.metric("merges_total"), rig.metric("files_merged_total"), rig.metric("rows_merged_total")) == (1, 2, 20)
    assert rig.metric("partitions_failed_total", error="RowsDifferError") == 1
    assert (rig.metric("partitions_failing"), rig.service.status().failing) == (1, 1)
    assert rig.metric("last_round_timestamp_seconds") == rig.world.clock.wall_ns() / S_NS
    assert rig.registry.get_sample_value("fluxforge_errors_total", {"kind": "RowsDifferError"}) == 1
    assert len(rig.world.names()) == 1


async def test_a_commit_that_was_heard_of_brings_its_partition_forward_and_what_is_no_commit_is_nothing(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    running = asyncio.ensure_future(rig.service.run(rig.shutdown))
    listening = asyncio.ensure_future(rig.service.listen(rig.bus))
    await rig.until(lambda: rig.service.is_ready)
    names = [rig.world.put(number, trades(number * 10, 10)) for number in (1, 2)]
    segment = "segment_20251209T14_00002"
    key = Layout().commit_key(LANE, segment)
    rig.world.raw.create(key, commit(segment, f"{PARTITION}/{names[1]}").to_json())
    for number in range(10_000):
        said = orjson.dumps({"lane": str(LANE), "segment": segment})
        for payload in (b"[]", b"{", b'{"lane":"x","segment":"y"}', said):
            rig.server.store_event(f"parts.committed.x.{number}", payload, f"{number}{payload!r}")
        await asyncio.sleep(0.05)
        if PARTITION in rig.service._due_ns:
            break
    assert rig.metric("merges_total") == 0
    rig.world.clock.advance(906 * S_NS)
    await rig.until(lambda: rig.metric("merges_total") == 1)
    listening.cancel()
    rig.shutdown.request()
    await running


async def test_what_an_edit_left_is_cleared_although_nothing_stands_in_its_partition_any_more(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.world.put(1, trades(1, 10))
    running = asyncio.ensure_future(rig.service.run(rig.shutdown))
    await rig.until(lambda: rig.service.is_ready)
    Editor(rig.world.rewriter()).delete(PARTITION, None, reason="delete")
    assert rig.world.leftovers()
    rig.world.clock.advance(100_000 * S_NS)  # the next round
    await rig.until(lambda: not rig.world.leftovers())
    rig.shutdown.request()
    await running


def commit(segment: str, final_key: str) -> CommitRecord:
    part = Part("trades", ".tmp/x", final_key, 10, 1, "00")
    identity = SegmentIdentity(1, 1, 1, "00")
    return CommitRecord(str(LANE), segment, identity, 1, (part,), 10, 0, (), 3, 1, "", 1)
