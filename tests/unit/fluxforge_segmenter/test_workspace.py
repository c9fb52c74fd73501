"""The lane's folder on local disk."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.domain.lane_state import Sealing
from fluxforge.domain.segment import SegmentName
from fluxforge.ports.lanes import StoredBlock
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.contents import Contents, Tail
from fluxforge_segmenter.open_segment import Finished, keep_manifest
from fluxforge_segmenter.seal import sealing_of
from fluxforge_segmenter.workspace import Workspace, newest_owner
from tests.traffic import LANE, Traffic


def no_sync(_fd: int, _path: Path) -> None:
    return


@pytest.fixture(params=list(Compression))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Finished:
    """What an owner finished before it died."""
    segment = Workspace(tmp_path, "1-dead", request.param, no_sync).open(Contents(Tail(), epoch=1, first=5))
    segment.add(StoredBlock(5, Traffic().block()))
    digest = segment.finish()
    segment.close()
    manifest = segment.contents.manifest(
        LANE, SegmentName("20251209T14", 1), digest, suffix=request.param.suffix, created_ns=1, software="test"
    )
    finished = Finished(segment.path, manifest)
    keep_manifest(finished, no_sync)
    return finished


@pytest.fixture
def heir(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "2-heir", Compression.NONE, no_sync)


def test_the_file_of_a_seal_is_found_whoever_wrote_it(heir: Workspace, left: Finished) -> None:
    assert heir.find(sealing_of(left.manifest)) == left


def test_a_file_of_another_seal_is_not_taken_for_it(heir: Workspace, left: Finished) -> None:
    sealing: Sealing = sealing_of(left.manifest)
    for other in (replace(sealing, sha256="other"), replace(sealing, last=9), replace(sealing, epoch=2)):
        assert heir.find(other) is None


def test_a_torn_file_or_manifest_is_not_taken(heir: Workspace, left: Finished) -> None:
    body = left.path.read_bytes()
    left.path.write_bytes(body[:-1])
    assert heir.find(sealing_of(left.manifest)) is None
    left.path.write_bytes(body)
    beside = left.path.with_name(left.path.name + ".manifest.json")
    beside.write_bytes(beside.read_bytes()[:-9])
    assert heir.find(sealing_of(left.manifest)) is None


def test_sweeping_leaves_what_is_our_own(heir: Workspace, left: Finished) -> None:
    segment = heir.open(Contents(Tail(), epoch=1, first=1))
    segment.add(StoredBlock(1, Traffic().block()))
    segment.write()
    heir.sweep()
    assert segment.path.exists()
    assert not left.path.parent.exists()
    segment.discard()


def test_sweeping_nothing_is_no_error(tmp_path: Path) -> None:
    Workspace(tmp_path / "nowhere", "1-a", Compression.NONE, no_sync).sweep()


def test_sweeping_leaves_what_younger_owners_have(tmp_path: Path) -> None:
    for owner in ("9-older", "10-ours", "11-younger"):
        (tmp_path / owner).mkdir()
    Workspace(tmp_path, "10-ours", Compression.NONE, no_sync).sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10-ours", "11-younger"]


def test_owners_are_counted_by_number(tmp_path: Path) -> None:
    assert newest_owner(tmp_path / "nowhere") == 0
    for owner in ("9-a", "10-b", "stranger"):
        (tmp_path / owner).mkdir()
    assert newest_owner(tmp_path) == 10


def test_every_finished_file_is_listed_whoever_wrote_it(heir: Workspace, left: Finished) -> None:
    (left.path.parent / "1_9.ndjson").write_bytes(b"unfinished")
    assert heir.finished() == [left.manifest]


def test_a_file_that_cannot_be_read_is_not_trusted(
    heir: Workspace, left: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad_sector(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fluxforge_segmenter.open_segment.digest_of", bad_sector)
    assert heir.find(sealing_of(left.manifest)) is None
