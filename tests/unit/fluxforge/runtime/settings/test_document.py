from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings.document import parse_document, read_document


def test_every_key_and_item_has_its_line() -> None:
    document = parse_document("a:\n  b: 1\n  c:\n    - x\n    - y\n", "f.yaml")
    assert document.place(("a", "b")) == "f.yaml:2"
    assert document.place(("a", "c", "1")) == "f.yaml:5"
    assert document.place(("a", "z")) is None


def test_wrong_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match=r"^f\.yaml:3: not YAML: "):
        parse_document("a:\n  b: 1\n c: [\n", "f.yaml")


def test_control_characters_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^f\.yaml: not YAML: .*special characters"):
        parse_document("a: \x00", "f.yaml")


def test_a_key_that_stands_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(ConfigurationError, match=r"^f\.yaml:3: a\.b stands twice, first on line 2$"):
        parse_document("a:\n  b: 1\n  b: 2\n", "f.yaml")


def test_a_list_is_no_configuration() -> None:
    with pytest.raises(ConfigurationError, match="expected keys such as `storage:` and `ccxt:`, was a list"):
        parse_document("- a\n", "f.yaml")


def test_an_absent_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml' does not exist; config/config\.example\.yaml"):
        read_document(tmp_path / "absent.yaml")


def test_a_directory_or_binary_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*directory"):
        read_document(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"binary' cannot be read: "):
        read_document(tmp_path / "binary")
