"""Stores of a configuration: what a group such as `storage.ingestion_storage` means, as a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fluxforge.adapters.local_partitions import LocalPartitions
from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.stored_partitions import StoredPartitions
from fluxforge.ports.partitions import Partitions
from fluxforge.ports.store import Store

if TYPE_CHECKING:
    from fluxforge.adapters.s3 import S3Options


class _Secret(Protocol):
    def get_secret_value(self) -> str: ...


class _S3Location(Protocol):
    """The group `s3` of a store."""

    @property
    def bucket(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def region(self) -> str | None: ...
    @property
    def endpoint_url(self) -> str | None: ...
    @property
    def access_key_id(self) -> _Secret | None: ...
    @property
    def secret_access_key(self) -> _Secret | None: ...
    @property
    def addressing(self) -> str: ...


class _StoreLocation(Protocol):
    """The group of one store; `s3` is set where `backend` is `s3`."""

    @property
    def backend(self) -> str: ...
    @property
    def base_dir(self) -> Path: ...
    @property
    def s3(self) -> _S3Location | None: ...


def open_store(location: _StoreLocation, *, sync: bool = True) -> Store:
    """Return the store at a location; it is not looked at before `probe`.

    Raises:
        ConfigurationError: No client can be made for it.
    """
    if location.s3 is None or location.backend == "local":
        return LocalStore(location.base_dir, sync=sync)
    # Whoever works on a local disk neither needs nor loads a client for S3.
    from fluxforge.adapters.s3 import S3Store  # noqa: PLC0415 - see above

    return S3Store(s3_options(location.s3))


def open_partitions(location: _StoreLocation, scratch_dir: Path, *, sync: bool = True) -> Partitions:
    """Return the partitions of a group's store, not looked at yet; outputs for S3 are made in `scratch_dir` first."""
    store = open_store(location, sync=sync)
    return LocalPartitions(store) if isinstance(store, LocalStore) else StoredPartitions(store, scratch_dir)


def s3_options(group: _S3Location) -> "S3Options":
    """Return what opens a store or a file system on S3."""
    from fluxforge.adapters.s3 import S3Options  # noqa: PLC0415 - see above

    return S3Options(
        bucket=group.bucket,
        prefix=group.prefix,
        region=group.region,
        endpoint_url=group.endpoint_url,
        access_key_id=group.access_key_id.get_secret_value() if group.access_key_id else None,
        secret_access_key=group.secret_access_key.get_secret_value() if group.secret_access_key else None,
        addressing=group.addressing,
    )
