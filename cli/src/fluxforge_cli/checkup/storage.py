"""Whether everything can be written where it belongs, and lets nobody overwrite anything."""

import os
from collections.abc import Callable
from typing import Final

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.stores import open_partitions
from fluxforge.domain.errors import FluxForgeError, StoreUnavailableError
from fluxforge.ports.store import Store
from fluxforge.runtime.settings import Settings
from fluxforge_cli.findings import Finding, State
from fluxforge_cli.stores import output_store, segment_store

_UNAVAILABLE: Final = "free some space, or see whether the endpoint answers"


def check_storage(settings: Settings) -> list[Finding]:
    """Look at every store of a configuration; each is written to, and what is written goes again. Blocks."""
    found = [
        _store("segments", lambda: segment_store(settings)),
        _store("datasets", lambda: output_store(settings)),
        _store("scratch", lambda: LocalStore(settings.storage.scratch_dir)),
    ]
    return [*found, _partitions(settings)] if found[1].healthy else found


def _store(name: str, opened: Callable[[], Store]) -> Finding:
    name = f"storage of {name}"
    try:
        store = opened()
        store.probe()
    except FluxForgeError as error:
        return Finding(name, State.CRITICAL, str(error), _remedy(error))
    return Finding(name, State.OK, f"{store.place} can be written, and of several writers of a name one wins")


def _partitions(settings: Settings) -> Finding:
    name = "compaction"
    storage = settings.storage
    try:
        open_partitions(storage.etl_storage_output, storage.scratch_dir).probe()
    except FluxForgeError as error:
        remedy = "move the datasets to a local ext4, XFS or btrfs, or to S3; or do without: compaction.enabled: false"
        return Finding(name, State.DEGRADED, str(error), remedy)
    return Finding(name, State.OK, "files of a partition can be replaced in one step")


def _remedy(error: FluxForgeError) -> str:
    if isinstance(error, StoreUnavailableError):
        return _UNAVAILABLE
    return f"let user {os.getuid()} write there, or name another place under storage in the configuration"
