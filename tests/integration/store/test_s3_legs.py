"""Two legs merged with Parquet on a real S3 server, while the compactor's files stand beside those they replace."""

from pathlib import Path
from random import Random

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.adapters.stores import open_store
from fluxforge_etl_worker.legs.merge import Merger
from fluxforge_etl_worker.work import Worker
from tests.integration.store.test_s3_compaction import merging, on_s3
from tests.unit.fluxforge_cli.account.audit.world import World
from tests.unit.fluxforge_etl_worker.legs.pair import AT_ONCE, LATER, LEG_B, lane, merger, rows, split, worked
from tests.unit.fluxforge_etl_worker.samples import LANE, OPTIONS, sealed, stored

pytestmark = pytest.mark.timeout(300)

CUTS = (30, 60, 90)

DATASETS = ("orderbook/hf", "orderbook/books", "trades", "ticker", "coverage")


def test_legs_are_merged_on_s3_as_in_memory_by_what_the_journal_says(tmp_path: Path, s3_server: EmbeddedS3) -> None:
    settings = on_s3(World(tmp_path), s3_server)
    raw, output = open_store(settings.storage.etl_storage_input), open_store(settings.storage.etl_storage_output)
    memory = MemoryStore()
    worker = Worker(raw, output, OPTIONS, ManualClock(LATER))
    for leg, lines in zip((LANE, LEG_B), split(lane(200), Random(1), lost=0.5), strict=True):
        worked(memory, leg, lines, CUTS)
        for segment in sealed(lines, CUTS, leg):
            stored(raw, segment.body, segment.manifest)
            worker.process(leg, segment.manifest.name)
    compactor = merging(settings, grace_s=3600)
    assert sum(len(compactor.compact(partition).merges) for partition in compactor.partitions("processed"))

    outcomes = list(Merger(worker, follows_journal=True, delays=AT_ONCE).run())
    assert [one.is_new for one in outcomes[:2]] == [True, True]
    list(merger(memory).run())
    for dataset in DATASETS:
        found = rows(output, "ccxt.merged", dataset)
        assert found
        assert repr(found) == repr(rows(memory, "ccxt.merged", dataset)), dataset
    again = Merger(worker, follows_journal=True, delays=AT_ONCE).run()
    assert [one.is_new for one in again][:2] == [False, False]
