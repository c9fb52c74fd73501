"""Settings: one YAML, overridden key by key from the environment, as one frozen tree that is read once.

Nothing that is not understood is passed over: unknown keys and variables, wrong types and units are refused, all at
once, each by its place and full path.
"""

from pathlib import Path

from pydantic import ValidationError

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings.document import EMPTY, read_document
from fluxforge.runtime.settings.explain import explain
from fluxforge.runtime.settings.sources import (
    ALL_MARKETS,
    Backend,
    ChannelMethod,
    CoinbaseSettings,
    ExchangeSettings,
    MarketFilter,
    MarketType,
    NatsSettings,
    S3Location,
    StorageSettings,
    StoreLocation,
    Timeframe,
)
from fluxforge.runtime.settings.tree import Settings
from fluxforge.runtime.settings.work import (
    BookProcessorOptions,
    EtlSettings,
    IngestionSettings,
    OrderbookEtl,
    TelemetrySettings,
)

__all__ = [
    "ALL_MARKETS",
    "Backend",
    "BookProcessorOptions",
    "ChannelMethod",
    "CoinbaseSettings",
    "EtlSettings",
    "ExchangeSettings",
    "IngestionSettings",
    "MarketFilter",
    "MarketType",
    "NatsSettings",
    "OrderbookEtl",
    "S3Location",
    "Settings",
    "StorageSettings",
    "StoreLocation",
    "TelemetrySettings",
    "Timeframe",
    "load",
]


def load(path: Path | None) -> Settings:
    """Return the settings of a file under the environment of this process; without a file, defaults and environment.

    Raises:
        ConfigurationError: Says of every fault where it stands, its key, and what would be right.
    """
    document = read_document(path) if path else EMPTY
    try:
        return Settings(**document.tree)
    except ValidationError as error:
        raise ConfigurationError(explain(error, document, Settings)) from error
