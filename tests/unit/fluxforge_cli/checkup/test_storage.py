from pathlib import Path

import pytest

from fluxforge.adapters import local_partitions
from fluxforge.runtime.settings import Settings, StoreLocation
from fluxforge_cli.checkup.storage import check_storage
from fluxforge_cli.findings import State


def settings(segments: Path, datasets: Path) -> Settings:
    here, there = StoreLocation(base_dir=segments), StoreLocation(base_dir=datasets)
    stores = {"ingestion_storage": here, "etl_storage_input": here, "etl_storage_output": there}
    return Settings(storage={"scratch_dir": segments, **stores})


def test_places_that_can_be_written_are_well_and_left_as_they_were(tmp_path: Path) -> None:
    found = check_storage(settings(tmp_path / "a", tmp_path / "b"))
    assert [one.state for one in found] == [State.OK] * 4
    assert [path for path in tmp_path.rglob("*") if path.is_file() and ".locks" not in path.parts] == []


def test_a_place_that_cannot_be_written_is_critical_and_the_others_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = check_storage(settings(tmp_path / "a", tmp_path / "file" / "b"))
    assert [(one.name, one.state) for one in found] == [
        ("storage of segments", State.OK),
        ("storage of datasets", State.CRITICAL),
        ("storage of scratch", State.OK),
    ]
    assert found[1].remedy


def test_directories_that_cannot_change_places_degrade_compaction_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_partitions, "exchange", lambda _one, _other: False)
    *others, compaction = check_storage(settings(tmp_path / "a", tmp_path / "b"))
    assert {one.state for one in others} == {State.OK}
    assert (compaction.name, compaction.state) == ("compaction", State.DEGRADED)
