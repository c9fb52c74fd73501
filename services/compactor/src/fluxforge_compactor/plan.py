"""The plan: which files of a partition are merged into one. Pure.

Only neighbours in time are merged, so that each output covers a stretch of its own and a reader skips the others; a
file that has its size already is left alone. A plan for what a plan has made is empty.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxforge.dataset.rewrite.candidates import Candidate


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """When files are merged. A partition keeps `target_count` files, or more where one would exceed `size_bytes`."""

    min_count: int
    target_count: int
    size_bytes: int


def plan(files: Iterable[Candidate], policy: MergePolicy) -> list[tuple[Candidate, ...]]:
    """Return the groups to merge, each in order of time; none where nothing would be gained."""
    kinds: dict[str, list[Candidate]] = {}
    for file in sorted(files, key=lambda file: (file.first_us, file.name)):
        kinds.setdefault(file.kind, []).append(file)
    return [group for alike in kinds.values() for group in _groups(alike, policy)]


def _groups(ordered: Sequence[Candidate], policy: MergePolicy) -> list[tuple[Candidate, ...]]:
    if len(ordered) < policy.min_count or len(ordered) <= policy.target_count:
        return []
    share = min(policy.size_bytes, _share(ordered, policy.target_count))
    groups: list[list[Candidate]] = []
    filled = policy.size_bytes
    for file in ordered:
        if filled + file.size_bytes > policy.size_bytes or filled >= share:
            groups.append([])
            filled = 0
        groups[-1].append(file)
        filled += file.size_bytes
    return [tuple(group) for group in groups if len(group) > 1]


def _share(files: Sequence[Candidate], count: int) -> int:
    """Return the size at which `count` files hold everything, rounded up."""
    return -(-sum(file.size_bytes for file in files) // count)
