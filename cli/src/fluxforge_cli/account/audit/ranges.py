"""Ranges of whole numbers: sets of seqs as inclusive ranges, in time that grows with ranges, not with seqs. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

Ranges = tuple[tuple[int, int], ...]
"""Inclusive ranges, rising, neither touching nor overlapping."""

NONE: Final[Ranges] = ()


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """Return what is in any of these; the ranges given may come in any order and overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(one for ranges in sets for one in ranges if one[0] <= one[1]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def minus(ranges: Ranges, taken: Ranges) -> Ranges:
    """Return what is in `ranges` and not in `taken`."""
    left: list[tuple[int, int]] = []
    at = 0
    for first, last in ranges:
        begin = first
        while at < len(taken) and taken[at][1] < begin:
            at += 1
        here = at
        while here < len(taken) and taken[here][0] <= last:
            if taken[here][0] > begin:
                left.append((begin, taken[here][0] - 1))
            begin = taken[here][1] + 1
            here += 1
        if begin <= last:
            left.append((begin, last))
    return tuple(left)


def common(one: Ranges, other: Ranges) -> Ranges:
    """Return what is in both."""
    return minus(one, minus(one, other))


def repeated(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return what is in more than one of these ranges, which may come in any order."""
    twice: list[tuple[int, int]] = []
    reached: int | None = None
    for first, last in sorted(one for one in ranges if one[0] <= one[1]):
        if reached is not None and first <= reached:
            twice.append((first, min(last, reached)))
        reached = last if reached is None else max(reached, last)
    return union(twice)


def size(ranges: Iterable[tuple[int, int]]) -> int:
    """Return how many numbers ranges hold together, one by one."""
    return sum(last - first + 1 for first, last in ranges)


def top(ranges: Sequence[tuple[int, int]]) -> int:
    """Return the highest number; 0 where there is none."""
    return max((last for _, last in ranges), default=0)


def text(ranges: Iterable[tuple[int, int]]) -> str:
    """Return the ranges as a person reads them: `3, 7-9`."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
