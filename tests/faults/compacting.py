"""A compactor of one partition in a process of its own: `python -m tests.faults.compacting FOLDER [KIND SIGNAL POINT]`.

It works over and over; with a signal it works once, and sends itself the signal at that point of its work.
"""

import os
import sys
from pathlib import Path

from typing_extensions import override

from fluxforge.adapters import local_partitions
from tests.unit.fluxforge_compactor.world import PARTITION, Points, World, watched_exchange

GRACE_S = 30


class Signalled(Points):
    """Sends this process a signal at one of the points."""

    def __init__(self, number: int, at: int) -> None:
        super().__init__()
        self._number = number
        self._at = at

    @override
    def reach(self, name: str) -> None:
        super().reach(name)
        if len(self.passed) == self._at:
            print(name, flush=True)
            os.kill(os.getpid(), self._number)


def over_and_over(folder: Path) -> None:
    world = World(folder, "local")
    print("up", flush=True)
    while True:
        if world.compactor(grace_s=GRACE_S).compact(PARTITION).merges:
            print("merged", flush=True)


def once(folder: Path, kind: str, number: int, at: int) -> None:
    points = Signalled(number, at)
    local_partitions.exchange = watched_exchange(points)  # type: ignore[attr-defined] # for this process alone
    World(folder, kind).compactor(points).compact(PARTITION)


if __name__ == "__main__":
    if sys.argv[2:]:
        once(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        over_and_over(Path(sys.argv[1]))
