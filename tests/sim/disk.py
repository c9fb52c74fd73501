"""A simulated disk: real files, on which every change is a moment to die, and a power cut that leaves what was synced.

The file system's calls are replaced while `hooked` lasts: those of a simulated process count as moments and are refused
once it is dead; fsync costs nothing and is remembered. After a power cut a file holds what was synced and any part of
what was not, torn at any byte; an entry made or removed since its directory was synced is there or not, by chance.
"""

import contextlib
import io
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from fluxforge.adapters import local_files
from tests.sim.loop import PROCESS, KilledError, SimLoop

_CHANGING = ("link", "unlink", "remove", "rename", "replace", "mkdir", "rmdir", "pwrite", "ftruncate", "truncate")


class Disk:
    """The disk of one host."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self._content: dict[int, bytes] = {}  # inode -> what was synced of it
        self._entries: dict[int, dict[str, int]] = {}  # inode of a directory -> its entries when it was synced
        root.mkdir(parents=True)

    def synced(self, path: Path) -> None:
        """Remember what stands there now as durable."""
        inode = path.stat().st_ino
        if path.is_dir():
            self._entries[inode] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self._content[inode] = path.read_bytes()

    def lose_power(self) -> None:
        """Leave what was synced, and by chance some of the rest."""
        contents: dict[int, bytes] = {}
        self._settle(self.root, contents)
        self._content, self._entries = {}, {}
        for folder, _, files in os.walk(self.root):
            self.synced(Path(folder))
            for file in files:
                self.synced(Path(folder) / file)

    def tear(self, written: Iterable[Path]) -> None:
        """Cut what is not synced of these files at any byte: the process died while it was writing them."""
        for path in sorted(written):
            if path.is_relative_to(self.root) and path.is_file():
                durable, size = len(self._content.get(path.stat().st_ino, b"")), path.stat().st_size
                if size > durable:
                    os.truncate(path, self.chance.randint(durable, size))

    def _settle(self, folder: Path, contents: dict[int, bytes]) -> None:
        durable = self._entries.get(folder.stat().st_ino, {})
        current = {entry.name: entry.inode() for entry in os.scandir(folder)}
        for name in sorted(current.keys() | durable.keys()):
            path = folder / name
            if durable.get(name) == current.get(name) or (name in current and self.chance.random() < 0.5):
                self._keep(path, contents)
            elif name in current:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            is_back = name in durable and not path.exists() and durable[name] in self._content
            if is_back and (name in current or self.chance.random() < 0.5):
                path.write_bytes(self._content[durable[name]])

    def _keep(self, path: Path, contents: dict[int, bytes]) -> None:
        if path.is_dir():
            self._settle(path, contents)
            return
        inode = path.stat().st_ino
        if inode not in contents:
            contents[inode] = self._after(self._content.get(inode, b""), path.read_bytes())
            path.write_bytes(contents[inode])  # in place: other names of the file share it

    def _after(self, durable: bytes, current: bytes) -> bytes:
        if not current.startswith(durable):
            return self.chance.choice((durable, current))
        kept = self.chance.randint(len(durable), len(current))
        is_zeroed = self.chance.random() < 0.2
        return current[:kept] + bytes(len(current) - kept if is_zeroed else 0)


@contextlib.contextmanager
def hooked(loop: SimLoop, disks: dict[str, Disk]) -> Iterator[None]:
    """Replace the file system's calls."""

    def fsync(fd: int) -> None:
        process = PROCESS.get()
        if process is None:
            return
        loop.moment(process)
        disks[process.host].synced(Path(f"/proc/self/fd/{fd}").readlink())
        loop.moment(process)

    with contextlib.ExitStack() as stack:
        for name in _CHANGING:
            stack.enter_context(mock.patch.object(os, name, _counted(loop, getattr(os, name))))
        stack.enter_context(mock.patch.object(os, "fsync", fsync))
        stack.enter_context(mock.patch.object(os, "open", _opening(loop, os.open)))
        stack.enter_context(mock.patch.object(os, "close", _closing(os.close)))
        stack.enter_context(mock.patch.object(io, "open", _opening(loop, io.open)))
        stack.enter_context(
            mock.patch.object(local_files, "_renameat2", _counted(loop, local_files._renameat2)),
        )
        yield


def _counted(loop: SimLoop, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        process = PROCESS.get()
        if process is not None:
            loop.moment(process)
        return call(*arguments, **options)

    return counted


def _opening(loop: SimLoop, call: Callable[..., Any]) -> Callable[..., Any]:
    def opening(path: Any, mode: Any = "r", *arguments: Any, **options: Any) -> Any:
        process = PROCESS.get()
        if process is not None:
            is_reading = mode in ("r", "rb") if isinstance(mode, str) else mode & (os.O_WRONLY | os.O_RDWR) == 0
            if not is_reading:
                loop.moment(process)
                process.written.add(Path(path))
            elif process.is_dead:
                raise KilledError
        opened = call(path, mode, *arguments, **options)
        if process is not None and isinstance(opened, int):
            process.descriptors.add(opened)
        return opened

    return opening


def _closing(call: Callable[[int], None]) -> Callable[[int], None]:
    def closing(descriptor: int) -> None:
        process = PROCESS.get()
        if process is not None:
            if process.is_dead:
                raise KilledError
            process.descriptors.discard(descriptor)
        call(descriptor)

    return closing
