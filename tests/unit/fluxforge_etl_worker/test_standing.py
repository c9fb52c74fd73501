from collections.abc import Iterator
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typing_extensions import override

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.errors import PartitionSchemaError
from fluxforge_etl_worker.contexts import Contexts
from fluxforge_etl_worker.standing import standing_schema
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    MS,
    T0,
    Recording,
    S,
    manifest_of,
    options,
    stored,
    worker_on,
)

FIRST, SECOND = "segment_20231114T22_00001", "segment_20231114T22_00002"


def books(at: int) -> bytes:
    recording = Recording()
    for n in range(30):
        recording.book(at + n * 100 * MS, BIDS, ASKS)
    return recording.body


def other_channel(at: int, **fields: object) -> bytes:
    recording = Recording()
    recording.add("rumours", "BTC/USDT", at, {"symbol": "BTC/USDT", **fields})
    return recording.body


def keys(store: MemoryStore) -> set[str]:
    return {key for key in store.keys("") if not key.startswith(("raw/", "dead/", "tails/"))}


def test_a_part_of_another_schema_is_refused_before_anything_is_written_and_named() -> None:
    store = MemoryStore()
    stored(store, books(T0), manifest_of(books(T0), name=FIRST, last=T0 + 3 * S))
    stored(store, books(T0 + 9 * S), manifest_of(books(T0 + 9 * S), name=SECOND, first=T0 + 9 * S))
    worker_on(store).process(LANE, FIRST)
    before = keys(store)
    changed = worker_on(store, options=options(horizons_s=(1, 2)))
    with pytest.raises(PartitionSchemaError) as refused:
        changed.process(LANE, SECOND)
    assert keys(store) == before
    for said in ("orderbook/hf", "exchange=binance/symbol=BTC-USDT/date=2023-11-14", "log_return_5s", "log_return_2s"):
        assert said in str(refused.value)
    assert "etl run --force" in str(refused.value)
    worker_on(store).process(LANE, SECOND)


def test_another_partition_may_hold_another_schema() -> None:
    store = MemoryStore()
    next_day = T0 + 86_400 * S
    stored(store, books(T0), manifest_of(books(T0), name=FIRST, last=T0 + 3 * S))
    stored(store, books(next_day), manifest_of(books(next_day), name=SECOND, first=next_day, last=next_day + 3 * S))
    worker_on(store).process(LANE, FIRST)
    assert worker_on(store, options=options(horizons_s=(1, 2))).process(LANE, SECOND).forged


def test_a_channel_without_schema_is_conformed_to_what_stands_in_its_partition() -> None:
    store = MemoryStore()
    first, second = other_channel(T0, size=1.5), other_channel(T0 + S, size="big", who="me")
    stored(store, first, manifest_of(first, name=FIRST, last=T0))
    stored(store, second, manifest_of(second, name=SECOND, first=T0 + S))
    for name in (FIRST, SECOND):
        worker_on(store).process(LANE, name)
    parts = [pq.read_table(BytesIO(store.read(key))) for key in store.keys("processed/ccxt/rumours")]
    assert parts[0].schema.remove_metadata() == parts[1].schema.remove_metadata()
    found = [pq.read_metadata(BytesIO(store.read(key))).metadata for key in store.keys("processed/ccxt/rumours")]
    assert found[1] == {**found[0], b"fluxforge.segment": SECOND.encode(), b"ARROW:schema": found[1][b"ARROW:schema"]}
    (row,) = parts[1].to_pylist()
    assert row["size"] is None
    assert '"who":"me"' in row["more"]


def test_a_part_whose_partition_was_begun_with_other_columns_before_it_was_placed_is_made_again() -> None:
    store = MemoryStore()
    first, second = other_channel(T0, size="big", who="me"), other_channel(T0 + S, size=1.5)
    stored(store, first, manifest_of(first, name=FIRST, last=T0))
    stored(store, second, manifest_of(second, name=SECOND, first=T0 + S))
    worker = worker_on(store)
    manifest = worker.manifest(LANE, FIRST)
    assert worker._commit(manifest, Contexts(store, worker.options.layout, worker.options))[0]
    worker.process(LANE, SECOND)
    worker.process(LANE, FIRST)
    parts = [pq.read_table(BytesIO(store.read(key))) for key in store.keys("processed/ccxt/rumours")]
    assert parts[0].schema.remove_metadata() == parts[1].schema.remove_metadata()
    assert [table.num_rows for table in parts] == [1, 1]
    assert '"who":"me"' in parts[0].to_pylist()[0]["more"]
    assert store.size(f"commits/{LANE}/{FIRST}.r2.json") is not None
    assert store.size(f"commits/{LANE}/{FIRST}.placed") is not None
    assert list(store.keys(".tmp")) == []


def test_a_partition_that_is_merged_between_listing_and_opening_is_not_taken_for_an_empty_one() -> None:
    class Merged(MemoryStore):
        @override
        def keys(self, prefix: str) -> Iterator[str]:
            listed = list(super().keys(prefix))
            if self.size("processed/a/part.parquet") is not None:
                self.move("processed/a/part.parquet", "processed/a/merged_ab_00001.parquet")
            return iter(listed)

    store = Merged()
    table = pa.table({"x": [1]})
    sink = BytesIO()
    pq.write_table(table, sink)
    store.create("processed/a/part.parquet", sink.getvalue())
    assert standing_schema(store, "processed/a") == table.schema


def test_only_the_footer_of_a_standing_part_is_read() -> None:
    class Metered(MemoryStore):
        read_bytes = 0

        @override
        def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
            body = super().read(key, offset=offset, length=length)
            self.read_bytes += len(body)
            return body

    store = Metered()
    table = pa.table({"x": pa.array(range(2_000_000), pa.int64())})
    sink = BytesIO()
    pq.write_table(table, sink, compression="none")
    store.create("processed/a/part.parquet", sink.getvalue())
    store.create("processed/a/b/part.parquet", b"a part of another partition")
    assert standing_schema(store, "processed/a") == table.schema
    assert store.read_bytes < 200_000 < len(sink.getvalue())
    assert standing_schema(store, "processed/c") is None
