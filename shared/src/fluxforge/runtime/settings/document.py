"""The configuration file: YAML text as a tree, with the line of every key. Refuses what YAML itself lets pass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fluxforge.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `lines`: from the path of a key to its line, from 1."""

    name: str
    tree: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def place(self, path: tuple[str, ...]) -> str | None:
        """Return `<file>:<line>` of a key, or None where the file does not speak of it."""
        line = self.lines.get(path)
        return f"{self.name}:{line}" if line else None


EMPTY = Document("", {}, {})


def read_document(path: Path) -> Document:
    """Return the document in a file.

    Raises:
        ConfigurationError: The file cannot be read, is no YAML (says the line), or is no mapping of keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"configuration file {str(path)!r} does not exist; config/config.example.yaml is one to start from"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration file {str(path)!r} cannot be read: {error}") from error
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    """Return the document of YAML text; `name` stands in messages.

    Raises:
        ConfigurationError: No YAML, a key that stands twice, or no mapping of keys.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{name}{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if tree is None:
        return Document(name, {}, {})
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{name}: expected keys such as `storage:` and `ccxt:`, was a {type(tree).__name__}")
    lines: dict[tuple[str, ...], int] = {}
    _note_lines(node, (), lines, name)
    return Document(name, tree, lines)


def _note_lines(node: yaml.Node | None, path: tuple[str, ...], lines: dict[tuple[str, ...], int], name: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*path, str(index)] = item.start_mark.line + 1
            _note_lines(item, (*path, str(index)), lines, name)
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        inner = (*path, str(key_node.value))
        line = key_node.start_mark.line + 1
        if inner in lines:
            raise ConfigurationError(f"{name}:{line}: {'.'.join(inner)} stands twice, first on line {lines[inner]}")
        lines[inner] = line
        _note_lines(value_node, inner, lines, name)
