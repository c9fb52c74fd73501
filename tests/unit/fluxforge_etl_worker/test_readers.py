"""What stands in the datasets is the same to every reader: by root, by glob, and one partition alone."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.control import Control, Event, FeedKey
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    MS,
    Recording,
    S,
    options,
    sealed,
    stored,
    trade,
    worker_on,
)

MIDNIGHT = 1_700_006_400_000_000_000
MARKETS = ("BTC/USDT", "ETH/USDT:USDT", "ODD.NAME/1 %")
KEYS = {
    "orderbook/bars": ["symbol", "ts", "duration"],
    "coverage": ["channel", "symbol", "event", "boot", "seq"],
    "trades": ["symbol", "boot", "seq", "idx"],
    "ohlcv": ["symbol", "boot", "seq", "idx"],
}
DATASETS = ("ticker", "trades", "orderbook/books", "orderbook/hf", "orderbook/bars", "coverage", "ohlcv")
PARTITIONS = {"exchange", "symbol", "date"}


def two_days() -> Recording:
    recording = Recording()
    at = MIDNIGHT - 70 * S
    for n in range(300):
        at += 499 * MS
        market = MARKETS[n % 3]
        bids = [[price + n % 7, size] for price, size in BIDS]
        recording.book(at, bids, [[price + 9, size] for price, size in ASKS], market)
        if n % 4 == 0:
            some = [trade(str(n), "buy", 100.0, 0.1), trade(None, "sell", 101.0, 2.0 + n)]
            recording.trades(at + 1, *some, market=market)
        if n % 10 == 0:
            recording.ticker(at + 2, market, last=n / 3, bid=None)
            recording.add("ohlcv", market, at + 3, [[at // MS, 1.0, 2.0, 0.5, 1.5, n / 7]])
            feed = FeedKey("orderbook", "BTC-USDT")
            recording.control(at + 4, Control(Event.SUBSCRIBED, scope=feed, reason="n" if n % 20 else None))
    return recording


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("readers")
    store = LocalStore(base, sync=False)
    lines = two_days().lines
    segments = sealed(lines, [50, 200, 333])
    for segment in segments:
        stored(store, segment.body, segment.manifest)
    worker = worker_on(store, options=options())
    for segment in segments:
        worker.process(segment.manifest.lane, segment.manifest.name)
    return base / "processed" / "ccxt"


def files_of(folder: Path) -> list[str]:
    return [str(file) for file in sorted(folder.rglob("*.parquet"))]


def polars(where: str | Path) -> pa.Table:
    return pl.scan_parquet(where, hive_partitioning=True).collect().to_arrow()


def pandas(where: Path | list[str]) -> pa.Table:
    return pa.Table.from_pandas(pd.read_parquet(where, dtype_backend="pyarrow"), preserve_index=False)


def duck(where: str) -> pa.Table:
    return duckdb.sql(f"SELECT * FROM read_parquet('{where}', hive_partitioning=true)").to_arrow_table()


WHOLE: dict[str, Callable[[Path], pa.Table]] = {
    "duckdb glob": lambda folder: duck(f"{folder}/**/*.parquet"),
    "polars root": polars,
    "polars glob": lambda folder: polars(f"{folder}/**/*.parquet"),
    "pandas root": pandas,
    "pandas files": lambda folder: pandas(files_of(folder)),
    "pyarrow root": pq.read_table,
    "pyarrow files": lambda folder: pq.read_table(files_of(folder)),
}
PARTITION: dict[str, Callable[[Path], pa.Table]] = {
    "duckdb": lambda folder: duck(f"{folder}/*.parquet"),
    "polars": polars,
    "pandas": pandas,
    "pyarrow": pq.read_table,
}


def as_stored(files: list[str]) -> pa.Table:
    """Return what stands in the files themselves, whatever their paths say."""
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


def in_order(table: pa.Table, schema: pa.Schema, keys: list[str]) -> pa.Table:
    """Return the columns of this schema, names as plain strings, sorted by the keys."""
    plain = [pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    return table.select(schema.names).cast(pa.schema(plain)).sort_by([(key, "ascending") for key in keys])


@pytest.mark.parametrize("reader", WHOLE)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_reader_finds_the_same_rows_in_a_dataset(source: Path, dataset: str, reader: str) -> None:
    folder = source / dataset
    files = files_of(folder)
    assert len({Path(file).parent for file in files}) >= 2
    assert len(files) > len({Path(file).parent for file in files}), "partitions of several segments"
    wanted = as_stored(files)
    found = WHOLE[reader](folder)
    assert set(found.column_names) == set(wanted.column_names) | PARTITIONS
    keys = KEYS.get(dataset, ["symbol", "ts", "boot", "seq"])
    assert in_order(found, wanted.schema, keys).equals(in_order(wanted, wanted.schema, keys))


@pytest.mark.parametrize("reader", PARTITION)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_reader_finds_the_same_rows_in_one_partition(source: Path, dataset: str, reader: str) -> None:
    folder = Path(files_of(source / dataset)[0]).parent
    wanted = as_stored(files_of(folder))
    found = PARTITION[reader](folder)
    keys = KEYS.get(dataset, ["symbol", "ts", "boot", "seq"])
    assert in_order(found, wanted.schema, keys).equals(in_order(wanted, wanted.schema, keys))


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_day_is_found_by_its_partition(source: Path, dataset: str) -> None:
    folder = source / dataset
    wanted = as_stored(files_of(folder))
    counts = {
        "duckdb": duck(f"{folder}/**/date=2023-11-15/*.parquet").num_rows,
        "polars": pl.scan_parquet(folder, hive_partitioning=True)
        .filter(pl.col("date").cast(pl.String) == "2023-11-15")
        .collect()
        .height,
        "pandas": len(pd.read_parquet(folder, filters=[("date", "=", "2023-11-15")])),
        "pyarrow": pq.read_table(folder, filters=[("date", "=", "2023-11-15")]).num_rows,
    }
    midnight_us = MIDNIGHT // 1000
    expected = sum(value >= midnight_us for value in wanted["ts"].cast(pa.int64()).to_pylist())
    assert 0 < expected < wanted.num_rows
    assert set(counts.values()) == {expected}, counts
