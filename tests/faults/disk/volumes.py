"""Volumes of a test's own: a file system in a file whose power can be cut, and a small one in memory.

Whatever a killed run left mounted is released by the next.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MIB = 2**20
_PAGE_BYTES = 4096
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_MARK = "fluxforge-fault-volume"
_UMOUNT_DETACHED = "-l"


def require_mounts() -> None:
    """Skip the test where nothing can be mounted."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to mount")
    if not Path("/dev/loop-control").exists() or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs loop devices and mkfs.ext4")
    release_left()


def release_left() -> None:
    """Unmount what runs that were killed left behind; the owner's pid stands in the path."""
    for line in Path("/proc/mounts").read_text().splitlines():
        path = Path(line.split()[1])
        if path.name.startswith(_MARK) and not Path(f"/proc/{path.name.rpartition('-')[2]}").exists():
            subprocess.run(["umount", _UMOUNT_DETACHED, str(path)], check=True)


class Volume:
    """An ext4 file system in a sparse file. Nothing reaches its disk but what is synced."""

    def __init__(self, folder: Path, name: str, size_mib: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._image = folder / f"{name}.img"
        self.path = folder / f"{_MARK}-{name}-{os.getpid()}"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(size_mib * _MIB)
        _run("mkfs.ext4", "-q", "-F", str(self._image))

    def mount(self) -> None:
        """Mount it; what its journal holds is recovered. Its own writing back comes too late for any test."""
        _run("mount", "-o", "loop,commit=900", str(self._image), str(self.path))

    def sync(self) -> None:
        """Bring everything to its disk, synced by its writer or not."""
        _run("sync", "-f", str(self.path))

    def cut_power(self) -> None:
        """Drop whatever was not synced, and every later write: what is open fails from here on."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Unmount it; nothing of it may be open."""
        _run("umount", str(self.path))

    def come_back(self) -> None:
        """Mount it again as it stands on its disk."""
        self.unmount()
        self.mount()

    def end(self) -> None:
        """Give back mount and loop device, whatever state they are in."""
        if os.path.ismount(self.path):
            _run("umount", _UMOUNT_DETACHED, str(self.path))
        self._image.unlink(missing_ok=True)


@contextmanager
def ext4(folder: Path, name: str = "disk", *, size_mib: int = 96) -> Iterator[Volume]:
    """Make and mount a volume below `folder`."""
    require_mounts()
    volume = Volume(folder, name, size_mib)
    try:
        volume.mount()
        yield volume
    finally:
        volume.end()


@contextmanager
def tmpfs(folder: Path, *, size_mib: int) -> Iterator[Path]:
    """Mount a file system in memory with a fixed size below `folder`."""
    require_mounts()
    path = folder / f"{_MARK}-memory-{os.getpid()}"
    path.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(path))
    try:
        yield path
    finally:
        _run("umount", _UMOUNT_DETACHED, str(path))


def fill(folder: Path) -> Path:
    """Take all room that is left with one file, without writing it, and return that."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size_bytes, step_bytes = 0, 1 << 34
        while step_bytes >= _PAGE_BYTES:
            try:
                os.posix_fallocate(file.fileno(), size_bytes, step_bytes)
            except OSError:
                step_bytes //= 2
            else:
                size_bytes += step_bytes
    return ballast


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
