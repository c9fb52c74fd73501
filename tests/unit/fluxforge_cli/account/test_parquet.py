from pathlib import Path
from random import Random

import orjson

from fluxforge.adapters.local_store import LocalStore
from fluxforge.runtime.settings import StoreLocation
from fluxforge_cli.account.parquet import processed
from fluxforge_cli.datasets import open_datasets
from fluxforge_cli.files import files_of
from tests.unit.fluxforge_etl_worker.legs.pair import LANE, LEG_B, lane, merger, split, worked


def test_a_record_that_stands_in_the_merged_source_too_counts_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, sync=False)
    legs = split(lane(200), Random(1), lost=0.5)
    for of, lines in zip((LANE, LEG_B), legs, strict=True):
        worked(store, of, lines)
    assert next(merger(store).run()).is_new
    for lines in legs:
        records = [orjson.loads(line) for line in lines]
        boots = sorted({record["boot"] for record in records})
        database = open_datasets(files_of(StoreLocation(base_dir=tmp_path)).below("processed"))
        found = processed(database, boots, since_ns=0)
        books = [record for record in records if record["channel"] == "orderbook"]
        assert found["binance", "orderbook", "BTC-USDT"] == sum(one["symbol"] == "BTC-USDT" for one in books)
        assert sum(count for (_, channel, _), count in found.items() if channel == "orderbook") == len(books)
