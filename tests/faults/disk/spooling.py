"""What a spool must hold after its process ended anywhere, by what it had said before."""

from pathlib import Path

from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool
from tests.faults.disk.subjects import spooled_rounds


def judge(folder: Path, journal: Path) -> Spool:
    """Open a spool and assert that every block stands for which `append` returned and which was not retired.

    Those of an append that did not return may stand, the first before the others; no other block ever does.
    """
    said = [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []
    last = {word: max((int(number) for found, number in said if found == word), default=-1) for word, _ in said}
    rounds = spooled_rounds()
    kept = [block for blocks in rounds[: last.get("appended", -1) + 1] for block in blocks]
    begun = [block for blocks in rounds[: last.get("appending", -1) + 1] for block in blocks]
    retirable = sum(len(blocks) for blocks in rounds[: last["retiring"] + 1]) - 1 if "retiring" in last else 0
    spool = Spool(SpoolSettings(folder, 10**8))
    found = []
    while (block := spool.next()) is not None:
        found.append(block)
    first = begun.index(found[0]) if found else len(kept)
    assert first <= retirable, "a block is gone that was not retired"
    assert found == begun[first : first + len(found)], "not the blocks that were appended, or not in order"
    assert len(kept) <= first + len(found), "a block is gone for which append had returned"
    return spool
