"""The steps of a seal, in their order."""

from pathlib import Path

from fluxforge.domain.lane_state import LaneState
from fluxforge.domain.segment import SealedEvent
from fluxforge_segmenter.open_segment import Finished
from fluxforge_segmenter.seal import renamed, sealing_of, with_sealing
from tests.traffic import LANE, Traffic, manifests
from tests.unit.fluxforge_segmenter.world import Points, World


async def sealed(tmp_path: Path) -> tuple[World, Points]:
    world, traffic, points = World(tmp_path), Traffic(), Points()
    await world.put([traffic.block(), traffic.block()])
    await world.drain(points, grace_ns=0, size_bytes_max=1)
    return world, points


async def test_the_state_names_a_seal_before_storage_shows_it_and_forgets_it_after_everything(tmp_path: Path) -> None:
    _, points = await sealed(tmp_path)
    folder, name = f"raw/ready/{LANE.folder}", "segment_20251209T14_00001"
    steps = [step.removeprefix("after ") for step in points.passed if step.startswith("after ")]
    begin = steps.index(f"state sealing={name} sealed=0")
    assert steps[begin : begin + 5] == [
        f"state sealing={name} sealed=0",
        f"create {folder}/{name}.manifest.json",
        f"adopt {folder}/{name}.ndjson",
        f"segments.sealed.{LANE}.{name}",
        "state sealing=None sealed=1",
    ]


async def test_the_event_says_what_was_sealed(tmp_path: Path) -> None:
    world, _ = await sealed(tmp_path)
    for manifest, (subject, payload) in zip(manifests(world.data), world.server.events, strict=True):
        assert subject == f"segments.sealed.{LANE}.{manifest.name}"
        assert SealedEvent.from_json(payload) == SealedEvent(
            str(LANE), manifest.name, manifest.size_bytes, manifest.records, manifest.last_capture_ns
        )


async def test_the_state_names_exactly_what_the_manifest_says(tmp_path: Path) -> None:
    world, _ = await sealed(tmp_path)
    first, second = manifests(world.data)
    state = await world.state()
    assert state.recent[-1] == sealing_of(second)
    assert (state.hour, state.counter, state.last_capture_ns) == ("20251209T14", 2, second.last_capture_ns)
    naming = with_sealing(LaneState(epoch=1), first)
    assert (naming.sealing, naming.hour, naming.counter, naming.sealed_seq) == (sealing_of(first), "20251209T14", 1, 0)


async def test_a_renamed_segment_differs_in_its_name_alone(tmp_path: Path) -> None:
    world, _ = await sealed(tmp_path)
    manifest = manifests(world.data)[0]
    other = renamed(Finished(tmp_path, manifest)).manifest
    assert (other.name, other.file) == ("segment_20251209T14_00002", "segment_20251209T14_00002.ndjson")
    assert other.identity == manifest.identity
