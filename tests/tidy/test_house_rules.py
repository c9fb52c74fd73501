"""The house rules that a linter does not know."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("shared/src", "services", "cli/src", "simulator/src", "tools", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
MODULE_LINES_MAX = 320
FUNCTION_LINES_MAX = 50


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_is_short_and_begins_with_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MODULE_LINES_MAX, "this module wants a new noun"
    assert ast.get_docstring(ast.parse(text)), "a module's first line says what it is"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_function_is_short(path: Path) -> None:
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in functions(path)
        if node.end_lineno and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_module_is_named_for_nothing(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "manager", "misc"}


def test_no_todo_stands_in_the_code() -> None:
    marked = [relative(path) for path in SOURCES if re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text())]
    assert not marked


def test_every_test_folder_is_a_package() -> None:
    bare = [
        relative(folder)
        for folder in (ROOT / "tests").rglob("*")
        if folder.is_dir() and any(folder.glob("*.py")) and not (folder / "__init__.py").exists()
    ]
    assert not bare


def test_no_test_sleeps_to_wait() -> None:
    """A constant sleep of more than a poll interval is a wait for nothing in particular."""
    sleepy = []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep"):
                continue
            seconds = node.args[0] if node.args else None
            if isinstance(seconds, ast.Constant) and isinstance(seconds.value, int | float) and seconds.value > 0.5:
                sleepy.append(f"{relative(path)}:{node.lineno}")
    assert not sleepy


def test_the_documents_name_only_files_that_exist() -> None:
    missing = []
    for document in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("services/*/README.md"),
    ]:
        targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
        missing += [f"{relative(document)} -> {t}" for t in targets if not (document.parent / t).exists()]
    assert not missing
