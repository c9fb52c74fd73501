"""Windows: what of a stream lies in `(t - h, t]` for many times t, and sums over it. Pure; times are ns UTC.

A sum must not depend on where the stream began, nor lose low bits to what came before. So nothing is a difference of
running sums: time is divided into absolute cells `(k s, (k + 1) s]` of one second, and a window is the end of a cell,
whole cells, and the beginning of a cell. Each of the three holds terms of the window alone, added up in an order that
the window's times alone decide: any two arrays that hold a window's terms give the same sum, bit for bit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fluxforge_etl_worker.columns import F64, I64

NS_PER_S: Final = 1_000_000_000
_STEPS_MAX: Final = 64  # cells with more events than this are summed one by one rather than side by side


@dataclass(frozen=True, slots=True)
class Timeline:
    """The n events of a stream in time order, equal times allowed.

    `seconds`: the cells k that hold an event, rising. `borders`: the first event of each of them, then n.
    """

    capture_ns: I64
    seconds: I64
    borders: I64

    @classmethod
    def of(cls, capture_ns: I64) -> "Timeline":
        """Return the timeline of events at these times."""
        second = (capture_ns - 1) // NS_PER_S
        begins = np.flatnonzero(second[1:] != second[:-1]) + 1
        borders = np.concatenate([np.zeros(min(1, len(second)), dtype=np.int64), begins, [len(second)]])
        return cls(capture_ns, second[borders[:-1]], borders)

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.capture_ns)

    def windows(self, end_ns: I64, horizon_s: int) -> "Windows":
        """Return the windows of a whole number of seconds that end at these times, which must not fall."""
        start_ns = end_ns - horizon_s * NS_PER_S
        return Windows(
            horizon_s,
            start_ns,
            end_ns,
            self.until(start_ns),
            self.until(end_ns),
            np.searchsorted(self.seconds, -(-start_ns // NS_PER_S), side="left"),
            np.searchsorted(self.seconds, end_ns // NS_PER_S, side="left"),
        )

    def until(self, time_ns: I64) -> I64:
        """Return the number of events at or before each time; the last of them is that minus 1."""
        result: I64 = np.searchsorted(self.capture_ns, time_ns, side="right")
        return result


@dataclass(frozen=True, slots=True)
class Windows:
    """m windows `(start, end]` of a timeline: events `first:stop`, and of those the whole cells `cell_first:cell_stop`.

    `first - 1` is the event that stood when the window began, if there is one.
    """

    horizon_s: int
    start_ns: I64
    end_ns: I64
    first: I64
    stop: I64
    cell_first: I64
    cell_stop: I64

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.end_ns)

    @property
    def counts(self) -> I64:
        """Number of events in each window."""
        return self.stop - self.first


@dataclass(frozen=True, slots=True)
class Sums:
    """One term per event of a timeline, prepared for sums over windows.

    `totals` of each cell, and a 0 after the last; `up_to`, `on_from`: of the event's cell, its terms up to and from the
    event on, that included.
    """

    timeline: Timeline
    totals: F64
    up_to: F64
    on_from: F64

    @classmethod
    def of(cls, timeline: Timeline, terms: F64) -> "Sums":
        """Return the sums of these terms, shape (n,); a term that is null counts as 0."""
        finite = np.where(np.isnan(terms), 0.0, terms) + 0.0  # a sum has no use for -0.0
        borders = timeline.borders
        totals = np.zeros(len(borders))
        if len(finite):
            totals[:-1] = np.add.reduceat(finite, borders[:-1])
        mirrored = len(finite) - borders[::-1]
        return cls(timeline, totals, _running(finite, borders), _running(finite[::-1], mirrored)[::-1])

    def over(self, windows: Windows) -> F64:
        """Return the sum over each window of this timeline, shape (m,); 0 where a window is empty."""
        whole = _of_runs(self.totals, windows.cell_first, windows.cell_stop)
        if not (windows.end_ns % NS_PER_S).any():
            return whole
        return self.from_border(windows.first, windows.start_ns) + whole + self.to_border(windows.stop, windows.end_ns)

    def from_border(self, first: I64, start_ns: I64) -> F64:
        """Return the sum over `(start, the next whole second)`, `first` the first event after `start`.

        0 where `start` is a whole second.
        """
        if not len(self.timeline):
            return np.zeros(len(start_ns))
        at = np.minimum(first, len(self.timeline) - 1)
        second = (self.timeline.capture_ns[at] - 1) // NS_PER_S
        inside = (first < len(self.timeline)) & (second == start_ns // NS_PER_S) & (start_ns % NS_PER_S != 0)
        return np.where(inside, self.on_from[at], 0.0)

    def to_border(self, stop: I64, end_ns: I64) -> F64:
        """Return the sum over `(the whole second before, end]`, `stop - 1` the last event up to `end`.

        0 where `end` is a whole second.
        """
        if not len(self.timeline):
            return np.zeros(len(end_ns))
        at = np.maximum(stop - 1, 0)
        second = (self.timeline.capture_ns[at] - 1) // NS_PER_S
        inside = (stop > 0) & (second == end_ns // NS_PER_S)
        return np.where(inside, self.up_to[at], 0.0)


def _running(terms: F64, borders: I64) -> F64:
    """Return the running sum of terms, begun anew at each border; each is added to the sum before it, in order."""
    result = terms.copy()
    counts = np.diff(borders)
    for cell in np.flatnonzero(counts > _STEPS_MAX):
        inside = slice(borders[cell], borders[cell + 1])
        np.cumsum(terms[inside], out=result[inside])
    short = np.flatnonzero((counts > 1) & (counts <= _STEPS_MAX))
    short = short[np.argsort(-counts[short])]  # the longest first, so that those still running stand together
    begins, counts = borders[short], counts[short]
    for step in range(1, int(counts.max(initial=1))):
        at = begins[: np.searchsorted(-counts, -step, side="left")] + step
        result[at] += result[at - 1]
    return result


def _of_runs(totals: F64, first: I64, stop: I64) -> F64:
    """Return the sums of `totals[first:stop]`; neither bound ever falls, and `totals` ends with one more element."""
    if len(first) == 0:
        return np.zeros(0)
    is_new = np.concatenate([[True], (first[1:] != first[:-1]) | (stop[1:] != stop[:-1])])
    bounds = np.stack([first[is_new], stop[is_new]], axis=1)
    sums = np.add.reduceat(totals, bounds.ravel())[::2]
    sums[bounds[:, 0] >= bounds[:, 1]] = 0.0
    result: F64 = sums[np.cumsum(is_new) - 1]
    return result
