"""A store on one directory of a local file system.

An object appears whole or not at all, is never overwritten, and stands after a power cut once a call returns: every
write is file, fsync, link or rename without replacement, fsync of the directory and of the parents it made. One file
system holds the whole directory. Half-written objects stand directly below `.tmp/`, where nothing is listed.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from typing_extensions import override

from fluxforge.adapters.local_files import fsync_directory, fsync_file, locked, rename_new
from fluxforge.domain.errors import (
    ConfigurationError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreUnavailableError,
)
from fluxforge.domain.layout import TMP
from fluxforge.ports.store import Store, check_key, check_prefix

_ABSENT: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_CANNOT_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_EMPTY: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_STALE_TEMP_S: Final = 3600
_LOCKS: Final = ".locks"


class LocalStore(Store):
    """Objects as files below `base_dir`, which is made when it is first written to or probed.

    `sync=False` leaves out every fsync: what was written survives a crash of the process, not of the machine.
    """

    __slots__ = ("_base_dir", "_durable", "_sync")

    def __init__(self, base_dir: Path, *, sync: bool = True) -> None:
        self._base_dir = base_dir
        self._sync = sync
        self._durable: set[Path] = set()  # directories whose own entry is known to be on disk

    @property
    def base_dir(self) -> Path:
        """The directory that holds everything."""
        return self._base_dir

    @property
    @override
    def place(self) -> str:
        return str(self._base_dir)

    @override
    def probe(self) -> None:
        try:
            temp = self._write_temp("probe", b"")
            self._sweep(now_s=temp.stat().st_mtime)
            temp.unlink()
        except (OSError, StoreUnavailableError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in _FULL:
                raise StoreUnavailableError("probe", str(self._base_dir), str(error)) from error
            raise ConfigurationError(
                f"storage base_dir {str(self._base_dir)!r} cannot be written: {error}; "
                "expected a directory on a local disk that this user may write"
            ) from error

    @override
    def create(self, key: str, body: bytes) -> None:
        check_key(key)
        with refusals("create", key):
            temp = self._write_temp(key, body)
            try:
                self._enter(temp, key)
            finally:
                temp.unlink()

    @override
    def adopt(self, key: str, path: Path) -> None:
        check_key(key)
        with refusals("adopt", key):
            try:
                self._enter(path, key)
            except OSError as error:
                if error.errno not in _CANNOT_LINK:
                    raise
            else:
                self._fsync_directory(path.parent)
                return
            temp = self._copy_temp(path)
            try:
                self._enter(temp, key)
            finally:
                temp.unlink()

    @override
    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        with refusals("read", key):
            try:
                with (self._base_dir / key).open("rb") as file:
                    file.seek(offset)
                    return file.read(-1 if length is None else length)
            except _ABSENT as error:
                raise ObjectNotFoundError(key) from error

    @override
    def size(self, key: str) -> int | None:
        check_key(key)
        with refusals("size", key):
            try:
                found = (self._base_dir / key).stat()
            except _ABSENT:
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    @override
    def keys(self, prefix: str) -> Iterator[str]:
        check_prefix(prefix)
        with refusals("keys", prefix):
            yield from self._walk(prefix)

    @override
    def move(self, key: str, target: str) -> None:
        check_key(key)
        check_key(target)
        source, goal = self._base_dir / key, self._base_dir / target
        with refusals("move", key):
            if not source.is_file():
                raise ObjectNotFoundError(key)
            # Without the locks it might enter a directory that is being replaced, or one in it.
            with contextlib.ExitStack() as held:
                for folder in PurePosixPath(target).parents[:-2]:
                    held.enter_context(self.holding(str(folder), shared=True))
                self._make_directory(goal.parent)
                try:
                    rename_new(source, goal)
                except FileExistsError:
                    self._fsync_directory(goal.parent)
                    raise ObjectExistsError(target) from None
                except FileNotFoundError as error:  # somebody else moved it first
                    raise ObjectNotFoundError(key) from error
                self._fsync_directory(goal.parent)
            self._leave(source.parent)

    @override
    def delete(self, key: str) -> None:
        check_key(key)
        path = self._base_dir / key
        with refusals("delete", key), contextlib.suppress(*_ABSENT):
            path.unlink(missing_ok=True)
            self._fsync_directory(path.parent)

    @contextlib.contextmanager
    def holding(self, prefix: str, *, shared: bool) -> Iterator[None]:
        """Hold the lock of a directory of objects: shared to move something in, alone to put another in its place."""
        with locked(self.lock_file(prefix), shared=shared):
            yield

    def lock_file(self, name: str) -> Path:
        """Return the file of a lock, in a directory that is never swept."""
        folder = self._base_dir / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)  # nothing is lost with it
        return folder / f"{directory_id(name)}.lock"

    def _leave(self, folder: Path) -> None:
        """Make durable that an object left a directory; one below `.tmp/` goes with its last object."""
        with contextlib.suppress(FileNotFoundError):  # somebody else moved the last one
            self._fsync_directory(folder)
            if folder.parent == self._base_dir / TMP:
                _remove_if_empty(folder)
                self._durable.discard(folder)

    def _enter(self, path: Path, key: str) -> None:
        goal = self._base_dir / key
        self._make_directory(goal.parent)
        try:
            os.link(path, goal)
        except FileExistsError:
            # Whoever relies on the name being taken relies on the object: it must stand after a power cut too.
            self._fsync_directory(goal.parent)
            raise ObjectExistsError(key) from None
        self._fsync_directory(goal.parent)

    def _write_temp(self, key: str, body: bytes) -> Path:
        temp = self._temp()
        try:
            with temp.open("xb", buffering=0) as file:
                view = memoryview(body)
                while view:
                    view = view[file.write(view) :]
                if self._sync:
                    fsync_file(file.fileno(), temp)
        except OSError as error:
            temp.unlink(missing_ok=True)
            raise StoreUnavailableError("create", key, f"{temp}: {error.strerror}") from error
        return temp

    def _copy_temp(self, path: Path) -> Path:
        temp = self._temp()
        try:
            with path.open("rb") as source, temp.open("xb") as goal:
                shutil.copyfileobj(source, goal, 1 << 20)
                goal.flush()
                if self._sync:
                    fsync_file(goal.fileno(), temp)
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        return temp

    def _temp(self) -> Path:
        folder = self._base_dir / TMP
        self._make_directory(folder)
        return folder / secrets.token_hex(8)

    def _make_directory(self, path: Path) -> None:
        """Make a directory and its parents; whatever of them was made is on disk when this returns."""
        if path in self._durable and path.is_dir():
            return
        if path == self._base_dir:
            missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
            path.mkdir(parents=True, exist_ok=True)
            for folder in missing:
                self._fsync_directory(folder.parent)
        else:
            self._make_directory(path.parent)
            path.mkdir(exist_ok=True)
            self._fsync_directory(path.parent)
        self._durable.add(path)

    def _fsync_directory(self, path: Path) -> None:
        if self._sync:
            fsync_directory(path)

    def _walk(self, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(self._base_dir / prefix) as listing:
                entries = [(entry.name, entry.is_dir()) for entry in listing]
        except _ABSENT:
            return
        # As keys sort: a directory stands where its name with "/" stands, so that "a-b" comes before "a/b".
        for name, is_folder in sorted(entries, key=lambda entry: f"{entry[0]}/" if entry[1] else entry[0]):
            key = f"{prefix}/{name}" if prefix else name
            if is_folder:
                yield from self._walk(key)
            elif prefix != TMP:
                yield key

    def _sweep(self, *, now_s: float) -> None:
        for entry in os.scandir(self._base_dir / TMP):
            with contextlib.suppress(FileNotFoundError):  # its writer lives and has finished
                if now_s - entry.stat().st_mtime <= _STALE_TEMP_S:
                    continue
                if entry.is_dir():
                    _remove_if_empty(Path(entry))
                else:
                    Path(entry).unlink()


def directory_id(prefix: str) -> str:
    """Return a file name for a directory of objects; a key may be longer than a name."""
    return hashlib.sha256(prefix.encode()).hexdigest()[:32]


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise


@contextlib.contextmanager
def refusals(operation: str, key: str) -> Iterator[None]:
    """Turn what the operating system refuses into the store's error, naming path and reason."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(operation, key, f"{error.filename or key}: {error.strerror or error}") from error
