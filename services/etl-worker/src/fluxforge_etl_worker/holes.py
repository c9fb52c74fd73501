"""Holes: stretches of a lane whose messages were gone before they were sealed. Pure.

Nothing is known of any feed there. A hole at the end of a segment ends with the first record of the lane after it,
which only a later segment has.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest

from fluxforge.domain.segment import Manifest


@dataclass(frozen=True, slots=True)
class Hole:
    """What lies after the record at `from_ns` and before the one at `to_ns`; `to_ns` None: no record came yet.

    `from_ns` 0: the lane begins with it.
    """

    from_ns: int
    to_ns: int | None

    def ends_after(self, time_ns: int) -> bool:
        """Return whether the hole is open, or ends later."""
        return self.to_ns is None or self.to_ns > time_ns


def holes_of(manifest: Manifest) -> tuple[Hole, ...]:
    """Return the hole of each range in `manifest.holes`; what the manifest does not tell reaches to its edges."""
    return tuple(
        _hole(manifest, last, *(times or (manifest.after_ns if manifest.previous else 0, 0)))
        for (_, last), times in zip_longest(manifest.holes, manifest.hole_ns[: len(manifest.holes)])
    )


def closed(holes: Iterable[Hole], first_capture_ns: int) -> tuple[Hole, ...]:
    """Return the holes with the next record after them known: one that is open ends there."""
    return tuple(replace(hole, to_ns=first_capture_ns) if hole.to_ns is None else hole for hole in holes)


def _hole(manifest: Manifest, last: int, from_ns: int, to_ns: int) -> Hole:
    if to_ns > from_ns:
        return Hole(from_ns, to_ns)
    return Hole(from_ns, None if last >= manifest.last else manifest.last_capture_ns)
