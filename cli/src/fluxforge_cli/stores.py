"""Stores of a configuration, as the command reads them."""

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.stores import open_store
from fluxforge.ports.store import Store
from fluxforge.runtime.settings import Settings
from fluxforge_cli.files import Files, files_of


def segment_store(settings: Settings) -> Store:
    """Return the store of segments and commit records."""
    return open_store(settings.storage.ingestion_storage)


def output_store(settings: Settings) -> Store:
    """Return the store of the datasets."""
    return open_store(settings.storage.etl_storage_output)


def processed_files(settings: Settings) -> Files:
    """Return the files of the datasets, as those read them who do not know of stores."""
    return files_of(settings.storage.etl_storage_output).below(settings.storage.paths.processed_dir)


def probe(settings: Settings) -> None:
    """Make sure that everything can be written where it belongs.

    Raises:
        ConfigurationError: Something cannot; the message names the place.
    """
    segment_store(settings).probe()
    output_store(settings).probe()
    LocalStore(settings.storage.scratch_dir).probe()
