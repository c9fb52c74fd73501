"""Seqs: which sequence numbers of a feed and boot were found, as inclusive ranges in the order they were met."""

from collections.abc import Sequence

import numpy as np

from fluxforge.domain.segment import FeedSeqs


class SeqRanges:
    """Grows by the seqs of one slice after the other."""

    __slots__ = ("_count", "_ranges")

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []
        self._count = 0

    def add(self, seqs: Sequence[int]) -> None:
        """Append seqs; a run that goes on from before prolongs its range."""
        if not seqs:
            return
        values = np.array(seqs, dtype=np.int64)
        breaks = np.flatnonzero(np.diff(values) != 1)
        firsts = [seqs[0], *values[breaks + 1].tolist()]
        lasts = [*values[breaks].tolist(), seqs[-1]]
        self._count += len(values)
        if self._ranges and self._ranges[-1][1] + 1 == firsts[0]:
            firsts[0] = self._ranges.pop()[0]
        self._ranges.extend(zip(firsts, lasts, strict=True))

    def feed(self, channel: str, symbol: str | None, boot: str) -> FeedSeqs:
        """Return what was found as it stands in manifests and commits."""
        return FeedSeqs(channel, symbol, boot, tuple(self._ranges), self._count)
