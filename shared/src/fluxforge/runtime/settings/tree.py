"""The settings tree: the whole configuration as one frozen value. Attribute = key; no default stands elsewhere."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from fluxforge.domain.layout import Layout
from fluxforge.runtime.settings.sources import CcxtSettings, Group, NatsSettings, StorageSettings
from fluxforge.runtime.settings.work import (
    CompactionSettings,
    EtlSettings,
    IngestionSettings,
    RetentionSettings,
    TelemetrySettings,
)

_HEADERS_BYTES_MAX = 65_536


class Settings(Group):
    """Everything a service may be told. Built by `load`, which reads the file, the environment and the secret files."""

    storage: StorageSettings = StorageSettings()
    nats: NatsSettings = NatsSettings()
    ccxt: CcxtSettings = CcxtSettings()
    coinbase: None = None
    databento: None = None
    ibkr: None = None
    ingestion: IngestionSettings = IngestionSettings()
    etl: EtlSettings = EtlSettings()
    retention: RetentionSettings = RetentionSettings()
    compaction: CompactionSettings = CompactionSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

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
