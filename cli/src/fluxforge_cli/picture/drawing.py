"""Drawings: rectangles and texts on a white sheet, in pixels from its upper left corner. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Anchor(StrEnum):
    """Which end of a text stands at its place."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; `colour` as `#rrggbb`, `says` what it stands for where a painter can tell more."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    says: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text whose baseline is at `y`; `size` is the font's, in pixels."""

    x: float
    y: float
    text: str
    size: float
    anchor: Anchor = Anchor.START
    colour: str = "#333333"
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """A sheet; later boxes lie over earlier ones, texts over all."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    texts: tuple[Text, ...]
