"""The true process beside others like it: standing by, stopped and woken."""

import asyncio
import signal
import time

import pytest

from tests.integration.segmenter.processes import PATIENCE_S, Rig, lease_ttl_s, rig, until
from tests.traffic import LANE, Traffic, audit

__all__ = ["lease_ttl_s", "rig"]
pytestmark = pytest.mark.timeout(300)
MARGIN_S = 2.0


async def owner_other_than(rig: Rig, owner: str | None) -> str:
    """Wait until somebody else owns the lane; return who."""

    async def is_taken() -> bool:
        return (await rig.state()).owner != owner

    await until(is_taken)
    found = (await rig.state()).owner
    assert found is not None
    return found


async def test_a_standby_waits_while_the_first_lives_and_takes_over_when_it_dies(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter() as first:
        await rig.until_open()
        owner = (await rig.state()).owner
        async with rig.segmenter() as second:
            await rig.until_logged("lane.awaited")
            await traffic.publish(rig.bus, [traffic.block()])
            await asyncio.sleep(2.5 * rig.lease_ttl_s)  # not a wait for something: nothing may happen meanwhile
            assert second.returncode is None
            assert (await rig.state()).owner == owner
            first.kill()
            killed_s = time.monotonic()
            await owner_other_than(rig, owner)
            assert time.monotonic() - killed_s < rig.lease_ttl_s + MARGIN_S
            await rig.drain(second)
    audit(rig.data, traffic.published)


async def test_a_standby_that_is_not_needed_ends_in_order(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter() as first:
        await rig.until_open()
        async with rig.segmenter() as second:
            await rig.until_logged("lane.awaited")
            await rig.drain(second)
        await traffic.publish(rig.bus, [traffic.block()])
        await rig.drain(first)
    audit(rig.data, traffic.published)


@pytest.mark.parametrize("is_idle", [False, True])
async def test_one_that_slept_through_its_succession_is_fenced_and_writes_nothing(
    rig: Rig,
    is_idle: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    traffic = Traffic()
    async with rig.segmenter() as zombie:
        await rig.until_open()
        if not is_idle:
            await traffic.publish(rig.bus, [traffic.block() for _ in range(3)])
        owner = (await rig.state()).owner
        zombie.send_signal(signal.SIGSTOP)
        async with rig.segmenter(segment_max_age_seconds=1) as heir:
            await owner_other_than(rig, owner)
            await traffic.publish(rig.bus, [traffic.block()])
            await rig.until_sealed(len(traffic.published))
            zombie.send_signal(signal.SIGCONT)
            woken_s = time.monotonic()
            assert await asyncio.wait_for(zombie.wait(), PATIENCE_S) == 1
            assert time.monotonic() - woken_s < 15
            assert f"lane {LANE} is held by another writer" in rig.log.read_text()
            await rig.drain(heir)
    assert len(audit(rig.data, traffic.published)) == 1
    assert [path for path in (rig.data / "raw" / "active").rglob("*") if path.is_file()] == []
