from pathlib import Path

import pytest

from fluxforge.runtime.settings import load
from fluxforge_cli.options import CONFIG_DEFAULT, choose


def test_without_a_file_the_default_one_is_read_where_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose(None).config is None
    CONFIG_DEFAULT.parent.mkdir()
    CONFIG_DEFAULT.write_text("etl: {workers: 3}")
    chosen = choose(None)
    assert (chosen.config, chosen.settings.etl.workers) == (CONFIG_DEFAULT, 3)


def test_a_data_directory_holds_everything(tmp_path: Path) -> None:
    storage = choose(None, tmp_path).settings.storage
    places = [storage.ingestion_storage, storage.etl_storage_input, storage.etl_storage_output]
    assert {storage.scratch_dir, *(place.base_dir for place in places)} == {tmp_path}


def test_children_choose_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "storage: {etl_storage_output: {backend: s3, s3: {bucket: b}}, ingestion_storage: {base_dir: /elsewhere}}"
    )
    chosen = choose(config, tmp_path)
    for name, value in chosen.variables.items():
        monkeypatch.setenv(name, value)
    theirs, ours = load(config).storage, chosen.settings.storage
    assert theirs.ingestion_storage == ours.ingestion_storage
    assert theirs.scratch_dir == ours.scratch_dir
    assert theirs.etl_storage_output.base_dir == ours.etl_storage_output.base_dir
    assert theirs.etl_storage_output.backend == ours.etl_storage_output.backend
