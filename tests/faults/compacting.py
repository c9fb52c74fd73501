"""A compactor of one partition in a process of its own, over and over: `python -m tests.faults.compacting FOLDER`."""

import sys
from pathlib import Path

from tests.unit.fluxforge_compactor.world import PARTITION, World

GRACE_S = 30


def main(folder: Path) -> None:
    world = World(folder, "local")
    print("up", flush=True)
    while True:
        if world.compactor(grace_s=GRACE_S).compact(PARTITION).merges:
            print("merged", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
