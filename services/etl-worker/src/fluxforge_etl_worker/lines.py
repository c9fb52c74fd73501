r"""Lines: the bytes of a segment as whole lines with their offsets, in slices of bounded memory.

A line ends at `\n` and nowhere else (`bytes.splitlines` would also cut at `\r` inside a JSON string). A line over the
limit is never held: only its size, checksum and beginning are kept. Nothing is parsed here.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

LINE_BYTES_MAX: Final = 8_388_608 - 65_536
_KEPT_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit: `size_bytes` without its line end, checksum, and its first 64 KiB."""

    size_bytes: int
    sha256: str
    beginning: bytes


@dataclass(frozen=True, slots=True)
class LineSlice:
    """Consecutive lines without their line ends, the first of them at `offset`; or one line over the limit, alone."""

    offset: int
    lines: Sequence[bytes]
    long_line: LongLine | None = None


def line_slices(chunks: Iterable[bytes], *, line_bytes_max: int = LINE_BYTES_MAX) -> Iterator[LineSlice]:
    """Yield the lines of consecutive chunks; a last line without line end is a line too."""
    offset, held = 0, b""  # `offset`: where `held`, or what is skipped, begins
    skipping: _Skipping | None = None
    for chunk in chunks:
        parts = chunk.split(b"\n")
        if skipping:
            skipping.add(parts.pop(0))
            if not parts:
                continue
            yield LineSlice(offset, (), skipping.line())
            offset += skipping.size_bytes + 1
            skipping = None
        else:
            parts[0] = held + parts[0]
        held = parts.pop()
        if parts:
            yield from _slices(offset, parts, line_bytes_max)
            offset += sum(map(len, parts)) + len(parts)
        if len(held) > line_bytes_max:
            skipping, held = _Skipping(held), b""
    if skipping:
        yield LineSlice(offset, (), skipping.line())
    elif held:
        yield LineSlice(offset, [held])


def _slices(offset: int, lines: list[bytes], line_bytes_max: int) -> Iterator[LineSlice]:
    """Yield lines together, but each line over the limit alone."""
    if max(map(len, lines)) <= line_bytes_max:  # as nearly always
        yield LineSlice(offset, lines)
        return
    start = 0
    for index, line in enumerate(lines):
        if len(line) > line_bytes_max:
            if index > start:
                yield LineSlice(offset, lines[start:index])
                offset += sum(map(len, lines[start:index])) + index - start
            yield LineSlice(offset, (), _Skipping(line).line())
            offset += len(line) + 1
            start = index + 1
    if start < len(lines):
        yield LineSlice(offset, lines[start:])


class _Skipping:
    """A line over the limit on its way past."""

    __slots__ = ("_beginning", "_sha256", "size_bytes")

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning[:_KEPT_BYTES]
        self._sha256 = hashlib.sha256(beginning)
        self.size_bytes = len(beginning)

    def add(self, more: bytes) -> None:
        self._sha256.update(more)
        self.size_bytes += len(more)

    def line(self) -> LongLine:
        return LongLine(self.size_bytes, self._sha256.hexdigest(), self._beginning)
