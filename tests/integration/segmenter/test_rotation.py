"""The true process: when segments are sealed, in which form, and what it says of itself."""

import pytest

from tests.integration.segmenter.processes import Rig, lease_ttl_s, rig, until
from tests.traffic import LANE, Traffic, audit, manifests

__all__ = ["lease_ttl_s", "rig"]
pytestmark = pytest.mark.timeout(300)


async def test_a_drain_seals_everything_that_stands_in_the_stream(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter() as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block() for _ in range(20)])
        status = await rig.drain(process)
    found = audit(rig.data, traffic.published)
    assert len(found) == 1
    assert (status.lanes[0].records, status.lanes[0].sealed_seq, status.lanes[0].segments) == (120, 20, 1)
    state = await rig.state()
    assert (state.sealed_seq, state.sealing) == (20, None)
    assert [seal.name for seal in state.recent] == [found[0].name]


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("fsync", ["true", "false"])
async def test_segments_are_sealed_by_size_in_either_form(rig: Rig, compression: str, fsync: str) -> None:
    traffic = Traffic()
    async with rig.segmenter(segment_max_mb=1, segment_compression=compression, enable_fsync=fsync) as process:
        await rig.until_open()
        blocks = [traffic.block(100, padding=1_000) for _ in range(30)]
        await traffic.publish(rig.bus, blocks)
        await rig.until_sealed(2 * -(-1_000_000 // len(blocks[0].payload)))
        assert len(manifests(rig.data)) >= 2
        await rig.drain(process)
    found = audit(rig.data, traffic.published)
    assert [manifest.size_bytes >= 1_000_000 for manifest in found[:-1]] == [True] * (len(found) - 1)
    assert {manifest.compressed for manifest in found} == {compression == "zstd"}


async def test_a_segment_is_sealed_by_age_while_nothing_more_comes(rig: Rig) -> None:
    traffic = Traffic()
    async with rig.segmenter(segment_max_age_seconds=1) as process:
        await rig.until_open()
        await traffic.publish(rig.bus, [traffic.block()])
        await rig.until_sealed(1)
        await rig.drain(process)
    assert len(audit(rig.data, traffic.published)) == 1


async def test_a_lane_that_appears_later_is_served_too(rig: Rig) -> None:
    other = Traffic(lane=type(LANE)("ccxt", "kraken", "0of1"))
    async with rig.segmenter() as process:
        await rig.until_open()
        await rig.bus.states.create(other.lane)

        async def is_open() -> bool:
            found = await rig.bus.states.get(other.lane)
            return found is not None and found.state.epoch == 1

        await until(is_open)
        await other.publish(rig.bus, [other.block()])
        status = await rig.drain(process)
    audit(rig.data, other.published, other.lane)
    assert [(lane.lane, lane.records) for lane in status.lanes] == [(str(LANE), 0), (str(other.lane), 6)]


async def test_it_announces_its_status_once_a_second(rig: Rig) -> None:
    async with rig.segmenter() as process:
        await rig.until_open()

        async def is_heard() -> bool:
            return "status.segmenter.0" in await rig.bus.statuses(wait_s=0.5)

        await until(is_heard)
        await rig.drain(process)
