"""Keys that a person means by a directory."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluxforge.runtime.settings import Settings


def key_of(settings: "Settings", path: str) -> str:
    """Return the key prefix in the output store that a person means by a directory or a key."""
    base, there = _base(settings), Path(path).absolute()
    if base is not None and there.is_dir() and there.is_relative_to(base) and there != base:
        return there.relative_to(base).as_posix()
    return path.strip("/")


def new_key_of(settings: "Settings", path: str) -> str:
    """Return the key that a person means by a directory that may not be there yet, or by a key; a bare name is one."""
    base, there = _base(settings), Path(path).absolute()
    if base is not None and "/" in path.rstrip("/") and there.is_relative_to(base) and there != base:
        return there.relative_to(base).as_posix()
    return path.rstrip("/")


def _base(settings: "Settings") -> Path | None:
    """Return the directory of the output store; None where it is none."""
    storage = settings.storage.etl_storage_output
    return storage.base_dir.absolute() if storage.s3 is None or storage.backend == "local" else None
