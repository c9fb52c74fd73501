"""The settings tree: the whole configuration as one frozen value. Attribute = key; no default stands elsewhere."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from fluxforge.domain.layout import Layout
from fluxforge.runtime.settings.databento import DatabentoSettings
from fluxforge.runtime.settings.environment import EnvironmentSource
from fluxforge.runtime.settings.ibkr import IbkrSettings
from fluxforge.runtime.settings.sources import CcxtSettings, CoinbaseSettings, NatsSettings, StorageSettings
from fluxforge.runtime.settings.work import (
    CompactionSettings,
    EtlSettings,
    IngestionSettings,
    RetentionSettings,
    TelemetrySettings,
)

_HEADERS_BYTES_MAX = 65_536


class Settings(BaseSettings):
    """Everything a service may be told. Built by `load`, which reads the file, the environment and the secret files."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    storage: StorageSettings = StorageSettings()
    nats: NatsSettings = NatsSettings()
    ccxt: CcxtSettings = CcxtSettings()
    coinbase: CoinbaseSettings | None = None
    databento: DatabentoSettings | None = None
    ibkr: IbkrSettings | None = None
    ingestion: IngestionSettings = IngestionSettings()
    etl: EtlSettings = EtlSettings()
    retention: RetentionSettings = RetentionSettings()
    compaction: CompactionSettings = CompactionSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the file; both are read by this package, which refuses what it does not know."""
        return EnvironmentSource(settings_cls), init_settings

    @model_validator(mode="after")
    def _block_fits_into_a_message(self) -> Self:
        room = self.nats.max_payload - _HEADERS_BYTES_MAX
        if self.ingestion.block_max_bytes > room:
            raise ValueError(
                f"ingestion.block_max_bytes: expected at most nats.max_payload less 64 KiB = {room}, "
                f"was {self.ingestion.block_max_bytes}"
            )
        return self

    @property
    def layout(self) -> Layout:
        """The keys below the stores, under the configured directory names."""
        paths = self.storage.paths
        return Layout(paths.raw_dir, paths.active_subdir, paths.ready_subdir, paths.processed_dir)

    @property
    def spool_dir(self) -> Path:
        """Where collectors spool while the bus is away."""
        return self.ingestion.spool_dir or self.storage.scratch_dir / "spool"

    @property
    def nats_dir(self) -> Path:
        """Where the embedded server keeps its data."""
        return self.storage.scratch_dir / "nats"
