"""Whether this machine has room, allows enough open files, and runs packages of one version."""

import resource
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from fluxforge.runtime.metrics import local_places, room_of
from fluxforge.runtime.settings import Settings
from fluxforge_cli.findings import Finding, State

_PACKAGES: Final = (
    "fluxforge",
    "fluxforge-collector",
    "fluxforge-segmenter",
    "fluxforge-etl-worker",
    "fluxforge-compactor",
    "fluxforge-cli",
)
_SCARCE: Final = 0.10
_GONE: Final = 0.02
_FILES_MIN: Final = 1024


def check_machine(settings: Settings) -> list[Finding]:
    """Look at this machine."""
    storage = settings.storage
    places = local_places(segments=storage.ingestion_storage, datasets=storage.etl_storage_output)
    places = {**places, "scratch": storage.scratch_dir, "spool": settings.spool_dir}
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [*(judge_room(name, path, room_of(path)) for name, path in places.items()), judge_files(files), packages()]


def judge_room(name: str, path: Path, room: tuple[int, int] | None) -> Finding:
    """Return what the room of a place means: bytes free and in all, None where nobody can tell. Pure."""
    name = f"disk of {name}"
    if room is None:
        return Finding(name, State.DEGRADED, f"{path} cannot be looked at", "check the mount and its permissions")
    free, total = room
    says = f"{free / 1e9:,.1f} of {total / 1e9:,.1f} GB free at {path}"
    share = free / total if total else 0.0
    if share >= _SCARCE:
        return Finding(name, State.OK, says)
    remedy = "free some space or grow the disk; retention.* and etl.delete_after_processing say what is kept"
    return Finding(name, State.CRITICAL if share < _GONE else State.DEGRADED, says, remedy)


def judge_files(limit: int) -> Finding:
    """Return what a limit of open files means. Pure."""
    if limit in (resource.RLIM_INFINITY, -1) or limit >= _FILES_MIN:
        return Finding("open files", State.OK, f"{limit if limit >= 0 else 'any number'} allowed")
    remedy = f"allow {_FILES_MIN} or more: `ulimit -n`, LimitNOFILE= of a unit, or `ulimits` of a container"
    return Finding("open files", State.DEGRADED, f"{limit} allowed", remedy)


def packages() -> Finding:
    """Look at the packages that are installed here; an image holds only those of its service."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return judge_versions(found)


def judge_versions(found: Mapping[str, str]) -> Finding:
    """Return what the versions of packages mean. Pure."""
    says = ", ".join(f"{package} {number}" for package, number in found.items())
    if len(set(found.values())) <= 1:
        return Finding("packages", State.OK, says)
    return Finding("packages", State.DEGRADED, says, "install all of them from one release")
