"""The segmenter's part of the configuration."""

from pathlib import Path

from fluxforge.domain.segment import SealPolicy
from fluxforge.runtime.settings import load
from fluxforge_segmenter.compression import Compression
from fluxforge_segmenter.settings import SegmenterSettings


def settings_of(tmp_path: Path, text: str) -> SegmenterSettings:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return SegmenterSettings.of(load(path))


def test_sizes_and_times_come_in_the_units_it_computes_with(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        """
ingestion:
  segment_max_mb: 7
  segment_max_age_seconds: 9
  flush_interval_seconds: 0.5
  segment_compression: zstd
  enable_fsync: false
nats: {bus_grace_seconds: 60, lease_ttl_seconds: 4}
storage:
  scratch_dir: /s
  ingestion_storage: {backend: local, base_dir: /b}
""",
    )
    assert settings.policy == SealPolicy(size_bytes_max=7_000_000, age_ns_max=9_000_000_000)
    assert (settings.flush_interval_ns, settings.bus_grace_ns) == (500_000_000, 60_000_000_000)
    assert (settings.compression, settings.fsync, settings.lease_ttl_s) == (Compression.ZSTD, False, 4)
    assert settings.scratch_dir == Path("/s")
