"""The ages of the blocks of an open segment: how many were captured in each second, so that its seal can time them."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

_NS: Final = 1_000_000_000


class Ages:
    """Counts blocks by the second in which their first record was captured."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: Counter[int] = Counter()

    def add(self, first_capture_ns: int) -> None:
        """Take in a block."""
        self._blocks[first_capture_ns // _NS] += 1

    def clear(self) -> None:
        """Forget all: their segment was sealed, or dropped."""
        self._blocks.clear()

    def at(self, now_ns: int) -> Mapping[float, int]:
        """Return how many blocks are of which age in seconds, to half a second; never below 0."""
        ages: Counter[float] = Counter()
        for second, count in self._blocks.items():
            ages[max(0.0, (now_ns - second * _NS) / _NS - 0.5)] += count
        return ages
