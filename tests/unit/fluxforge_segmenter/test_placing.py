"""How a segment enters storage under a name."""

from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import Manifest, SegmentIdentity, SegmentName
from fluxforge.ports.lanes import StoredBlock
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.contents import Contents, Digest, Tail
from fluxforge_segmenter.open_segment import Finished, OpenSegment
from fluxforge_segmenter.placing import Shelf, Standing, Step, next_step
from tests.traffic import LANE, Traffic

LAYOUT = Layout()


def commit_of(manifest: Manifest, identity: SegmentIdentity) -> bytes:
    return CommitRecord(str(LANE), manifest.name, identity, 1, (), 0, 0, (), 1, 1, "test", 1).to_json()


@pytest.fixture(params=list(Compression))
def finished(request: pytest.FixtureRequest, tmp_path: Path) -> Finished:
    segment = OpenSegment(tmp_path, Contents(Tail(), epoch=1, first=1), request.param, lambda _fd, _path: None)
    segment.add(StoredBlock(1, Traffic().block()))
    digest = segment.finish()
    segment.close()
    manifest = segment.contents.manifest(
        LANE, SegmentName("20251209T14", 1), digest, suffix=request.param.suffix, created_ns=1, software="test"
    )
    return Finished(segment.path, manifest)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def shelf(store: MemoryStore) -> Shelf:
    return Shelf(store, LAYOUT, LANE)


def segment_key(finished: Finished) -> str:
    return LAYOUT.segment_key(LANE, finished.manifest.file)


def manifest_key(finished: Finished) -> str:
    return LAYOUT.manifest_key(LANE, finished.manifest.name)


def test_the_next_step_follows_from_what_stands(finished: Finished) -> None:
    ours = finished.manifest
    segment = (ours.file, Digest(ours.size_bytes, ours.sha256))
    other = replace(ours.identity, sha256="other")
    for standing, step in [
        (Standing(), Step.PUT_MANIFEST),
        (Standing(manifest=ours), Step.PUT_SEGMENT),
        (Standing(manifest=ours, segments=(segment,)), Step.DONE),
        (Standing(segments=(segment,)), Step.PUT_MANIFEST),
        (Standing(commit=ours.identity), Step.DONE),
        (Standing(commit=other), Step.NAME_TAKEN),
        (Standing(commit=other, manifest=ours, segments=(segment,)), Step.NAME_TAKEN),
        (Standing(manifest=replace(ours, sha256="other")), Step.NAME_TAKEN),
        (Standing(manifest=replace(ours, file="another form")), Step.NAME_TAKEN),
        (Standing(manifest=replace(ours, created_ns=9), segments=(segment,)), Step.DONE),
        (Standing(segments=((ours.file, Digest(1, "other")),)), Step.NAME_TAKEN),
        (Standing(segments=((ours.file, None),)), Step.NAME_TAKEN),
        (Standing(manifest=ours, segments=(segment, ("another form", segment[1]))), Step.NAME_TAKEN),
    ]:
        assert next_step(standing, ours) is step, standing


def test_a_placed_segment_is_visible_and_placing_it_again_changes_nothing(
    store: MemoryStore, shelf: Shelf, finished: Finished
) -> None:
    assert shelf.place(finished)
    before = {key: store.read(key) for key in store.keys("")}
    assert set(before) == {segment_key(finished), manifest_key(finished)}
    assert before[segment_key(finished)] == finished.path.read_bytes()
    assert shelf.place(finished)
    assert {key: store.read(key) for key in store.keys("")} == before
    assert shelf.names() == [finished.manifest.name]
    assert shelf.stands(finished.manifest.name, finished.manifest.identity)


def test_the_manifest_enters_before_the_segment(finished: Finished) -> None:
    order: list[str] = []

    class Noting(MemoryStore):
        @override
        def create(self, key: str, body: bytes) -> None:
            order.append(key)
            super().create(key, body)

    assert Shelf(Noting(), LAYOUT, LANE).place(finished)
    assert order == [manifest_key(finished), segment_key(finished)]  # adopting is creating from a file


def test_other_bytes_under_the_name_stay_and_our_manifest_goes(
    store: MemoryStore, shelf: Shelf, finished: Finished
) -> None:
    store.create(manifest_key(finished), finished.manifest.to_json())
    store.create(segment_key(finished), b"other\n")
    assert not shelf.place(finished)
    assert list(store.keys("")) == [segment_key(finished)]
    assert store.read(segment_key(finished)) == b"other\n"


def test_a_foreign_manifest_stays_where_it_is(store: MemoryStore, shelf: Shelf, finished: Finished) -> None:
    foreign = replace(finished.manifest, sha256="other").to_json()
    store.create(manifest_key(finished), foreign)
    assert not shelf.place(finished)
    assert {key: store.read(key) for key in store.keys("")} == {manifest_key(finished): foreign}


def test_a_committed_segment_is_not_put_again(store: MemoryStore, shelf: Shelf, finished: Finished) -> None:
    key = LAYOUT.commit_key(LANE, finished.manifest.name)
    store.create(key, commit_of(finished.manifest, finished.manifest.identity))
    assert shelf.place(finished)
    assert list(store.keys("")) == [key]
    assert shelf.stands(finished.manifest.name, finished.manifest.identity)
    assert not shelf.stands(finished.manifest.name, replace(finished.manifest.identity, last=9))


def test_a_segment_stands_only_with_its_manifest_and_its_size(
    store: MemoryStore, shelf: Shelf, finished: Finished
) -> None:
    identity = finished.manifest.identity
    assert not shelf.stands(finished.manifest.name, identity)
    store.create(manifest_key(finished), finished.manifest.to_json())
    assert not shelf.stands(finished.manifest.name, identity)
    assert shelf.names() == []
    if not finished.manifest.compressed:
        store.create(segment_key(finished), b"short")
        assert not shelf.stands(finished.manifest.name, identity)


def test_settled_are_the_committed_and_the_dead(store: MemoryStore, shelf: Shelf) -> None:
    store.create(LAYOUT.commit_key(LANE, "segment_a"), b"{}")
    store.create(LAYOUT.placed_key(LANE, "segment_a"), b"")
    store.create(LAYOUT.dead_key(LANE, "segment_b"), b"{}")
    assert {"segment_a", "segment_b"} <= shelf.settled()
    assert "segment_c" not in shelf.settled()


def test_what_is_placed_whole_is_told_from_what_is_not(store: MemoryStore, shelf: Shelf, finished: Finished) -> None:
    name, identity = finished.manifest.name, finished.manifest.identity
    assert shelf.placed(name, identity) is None
    store.create(manifest_key(finished), finished.manifest.to_json())
    assert shelf.placed(name, identity) is None
    store.create(segment_key(finished), finished.path.read_bytes()[:-1])
    assert shelf.placed(name, identity) is None
    store.delete(segment_key(finished))
    assert shelf.place(finished)
    assert shelf.placed(name, identity) == finished.manifest
    assert shelf.placed(name, replace(identity, last=9)) is None


@pytest.mark.parametrize("beside", ["nothing", "segment", "commit", "another identity"])
def test_a_manifest_is_taken_back_only_while_nothing_stands_on_it(
    store: MemoryStore, shelf: Shelf, finished: Finished, beside: str
) -> None:
    store.create(manifest_key(finished), finished.manifest.to_json())
    identity = finished.manifest.identity
    match beside:
        case "segment":
            store.create(segment_key(finished), b"x")
        case "commit":
            store.create(LAYOUT.commit_key(LANE, finished.manifest.name), commit_of(finished.manifest, identity))
        case "another identity":
            identity = replace(identity, sha256="other")
    shelf.take_back(finished.manifest.name, identity)
    assert (store.size(manifest_key(finished)) is None) == (beside == "nothing")


def test_names_in_use_are_those_of_segments_manifests_and_commits(store: MemoryStore, shelf: Shelf) -> None:
    assert shelf.names_in_use() == []
    store.create(LAYOUT.segment_key(LANE, "segment_20251209T14_00001.ndjson"), b"")
    store.create(LAYOUT.segment_key(LANE, "segment_20251209T14_00002.ndjson.zst"), b"")
    store.create(LAYOUT.manifest_key(LANE, "segment_20251209T14_00003"), b"")
    store.create(LAYOUT.commit_key(LANE, "segment_20251209T14_00004"), b"{}")
    store.create(LAYOUT.commit_key(LANE, "segment_20251209T14_00004", 2), b"{}")
    store.create(LAYOUT.segment_key(LANE, "put_here_by_hand.ndjson"), b"")
    assert sorted(name.counter for name in shelf.names_in_use()) == [1, 2, 3, 4]


def test_halves_are_what_stands_without_its_other_half_and_is_not_settled(store: MemoryStore, shelf: Shelf) -> None:
    store.create(LAYOUT.segment_key(LANE, "a.ndjson"), b"")
    store.create(LAYOUT.manifest_key(LANE, "a"), b"")
    store.create(LAYOUT.segment_key(LANE, "b.ndjson.zst"), b"")
    for name in ("c", "d", "e"):
        store.create(LAYOUT.manifest_key(LANE, name), b"")
    store.create(LAYOUT.commit_key(LANE, "d"), b"{}")
    store.create(LAYOUT.dead_key(LANE, "e"), b"{}")
    assert shelf.halves() == [LAYOUT.segment_key(LANE, "b.ndjson.zst"), LAYOUT.manifest_key(LANE, "c")]
