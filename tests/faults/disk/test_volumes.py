"""The volumes themselves: a cut drops what was not synced and keeps what was, or no power cut proves anything."""

import os
from pathlib import Path

import pytest

from fluxforge.adapters.local_store import LocalStore
from tests.faults.disk.volumes import ext4, fill, tmpfs


def test_a_cut_keeps_what_was_synced_and_nothing_else(tmp_path: Path) -> None:
    with ext4(tmp_path, size_mib=64) as disk:
        LocalStore(disk.path / "synced").create("a/b", b"kept")
        LocalStore(disk.path / "not", sync=False).create("a/b", b"lost")
        disk.cut_power()
        with pytest.raises(OSError, match="Input/output error"):
            (disk.path / "late").write_bytes(b"")
        disk.come_back()
        assert (disk.path / "synced" / "a" / "b").read_bytes() == b"kept"
        assert not (disk.path / "not").exists()


def test_a_full_volume_takes_nothing_more(tmp_path: Path) -> None:
    with tmpfs(tmp_path, size_mib=8) as folder:
        ballast = fill(folder)
        with pytest.raises(OSError, match="No space left"):
            (folder / "more").write_bytes(bytes(10_000))
        ballast.unlink()
        (folder / "more").write_bytes(bytes(10_000))


def test_a_volume_is_given_back(tmp_path: Path) -> None:
    with ext4(tmp_path, size_mib=64) as disk:
        assert os.path.ismount(disk.path)
    assert not os.path.ismount(disk.path)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
