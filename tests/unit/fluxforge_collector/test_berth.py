from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge_collector.berth import Berth
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool
from tests.unit.fluxforge_collector.made import chain


@pytest.fixture
def settings(tmp_path: Path) -> SpoolSettings:
    return SpoolSettings(tmp_path / "spool" / "lane", 1_000_000)


def beside(settings: SpoolSettings, number: int) -> Path:
    return settings.directory.with_name(f"lane~{number}")


def test_whoever_starts_again_in_a_directory_bears_its_name(settings: SpoolSettings) -> None:
    first = Berth(settings)
    name = first.name
    first.leave()
    second = Berth(settings)
    assert (second.name, second.directories) == (name, [settings.directory])
    second.leave()


def test_no_two_living_ones_share_a_directory_or_a_name(settings: SpoolSettings) -> None:
    berths = [Berth(settings) for _ in range(3)]
    assert [berth.directories for berth in berths] == [
        [settings.directory],
        [beside(settings, 2)],
        [beside(settings, 3)],
    ]
    assert len({berth.name for berth in berths}) == 3
    for berth in berths:
        berth.leave()


def test_what_a_dead_one_left_beside_is_taken_too_and_what_a_living_one_has_is_not(settings: SpoolSettings) -> None:
    dead, living, other = Berth(settings), Berth(settings), Berth(settings)
    Spool(SpoolSettings(other.directories[0], 1_000_000)).append(chain(1))
    Spool(SpoolSettings(living.directories[0], 1_000_000)).append(chain(1))
    dead.leave()
    other.leave()
    heir = Berth(settings)
    assert heir.directories == [settings.directory, beside(settings, 3)]
    assert heir.name not in (living.name, other.name)
    heir.leave()
    living.leave()


def test_a_directory_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file/spool.*ingestion\.spool_dir"):
        Berth(SpoolSettings(tmp_path / "file" / "spool", 500))
