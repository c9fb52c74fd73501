"""The file being written."""

import hashlib
import os
from pathlib import Path

import pytest

from fluxforge.domain.errors import DurabilityError, ManifestError, StoreUnavailableError
from fluxforge.domain.segment import SegmentName
from fluxforge.ports.lanes import StoredBlock
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.contents import Contents, Tail
from fluxforge_segmenter.open_segment import Finished, OpenSegment, keep_manifest, read_manifest, remove
from tests.traffic import LANE, Traffic


class Syncs:
    def __init__(self) -> None:
        self.synced: list[Path] = []

    def __call__(self, fd: int, path: Path) -> None:
        os.fsync(fd)
        self.synced.append(path)


def opened(folder: Path, sync: object = None) -> tuple[OpenSegment, Traffic]:
    contents = Contents(Tail(), epoch=1, first=1)
    return OpenSegment(folder / "active", contents, Compression.NONE, sync or Syncs()), Traffic()  # type: ignore[arg-type]


def finished(segment: OpenSegment) -> Finished:
    digest = segment.finish()
    segment.close()
    name = SegmentName("20251209T14", 1)
    manifest = segment.contents.manifest(LANE, name, digest, suffix=".ndjson", created_ns=1, software="test")
    return Finished(segment.path, manifest)


def test_nothing_is_on_disk_before_the_first_write(tmp_path: Path) -> None:
    segment, traffic = opened(tmp_path)
    segment.add(StoredBlock(1, traffic.block()))
    assert segment.buffered_bytes == len(traffic.published[0].payload)
    assert not segment.path.exists()
    segment.write()
    assert segment.buffered_bytes == 0
    assert segment.path.read_bytes() == traffic.published[0].payload
    segment.close()


def test_finishing_writes_the_rest_and_brings_it_to_disk(tmp_path: Path) -> None:
    syncs = Syncs()
    segment, traffic = opened(tmp_path, syncs)
    for seq in range(1, 4):
        segment.add(StoredBlock(seq, traffic.block()))
        if seq == 2:
            segment.write()
    done = finished(segment)
    body = b"".join(block.payload for block in traffic.published)
    assert done.path.read_bytes() == body
    assert (done.manifest.size_bytes, done.manifest.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert syncs.synced == [done.path]


def test_a_failed_write_names_the_path_and_the_file_is_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment, traffic = opened(tmp_path)
    segment.add(StoredBlock(1, traffic.block()))
    segment.write()
    segment.add(StoredBlock(2, traffic.block()))
    pwrite = os.pwrite

    def half(fd: int, body: memoryview, offset: int) -> int:
        if len(body) > 100:
            return pwrite(fd, body[:100], offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda fd, body, offset: half(fd, body[:150], offset))
        with pytest.raises(StoreUnavailableError, match=r"1_1\.ndjson.*No space left"):
            segment.write()
    segment.discard()
    assert not segment.path.exists()


def test_a_segment_of_no_records_is_an_empty_file(tmp_path: Path) -> None:
    syncs = Syncs()
    segment, _ = opened(tmp_path, syncs)
    digest = segment.finish()
    segment.close()
    assert (segment.path.read_bytes(), digest.size_bytes, digest.sha256) == (b"", 0, hashlib.sha256().hexdigest())
    assert syncs.synced == [segment.path]


def test_an_abandoned_file_goes_unless_it_is_finished(tmp_path: Path) -> None:
    for is_finished in (False, True):
        segment, traffic = opened(tmp_path / str(is_finished))
        segment.add(StoredBlock(1, traffic.block()))
        segment.write()
        if is_finished:
            segment.finish()
        segment.abandon()
        assert segment.path.exists() == is_finished
        segment.close()


def test_a_failed_fsync_ends_it(tmp_path: Path) -> None:
    def fail(_fd: int, _path: Path) -> None:
        raise DurabilityError("fsync failed")

    segment, traffic = opened(tmp_path, fail)
    segment.add(StoredBlock(1, traffic.block()))
    with pytest.raises(DurabilityError):
        segment.finish()
    segment.close()


def test_a_discarded_segment_leaves_nothing(tmp_path: Path) -> None:
    segment, traffic = opened(tmp_path)
    segment.discard()
    segment.add(StoredBlock(1, traffic.block()))
    segment.write()
    segment.discard()
    assert list(segment.path.parent.iterdir()) == []


def test_a_manifest_is_kept_beside_its_file_until_both_are_removed(tmp_path: Path) -> None:
    syncs = Syncs()
    segment, traffic = opened(tmp_path)
    segment.add(StoredBlock(1, traffic.block()))
    done = finished(segment)
    assert read_manifest(done.path) is None
    keep_manifest(done, syncs)
    assert read_manifest(done.path) == done.manifest
    assert len(syncs.synced) == 1
    syncs.synced[0].write_bytes(b"{torn")
    with pytest.raises(ManifestError):
        read_manifest(done.path)
    remove(done)
    assert list(done.path.parent.iterdir()) == []
