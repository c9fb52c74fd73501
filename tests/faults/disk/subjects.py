"""What runs in a process of its own while its disk fails or its power is cut: each starts the way it always starts."""

import os
from collections.abc import Sequence
from pathlib import Path

from fluxforge.domain.block import Block
from fluxforge.domain.errors import FluxForgeError
from fluxforge.runtime import logs
from fluxforge.runtime.lifecycle import report
from fluxforge.runtime.settings import load
from fluxforge_collector import spool as spool_module
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool, SpoolFullError
from fluxforge_etl_worker.folder import run_folder
from fluxforge_segmenter.main import main as segmenter
from tests.traffic import Traffic
from tests.unit.fluxforge_compactor.world import PARTITION, World

SPOOL_FILE_BYTES_MAX = 2_000
ROUNDS = 3


def seal(config: str) -> int:
    """Run a segmenter until its standard input ends."""
    return segmenter(["--config", config, "--parent-pipe"])


def commit(config: str) -> int:
    """Process what stands in a folder."""
    logs.configure("etl", level="INFO", log_format="json")
    try:
        summary = run_folder(load(Path(config)))
    except FluxForgeError as error:
        return report("etl", error)
    print(summary, flush=True)
    return 0 if not summary.dead else 3


def compact(folder: str) -> int:
    """Merge a partition, then clear what was merged."""
    logs.configure("compactor", level="INFO", log_format="json")
    world = World(Path(folder), "local")
    for _ in range(2):
        world.compactor(grace_s=0).compact(PARTITION)
    return 0


def spooled_rounds() -> Sequence[Sequence[Block]]:
    """Return what `spool` appends, call by call."""
    traffic = Traffic()
    return [[traffic.block() for _ in range(size)] for size in (2, 3, 1) * ROUNDS]


def spool(folder: str, journal: str) -> int:
    """Append to a spool and retire from it; the journal says which calls were begun and which returned."""
    spool_module._FILE_BYTES_MAX = SPOOL_FILE_BYTES_MAX  # so that there are several files
    with Path(journal).open("ab", buffering=0) as file:

        def tell(what: str, number: int) -> None:
            os.writev(file.fileno(), [f"{what} {number}\n".encode()])  # not write, which may be made to fail

        spool = Spool(SpoolSettings(Path(folder), 10**8))
        for number, blocks in enumerate(spooled_rounds()):
            tell("appending", number)
            while True:
                try:
                    spool.append(blocks)
                    break
                except SpoolFullError:  # whoever has the blocks keeps them, and tries again
                    tell("full", number)
            tell("appended", number)
            if number % ROUNDS == 1:
                while spool.next() is not None:
                    pass
                tell("retiring", number)
                spool.retire([block.id for block in blocks[-1:]])
                tell("retired", number)
    return 0
