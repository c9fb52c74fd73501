"""The merge of any number of files in bounded memory: where too many overlap in time, they are merged in stages.

A merge holds a row group of every file that overlaps the others. Files of which that would be too much are merged a few
at a time into files of small row groups first, in a local directory.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.dataset.rewrite.merge import Sorted, merged
from fluxforge.dataset.rewrite.output import Beside, Waiting
from fluxforge.runtime.parquet import ROW_GROUP_BYTES

HELD_BYTES_MAX: Final = 256 * 2**20
_STAGE_GROUP_BYTES: Final = 2**20
_STAGE_COMPRESSION: Final = "lz4"
_EXPANSION: Final = 16  # rows at hand take some ten times the room they take in a file


@dataclass(frozen=True, slots=True)
class Span:
    """A file to merge, until when its rows reach (`ts`, us UTC), and about how much of it a merge holds at once."""

    file: Sorted
    last_us: int
    held_bytes: int

    @classmethod
    def of(cls, file: Sorted, last_us: int, size_bytes: int) -> "Span":
        """Return the span of a file of so many bytes, written as files of the datasets are."""
        return cls(file, last_us, min(_EXPANSION * size_bytes, 2 * ROW_GROUP_BYTES))


def staged(spans: Sequence[Span], folder: Path, look: Callable[[pa.Table], None]) -> Iterator[pa.Table]:
    """Yield the rows of all files as `merged` does, holding about HELD_BYTES_MAX of them at once.

    `look` is shown every row as it was read, before anything was written. `folder` is for stages.

    Raises:
        FileUnreadableError: A file is damaged.
    """
    stage = 0
    while len(spans) > 1 and peak_bytes(spans) > HELD_BYTES_MAX:
        chunks = _chunks(sorted(spans, key=lambda span: span.file.first_us))
        paths = [folder / f"stage_{stage}_{number}" for number in range(len(chunks))]
        spans = [_merged_into(path, chunk, None if stage else look) for path, chunk in zip(paths, chunks, strict=True)]
        for old in folder.glob(f"stage_{stage - 1}_*"):
            old.unlink()
        stage += 1
    for table in merged(span.file for span in spans):
        if not stage:
            look(table)
        yield table
    for old in folder.glob(f"stage_{stage - 1}_*"):
        old.unlink()


def peak_bytes(spans: Sequence[Span]) -> int:
    """Return about how much a merge of these files holds at once at most."""
    held = peak = 0
    ends: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: span.file.first_us):
        while ends and ends[0][0] < span.file.first_us:
            held -= heapq.heappop(ends)[1]
        heapq.heappush(ends, (span.last_us, span.held_bytes))
        held += span.held_bytes
        peak = max(peak, held)
    return peak


def _chunks(spans: Sequence[Span]) -> list[list[Span]]:
    """Return the files, which come by their begin, in runs of at least two that may be held at once."""
    chunks: list[list[Span]] = [[]]
    held = 0
    for span in spans:
        if held + span.held_bytes > HELD_BYTES_MAX and len(chunks[-1]) > 1:
            chunks.append([])
            held = 0
        chunks[-1].append(span)
        held += span.held_bytes
    return chunks


def _merged_into(path: Path, spans: Sequence[Span], look: Callable[[pa.Table], None] | None) -> Span:
    beside = Beside()
    waiting = Waiting(path, _STAGE_COMPRESSION, beside, group_bytes=_STAGE_GROUP_BYTES)
    try:
        for table in merged(span.file for span in spans):
            if look is not None:
                look(table)
            rows = max(1, table.num_rows * _STAGE_GROUP_BYTES // max(1, table.nbytes))
            for begin in range(0, table.num_rows, rows):
                waiting.append(table.slice(begin, rows))
        waiting.finish({})
    finally:
        beside.close()
        waiting.close()
    first_us = min(span.file.first_us for span in spans)
    file = Sorted(str(path), first_us, lambda: pq.ParquetFile(path))
    return Span(file, max(span.last_us for span in spans), 2 * _STAGE_GROUP_BYTES)
