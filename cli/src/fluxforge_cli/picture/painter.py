"""Painters: a drawing as SVG, which needs nothing, or as PNG, which needs matplotlib. A file appears once whole."""

import importlib.util
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from fluxforge.domain.errors import UsageError
from fluxforge_cli.picture.drawing import Anchor, Drawing

_FONT: Final = "DejaVu Sans, Helvetica, Arial, sans-serif"
_PNG_DPI: Final = 100
_PNG_SCALE: Final = 2
_POINTS_PER_INCH: Final = 72
_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def painter_of(file: Path) -> Callable[[Drawing], None]:
    """Return what puts a drawing into a file, in the form that its suffix names.

    Raises:
        UsageError: Another suffix, no such directory, or what a form needs is not installed.
    """
    if file.suffix not in {".svg", ".png"}:
        raise UsageError(f"picture: expected a file with the suffix .svg or .png, was {str(file)!r}")
    if file.is_dir() or not file.parent.is_dir():
        raise UsageError(f"picture: expected a file in a directory that exists, was {str(file)!r}")
    if file.suffix == ".svg":
        return partial(_put, file, svg)
    if importlib.util.find_spec("matplotlib") is None:
        instead = file.with_suffix(".svg")
        raise UsageError(
            "picture: a .png needs matplotlib, which is not installed here (fluxforge-cli[picture] has it); "
            f"use --picture {instead}"
        )
    return partial(_put, file, png)


def svg(drawing: Drawing) -> bytes:
    """Return a drawing as SVG; what a box says shows where the mouse rests on it."""
    size = f'width="{drawing.width}" height="{drawing.height}"'
    view = f'viewBox="0 0 {drawing.width} {drawing.height}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} font-family="{_FONT}">',
        f'<rect {size} fill="#ffffff"/>',
    ]
    for box in drawing.boxes:
        shape = f'<rect x="{box.x:.2f}" y="{box.y:.2f}" width="{box.width:.2f}" height="{box.height:.2f}"'
        fill = f" fill={quoteattr(box.colour)}"
        lines.append(f"{shape}{fill}><title>{_text(box.says)}</title></rect>" if box.says else f"{shape}{fill}/>")
    for text in drawing.texts:
        weight = ' font-weight="bold"' if text.bold else ""
        lines.append(
            f'<text x="{text.x:.2f}" y="{text.y:.2f}" font-size="{text.size:g}" text-anchor="{text.anchor}" '
            f"fill={quoteattr(text.colour)}{weight}>{_text(text.text)}</text>"
        )
    return ("\n".join([*lines, "</svg>"]) + "\n").encode()


def png(drawing: Drawing) -> bytes:
    """Return a drawing as PNG, two pixels to each of its own."""
    from io import BytesIO  # noqa: PLC0415 - beside its use

    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - heavy, and may be absent
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - likewise

    figure = Figure(figsize=(drawing.width / _PNG_DPI, drawing.height / _PNG_DPI), dpi=_PNG_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(drawing.height, 0)
    axes.axis("off")
    for box in drawing.boxes:
        axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, facecolor=box.colour, linewidth=0))
    sides = {Anchor.START: "left", Anchor.MIDDLE: "center", Anchor.END: "right"}
    for text in drawing.texts:
        axes.text(
            text.x,
            text.y,
            text.text,
            fontsize=text.size * _POINTS_PER_INCH / _PNG_DPI,
            horizontalalignment=sides[text.anchor],
            verticalalignment="baseline",
            color=text.colour,
            fontweight="bold" if text.bold else "normal",
            parse_math=False,
        )
    out = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png", dpi=_PNG_DPI * _PNG_SCALE)
    return out.getvalue()


def _put(file: Path, form: Callable[[Drawing], bytes], drawing: Drawing) -> None:
    aside = file.with_name(f".{file.name}.part")
    try:
        aside.write_bytes(form(drawing))
        aside.replace(file)
    except OSError as error:
        raise UsageError(f"picture: {file}: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


def _text(text: str) -> str:
    """Return text that may stand in XML; what may not stand there at all becomes a replacement character."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))
