"""Drawings as files."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fluxforge.domain.errors import UsageError
from fluxforge_cli.picture.drawing import Anchor, Box, Drawing, Text
from fluxforge_cli.picture.painter import painter_of, svg

NASTY = 'a<b & "c" \x00\x1b ü €'
DRAWING = Drawing(
    200,
    100,
    (Box(10, 20, 30.5, 14, "#d62728"), Box(50, 20, 10, 14, "#2e9e5b", NASTY)),
    (Text(5, 10, NASTY, 12), Text(195, 90, "$x_1^2$", 12, Anchor.END, bold=True)),
)
SVG = "{http://www.w3.org/2000/svg}"


def test_a_drawing_is_valid_svg_with_names_as_they_are() -> None:
    root = ET.fromstring(svg(DRAWING))
    assert (root.tag, root.get("width"), root.get("viewBox")) == (f"{SVG}svg", "200", "0 0 200 100")
    _, first, second = root.iter(f"{SVG}rect")
    assert (first.get("x"), first.get("width"), first.get("fill")) == ("10.00", "30.50", "#d62728")
    readable = NASTY.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert [title.text for title in second] == [readable]
    assert [text.text for text in root.iter(f"{SVG}text")] == [readable, "$x_1^2$"]


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "coverage.svg"
    file.write_text("old")
    painter_of(file)(DRAWING)
    assert file.read_bytes() == svg(DRAWING)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.filterwarnings("ignore:Glyph")  # control characters have none
def test_a_png_is_two_pixels_to_each_of_the_drawings(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not there")
    file = tmp_path / "coverage.png"
    painter_of(file)(DRAWING)
    head = file.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (400, 200)


def test_without_matplotlib_a_png_is_refused_and_an_svg_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"a \.png needs matplotlib, .* use --picture .*/a\.svg"):
        painter_of(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.pdf", r"expected a file with the suffix \.svg or \.png, was .*a\.pdf"),
        ("a", r"expected a file with the suffix"),
        ("nowhere/a.svg", "expected a file in a directory that exists"),
        ("folder.svg", "expected a file in a directory that exists"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_anything_is_drawn(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(UsageError, match=says):
        painter_of(tmp_path / name)
