"""Events that nobody will receive."""

from pathlib import Path

import pytest

from fluxforge.ports.bus import Backlog
from fluxforge_segmenter.reconcile import missing, publish_missing
from tests.traffic import LANE, Traffic, manifests
from tests.unit.fluxforge_segmenter.world import World

NONE = Backlog(0, 0)


@pytest.mark.parametrize(
    ("visible", "settled", "backlog", "expected"),
    [
        (["a", "b"], set(), NONE, ["a", "b"]),
        (["a", "b"], {"a"}, NONE, ["b"]),
        (["a"], {"a", "x"}, NONE, []),
        (["a"], set(), Backlog(1, 0), []),
        (["a"], set(), Backlog(0, 1), []),
    ],
)
def test_missing_is_what_is_neither_settled_nor_waiting(
    visible: list[str], settled: set[str], backlog: Backlog, expected: list[str]
) -> None:
    assert missing(visible, settled, backlog) == expected


async def test_a_lost_event_is_published_again_until_the_segment_is_committed(tmp_path: Path) -> None:
    world, traffic = World(tmp_path), Traffic()
    await world.put([traffic.block()])
    await world.drain()
    (manifest,) = manifests(world.data)
    subject = f"segments.sealed.{LANE}.{manifest.name}"
    tools = await world.tools()
    work = await world.bus.work()
    await publish_missing(tools, work.backlog)
    assert world.announced() == {subject: 1}, "its work still waits"
    world.server.events.clear()
    world.server.work.clear()
    world.server._event_ids.clear()
    await publish_missing(tools, work.backlog)
    assert world.announced() == {subject: 1}
    assert world.metric("events_again_total") == 1
    world.server.work.clear()
    world.server._event_ids.clear()
    world.store.create(world.layout.commit_key(LANE, manifest.name), b"{}")
    await publish_missing(tools, work.backlog)
    assert world.announced() == {subject: 1}
