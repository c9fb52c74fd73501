"""The door: what is refused before anything begins."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from fluxforge_segmenter.main import main


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Let each test log to its own stderr, and leave nothing of that behind."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_an_unknown_key_is_refused_with_exit_code_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("ingestion: {segment_max_megabytes: 1}")
    assert main(["--config", str(config)]) == 2
    assert "segment_max_mb" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    config.write_text(f"storage: {{scratch_dir: {tmp_path}, ingestion_storage: {{base_dir: {tmp_path}/file/data}}}}")
    assert main(["--config", str(config)]) == 2
    assert f"storage base_dir '{tmp_path}/file/data' cannot be written" in capsys.readouterr().err


def test_a_bus_without_an_address_is_refused(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(f"storage: {{scratch_dir: {tmp_path}, ingestion_storage: {{base_dir: {tmp_path}}}}}")
    assert main(["--config", str(config)]) == 2
    assert "nats.servers is empty" in capsys.readouterr().err
