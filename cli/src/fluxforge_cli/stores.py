"""Stores of a configuration, as the command reads them."""

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Backend, Settings, StoreLocation


def local_store(location: StoreLocation, key: str) -> LocalStore:
    """Return the store at a location; `key` is its group in the configuration.

    Raises:
        ConfigurationError: It is on S3.
    """
    if location.backend is not Backend.LOCAL:
        raise ConfigurationError(f"{key}.backend: s3 is not available yet; expected local")
    return LocalStore(location.base_dir)


def segment_store(settings: Settings) -> LocalStore:
    """Return the store of segments and commit records."""
    return local_store(settings.storage.ingestion_storage, "storage.ingestion_storage")


def output_store(settings: Settings) -> LocalStore:
    """Return the store of the datasets."""
    return local_store(settings.storage.etl_storage_output, "storage.etl_storage_output")


def probe(settings: Settings) -> None:
    """Make sure that everything can be written where it belongs.

    Raises:
        ConfigurationError: Something cannot; the message names the directory.
    """
    segment_store(settings).probe()
    output_store(settings).probe()
    LocalStore(settings.storage.scratch_dir).probe()
