from pathlib import Path

import pytest

from fluxforge.domain.errors import UsageError
from fluxforge_cli.demo import prepare


def test_a_former_demo_is_removed(tmp_path: Path) -> None:
    prepare(tmp_path / "demo")
    (tmp_path / "demo/raw").mkdir()
    (tmp_path / "demo/raw/old").touch()
    prepare(tmp_path / "demo")
    assert [entry.name for entry in (tmp_path / "demo").iterdir()] == [".fluxforge-demo"]


def test_what_no_demo_made_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError, match="holds data that no demo made: choose another directory with --data"):
        prepare(tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"


def test_an_empty_directory_will_do(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert (tmp_path / ".fluxforge-demo").exists()


def test_a_place_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/demo cannot be written: Not a directory; choose another with --data"):
        prepare(tmp_path / "file/demo")
