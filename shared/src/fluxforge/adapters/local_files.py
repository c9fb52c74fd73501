"""What durable files need of the operating system: fsync that is believed once, and rename that replaces nothing."""

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fluxforge.domain.errors import DurabilityError

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


def fsync_file(fd: int, path: Path) -> None:
    """Bring an open file to disk; on macOS past the drive's cache too.

    Raises:
        DurabilityError: It failed. The kernel may have dropped the dirty pages, so that a second fsync would say yes:
            the bytes are to be written again, from their source, by a new process.
    """
    try:
        if sys.platform == "darwin":
            import fcntl  # noqa: PLC0415 - exists on this platform only

            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)
    except OSError as error:
        raise DurabilityError(
            f"fsync of {str(path)!r} failed: {error.strerror}; its content cannot be trusted"
        ) from error


def fsync_directory(path: Path) -> None:
    """Bring the entries of a directory to disk; a directory that is not there raises FileNotFoundError.

    Raises:
        DurabilityError: It failed.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        raise DurabilityError(f"fsync of directory {str(path)!r} failed: {error.strerror}") from error
    finally:
        os.close(fd)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file; a target that stands raises FileExistsError and stays.

    One step where the kernel has renameat2, else link and unlink, between which both names stand.
    """
    if not _renameat2(source, target, _RENAME_NOREPLACE):
        os.link(source, target)
        source.unlink()


def exchange(one: Path, other: Path) -> bool:
    """Let two files or directories change places in one step; False where the system cannot."""
    return _renameat2(one, other, _RENAME_EXCHANGE)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock on a file that is made for it and never removed; False where `wait` is not wanted and it is taken.

    The system gives it back when its holder ends, however that ends.
    """
    import fcntl  # noqa: PLC0415 - exists on POSIX only, and whoever only reads needs none

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def _renameat2(source: Path, target: Path, flag: int) -> bool:
    """Try the system call; False where it is not to be had."""
    if sys.platform != "linux":
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library older than the call
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(target))
