"""The true process: killed, doubled, stopped and woken, on a disk it cannot write."""

import asyncio
import random

import pytest

from fluxforge.domain.lane_state import LaneState
from tests.integration.segmenter.processes import PATIENCE_S, Rig, lease_ttl_s, rig, until
from tests.traffic import LANE, Traffic, audit

__all__ = ["lease_ttl_s", "rig"]
pytestmark = pytest.mark.timeout(300)


async def test_killed_again_and_again_it_seals_every_block_once(rig: Rig) -> None:
    traffic, chance = Traffic(), random.Random(7)
    async with rig.segmenter():
        await rig.until_open()
    for kill in range(4):
        await traffic.publish(rig.bus, [traffic.block(100, padding=1_000) for _ in range(40)])
        before = (await rig.state()).owner
        async with rig.segmenter(segment_max_mb=1) as process:

            async def is_due(kill: int = kill, before: str | None = before) -> bool:
                state: LaneState = await rig.state()
                in_seal = state.sealing is not None
                return state.owner != before and (in_seal or kill % 2 == 0 or state.sealed_seq >= 40 * (kill + 1) - 10)

            await until(is_due)
            await asyncio.sleep(chance.uniform(0, 0.2))
            process.kill()
            await process.wait()
    async with rig.segmenter(segment_max_mb=1, segment_max_age_seconds=1) as process:
        await traffic.publish(rig.bus, [traffic.block()])
        await rig.until_sealed(161)
        await rig.drain(process)
    found = audit(rig.data, traffic.published)
    assert len(found) > 4
    assert [path for path in (rig.data / "raw" / "active").rglob("*") if path.is_file()] == []


async def test_the_stream_keeps_its_last_message_and_nothing_else_that_is_sealed(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter(segment_max_age_seconds=1, nats__bus_grace_seconds=0) as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(5)])
        await rig.until_sealed(5)

        async def is_purged() -> bool:
            info = await rig.bus.streams.info(LANE, 1)
            return info is not None and info.first_seq == 5

        await until(is_purged)
        await rig.drain(process)
    info = await rig.bus.streams.info(LANE, 1)
    assert info is not None
    assert (info.first_seq, info.last_seq) == (5, 5)
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await traffic.publish(rig.bus, [traffic.block()])
        await rig.until_sealed(6)
        await rig.drain(process)
    audit(rig.data, traffic.published)


async def test_a_disk_path_that_cannot_be_written_is_named_and_is_no_reason_to_try_again(rig: Rig) -> None:
    rig.data.parent.mkdir(exist_ok=True)
    rig.data.write_bytes(b"a file, no directory")
    async with rig.segmenter() as process:
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 2
    assert f"storage base_dir '{rig.data}' cannot be written" in rig.log.read_text()
    assert (await rig.state()).owner is None


async def test_a_restart_of_the_bus_in_the_middle_costs_nothing(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(5)])
        await rig.restart_bus()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(5)])
        await rig.until_sealed(10)
        await rig.drain(process)
    audit(rig.data, traffic.published)
