"""One that slept through its succession: two holders of one lane, at every write of the first."""

from pathlib import Path

from fluxforge.domain.errors import FencedError
from tests.traffic import LANE, Traffic, audit
from tests.unit.fluxforge_segmenter.world import Points, Sleep, World

SIZE_BYTES_MAX = 3_000
HARMLESS = ("before", "after create", "after adopt", "after segments.sealed")
"""What a zombie may still do: try anything, put the same bytes under the same name, tell of it again."""


async def told(folder: Path) -> tuple[World, Traffic]:
    """A lane with one segment sealed by somebody else, who left an open file, and more to seal."""
    world, traffic = World(folder), Traffic()
    await world.put([traffic.block(), traffic.block()])
    await world.drain(size_bytes_max=SIZE_BYTES_MAX)
    left = world.data / world.layout.active_prefix(LANE) / "1-dead" / "1_3.ndjson"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    await world.put([traffic.block() for _ in range(5)])
    return world, traffic


async def test_whatever_a_predecessor_was_about_to_write_it_changes_nothing_when_it_wakes(tmp_path: Path) -> None:
    world, traffic = await told(tmp_path / "whole")
    points = Points()
    await world.drain(points, size_bytes_max=SIZE_BYTES_MAX, grace_ns=0)
    kinds = {name.split(" ")[1] for name in points.passed}
    assert {"state", "create", "adopt", "purge", "sweep"} <= kinds
    fenced = 0
    for sleep_at in range(3, len(points.passed) + 1):  # the first two are those of taking the lane
        world, traffic = await told(tmp_path / str(sleep_at))
        sleep = Sleep(sleep_at)
        zombie = await world.segmenter(sleep, size_bytes_max=SIZE_BYTES_MAX, grace_ns=0)
        zombie.is_draining = True
        what = points.passed[sleep_at - 1]
        try:
            async with zombie.running() as dying:
                await sleep.slept()
                heir = await world.segmenter(size_bytes_max=10**9, grace_ns=0)
                async with heir.running():
                    await heir.until(lambda heir=heir: heir.task.status().stream_seq == 7)
                    await world.put([traffic.block()])
                    await heir.until(lambda heir=heir: heir.task.status().stream_seq == 8)
                    world.clock.advance(6_000_000_000)  # its open file reaches the disk, where a sweep could find it
                    sleep.wake()
                    await zombie.until(dying.done)
        except FencedError:
            fenced += 1
            # A purge that was on its way takes what was sealed then, whoever sealed it.
            done = [name for name in sleep.passed[sleep_at:] if name != what.replace("before purge", "after purge")]
            assert all(name.startswith(HARMLESS) for name in done), (what, done)
        else:
            assert sleep_at == len(points.passed), what
        await world.drain(size_bytes_max=SIZE_BYTES_MAX, grace_ns=0)  # sweeps what the zombie wrote for itself
        found = audit(world.data, traffic.published)
        assert {f"segments.sealed.{LANE}.{manifest.name}": 1 for manifest in found} == world.announced(), what
        assert list((world.data / world.layout.active_prefix(LANE)).rglob("*.ndjson")) == [], what
    assert fenced >= len(points.passed) - 3


async def test_one_that_wakes_before_its_sweep_leaves_the_files_of_its_successor(tmp_path: Path) -> None:
    world, traffic = await told(tmp_path)
    old = await world.tools()
    zombie = world.workspace(old)
    heir = await world.segmenter()
    async with heir.running():
        await heir.until(lambda: heir.task.status().stream_seq == 7)
        folder = world.data / world.layout.active_prefix(LANE) / heir.tools.hold.owner
        world.clock.advance(6_000_000_000)
        await heir.until(lambda: folder.is_dir() and list(folder.iterdir()))
        zombie.sweep()
        assert list(folder.iterdir())
    audit(world.data, traffic.published)
