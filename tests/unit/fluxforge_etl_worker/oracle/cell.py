"""Cells: what the oracle demands of a value, and the comparison of rows.

A plain value is demanded exactly. `Near` is a float within 1e-9, relative to itself or to `scale`, the sum of the
absolute values of its terms where these are signed. `Either` is what a threshold met by a hair may give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
TOLERANCE = 1e-9
ROUNDING = 1e-6
"""As the scale of a term: what rounding it leaves, 1e-15 of it, is the tolerance."""


@dataclass(frozen=True, slots=True)
class Near:
    value: float
    scale: float = 0.0

    def admits(self, found: object) -> bool:
        if not isinstance(found, float):
            return False
        return abs(found - self.value) <= TOLERANCE * max(abs(self.value), self.scale)


@dataclass(frozen=True, slots=True)
class Either:
    values: tuple[object, ...]

    def admits(self, found: object) -> bool:
        return any(admits(value, found) for value in self.values)


def admits(wanted: object, found: object) -> bool:
    if isinstance(wanted, Near | Either):
        return wanted.admits(found)
    return type(wanted) is type(found) and wanted == found


def either(*values: object) -> object:
    """Return the values that are possible; the one there is where they agree."""
    distinct = tuple(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else Either(distinct)


def near(numerator: float, denominator: float, scale: float = 0.0) -> Near | None:
    """Return a quotient; null where it has no value."""
    return Near(numerator / denominator, scale / abs(denominator)) if denominator else None


@dataclass(slots=True)
class Tally:
    """What a comparison saw: cells compared, those that are not null, and those that a hair decided."""

    cells: int = 0
    known: dict[str, int] = field(default_factory=dict)
    by_a_hair: int = 0

    def rows(self, found: Sequence[Mapping[str, Any]], wanted: Sequence[Row], *keys: str) -> None:
        """Compare rows, both in the order of these keys; `wanted` names every column that is compared."""
        mine = sorted(found, key=lambda row: _sortable(row, keys))
        theirs = sorted(wanted, key=lambda row: _sortable(row, keys))
        named = [[row[key] for key in keys] for row in theirs]
        assert [[row[key] for key in keys] for row in mine] == named, "other rows than expected"
        for one, other in zip(mine, theirs, strict=True):
            self.row(one, other, keys)

    def row(self, found: Mapping[str, Any], wanted: Row, keys: Sequence[str]) -> None:
        for name, value in wanted.items():
            assert name in found, f"column {name} is missing"
            what = {key: wanted[key] for key in keys}
            assert admits(value, found[name]), f"{name}: expected {value!r}, was {found[name]!r} in {what}"
            self.cells += 1
            self.known[name] = self.known.get(name, 0) + (found[name] is not None)
            self.by_a_hair += isinstance(value, Either)


def _sortable(row: Mapping[str, Any], keys: Sequence[str]) -> list[tuple[bool, Any]]:
    return [(row[key] is not None, row[key]) for key in keys]
