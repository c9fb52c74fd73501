"""What durable files need of the operating system: fsync that is believed once, and rename that replaces nothing."""

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

from fluxforge.domain.errors import DurabilityError

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
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
    if not _renameat2(source, target):
        os.link(source, target)
        source.unlink()


def _renameat2(source: Path, target: Path) -> bool:
    """Try the system call; False where it is not to be had."""
    if sys.platform != "linux":
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library older than the call
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(target))
