"""The ETL worker's composition root: reads the settings, builds the adapters, runs."""

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.sources import Backend, StoreLocation
from fluxforge_etl_worker.settings import etl_options
from fluxforge_etl_worker.work import Worker


def worker_of(settings: Settings) -> Worker:
    """Return a worker on the configured stores, which are probed.

    Raises:
        ConfigurationError: A store cannot be written, or is of a kind that is not available.
    """
    raw = _store(settings.storage.etl_storage_input, "etl_storage_input")
    output = _store(settings.storage.etl_storage_output, "etl_storage_output")
    return Worker(raw, output, etl_options(settings), SystemClock())


def _store(location: StoreLocation, key: str) -> LocalStore:
    if location.backend is not Backend.LOCAL:
        raise ConfigurationError(f"storage.{key}.backend: {location.backend.value} is not available yet, use local")
    store = LocalStore(location.base_dir)
    store.probe()
    return store
