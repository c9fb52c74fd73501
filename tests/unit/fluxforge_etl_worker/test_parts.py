import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.errors import SchemaMismatchError
from fluxforge_etl_worker import parts, stretch
from fluxforge_etl_worker.parts import PartWriter
from fluxforge_etl_worker.schemas import SCHEMA_VERSION, TICKER, TRADES
from fluxforge_etl_worker.tables import strings
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    MS,
    OPTIONS,
    SEGMENT,
    T0,
    Recording,
    S,
    forged,
    manifest_of,
    options,
    rows_of,
    stored,
    trade,
    worker_on,
)

MIDNIGHT = 1_700_006_400 * S
MARKETS = ("BTC/USDT", "ETH/USDT:USDT", "ODD.NAME/1 %")


def two_days() -> Recording:
    """Three markets, on both sides of midnight."""
    recording = Recording()
    for n in range(-20, 20):
        for i, market in enumerate(MARKETS):
            at = MIDNIGHT + n * 500 * MS + i
            recording.book(at, BIDS, ASKS, market)
            recording.trades(at + 10, trade(str(n), "sell", 1.0, 1.0), trade(None, None, 2.0, 1.0), market=market)
            recording.ticker(at + 20, market, last=float(n))
    return recording


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    body = two_days().body
    stored(LocalStore(folder, sync=False), body, manifest_of(body, last=MIDNIGHT + 20 * S))
    worker_on(LocalStore(folder, sync=False)).process(LANE, SEGMENT)
    return folder / "processed" / "ccxt"


ROWS = {"ticker": 120, "trades": 240, "orderbook/books": 120}


@pytest.mark.parametrize("dataset", ["ticker", "trades", "orderbook/books", "orderbook/hf", "orderbook/bars"])
def test_root_glob_and_single_partition_open_alike_everywhere(root, dataset):
    folder = root / dataset
    glob = f"{folder}/**/*.parquet"
    files = sorted(folder.rglob("*.parquet"))
    assert len(files) == 6
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    assert rows == ROWS.get(dataset, rows) > 0
    single = files[0].parent
    in_single = pq.read_metadata(files[0]).num_rows
    counts = {
        "duckdb": duckdb.sql(f"SELECT count(*) FROM read_parquet('{glob}', hive_partitioning=true)").fetchall()[0][0],
        "polars root": pl.scan_parquet(folder, hive_partitioning=True).select(pl.len()).collect().item(),
        "polars glob": pl.scan_parquet(glob).select(pl.len()).collect().item(),
        "pandas root": len(pd.read_parquet(folder)),
        "pyarrow root": pq.read_table(folder).num_rows,
    }
    assert set(counts.values()) == {rows}, counts
    singles = {
        "duckdb": duckdb.sql(f"SELECT count(*) FROM '{single}/*.parquet'").fetchall()[0][0],
        "polars": pl.read_parquet(single).height,
        "pandas": len(pd.read_parquet(single)),
        "pyarrow": pq.read_table(single).num_rows,
    }
    assert set(singles.values()) == {in_single}, singles


def test_the_symbol_reads_the_same_from_path_and_file(root):
    glob = f"{root}/ticker/**/*.parquet"
    expected = {"BTC-USDT", "ETH-USDT_USDT", "ODD.NAME-1 %"}
    duck = duckdb.sql(f"SELECT DISTINCT symbol FROM read_parquet('{glob}', hive_partitioning=true)").fetchall()
    assert {row[0] for row in duck} == expected
    assert set(pl.scan_parquet(root / "ticker").select("symbol").unique().collect()["symbol"].to_list()) == expected
    assert set(pd.read_parquet(root / "ticker")["symbol"].astype(str)) == expected


def test_a_part_holds_only_its_partition_and_says_what_it_is(root):
    for file in root.rglob("*.parquet"):
        table = pq.ParquetFile(file).read()
        partition = dict(folder.split("=") for folder in file.parts if "=" in folder)
        days = {value.strftime("%Y-%m-%d") for value in table["ts"].to_pylist()}
        assert days == {partition["date"]}
        assert len(set(table["symbol"].to_pylist())) == 1
        metadata = pq.read_metadata(file)
        said = {k.decode(): v.decode() for k, v in metadata.metadata.items() if k.startswith(b"fluxforge.")}
        assert said["fluxforge.rows"] == str(metadata.num_rows)
        assert said["fluxforge.segment"] == SEGMENT
        assert said["fluxforge.lane"] == str(LANE)
        assert said["fluxforge.feature_version"] == "2"
        assert said["fluxforge.schema_version"] == str(SCHEMA_VERSION)
        assert table["ts"].type == pa.timestamp("us", tz="UTC")
        assert table["symbol"].type == pa.dictionary(pa.int32(), pa.string())
        assert metadata.row_group(0).column(metadata.num_columns - 1).compression == "ZSTD"


def test_nothing_but_parquet_stands_below_a_dataset(root):
    assert {path.suffix for path in root.rglob("*") if path.is_file()} == {".parquet"}


def test_the_levels_of_a_book_come_back_as_they_were(root):
    (row, *_) = pq.read_table(root / "orderbook/books").slice(0, 1).to_pylist()
    assert row["bid_px"] == [pair[0] for pair in BIDS]
    assert row["bid_sz"] == [pair[1] for pair in BIDS]
    assert row["ask_px"] == [pair[0] for pair in ASKS]


@pytest.mark.parametrize("cols", [("date",), ("exchange", "date", "hour"), (), ("source", "symbol")])
@pytest.mark.parametrize("interval_ns", [0, S])
def test_markets_that_share_a_partition_stand_in_order(cols, interval_ns):
    recording = two_days()
    datasets = ("ticker", "trades", "orderbook/books", "orderbook/hf", "orderbook/bars")
    chosen = options(partition_cols=dict.fromkeys(datasets, cols), hf_interval_ns=interval_ns)
    result = forged(recording.body, chosen, chunk_bytes=5000, last=MIDNIGHT + 100 * S)
    for part in result.parts:
        if part.dataset not in datasets:
            continue
        rows = pq.read_table(pa.BufferReader(part.body)).to_pylist()
        keys = [(row["ts"], row.get("capture_ns", 0), row.get("seq", 0), row.get("idx", 0)) for row in rows]
        assert keys == sorted(keys)
        assert len({row["symbol"] for row in rows}) == (1 if "symbol" in cols else 3)
    assert sum(part.rows for part in result.parts if part.dataset == "trades") == 240


def test_a_table_of_another_schema_is_refused_and_not_written():
    writer = PartWriter(source="ccxt", compression="zstd", features=OPTIONS.features, metadata={})
    right = forged(two_days().body)
    trades = pq.read_table(pa.BufferReader(next(part.body for part in right.parts if part.dataset == "trades")))
    wrong = trades.set_column(trades.column_names.index("price"), "price", trades["price"].cast(pa.float32()))
    with pytest.raises(SchemaMismatchError, match="price"):
        writer.add("trades", ("symbol",), [wrong])
    with pytest.raises(SchemaMismatchError, match=r"columns|source_kind"):
        writer.add("trades", ("symbol",), [trades.drop_columns(["source_kind"])])
    assert list(writer.finish()) == []


def test_the_schemas_begin_with_the_keys():
    assert TICKER.names[:8] == ["exchange", "symbol", "market", "ts", "capture_ns", "exchange_ms", "boot", "seq"]
    assert TRADES.names[8:] == [
        "idx",
        "trade_id",
        "side",
        "price",
        "amount",
        "cost",
        "taker_or_maker",
        "resent",
        "source_kind",
    ]


def test_rows_far_beyond_one_row_group_keep_their_order(monkeypatch):
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 1_000)
    monkeypatch.setattr(stretch, "_TRADES_MAX", 700)
    recording = Recording()
    for n in range(60):
        recording.trades(T0 + n * S, *(trade(f"{n}-{i}", "buy", float(i + 1), 1.0) for i in range(50)))
    result = forged(recording.body, chunk_bytes=1 << 12)
    (part,) = [part for part in result.parts if part.dataset == "trades"]
    file = pq.ParquetFile(pa.BufferReader(part.body))
    assert file.metadata.num_row_groups > 1
    assert [row["trade_id"] for row in rows_of(result, "trades")] == [f"{n}-{i}" for n in range(60) for i in range(50)]


def test_writing_parts_imports_no_pandas():
    code = (
        "import sys\n"
        "from fluxforge_etl_worker.parts import PartWriter\n"
        "from tests.unit.fluxforge_etl_worker.samples import Recording, forged, BIDS, ASKS, T0, trade\n"
        "r = Recording()\n"
        "r.book(T0, BIDS, ASKS); r.trades(T0 + 1, trade('1', 'buy', 1.0, 1.0)); r.ticker(T0 + 2, last=1.0)\n"
        "r.ticker(T0 + 4, last=1.0)\n"
        "r.add('ohlcv', 'BTC/USDT', T0 + 3, [[1, 2, 3, 4, 5, 6]])\n"
        "tails = []\n"
        "made = forged(r.body, tails=tails)\n"
        "assert len(made.parts) == 6, made.rows\n"
        "type(tails[0]).from_bytes(tails[0].to_bytes(), what='tail')\n"
        "import pyarrow as pa, pyarrow.parquet as pq\n"
        "(part,) = [part for part in made.parts if part.dataset == 'ticker']\n"
        "rows = pq.ParquetFile(pa.BufferReader(part.body)).read()\n"
        "writer = PartWriter(source='ccxt', compression='zstd', features=(), metadata={})\n"
        "writer.add('ticker', ('symbol',), [rows.slice(1)])\n"
        "writer.add('ticker', ('symbol',), [rows.slice(0, 1)])\n"
        "assert [part.rows for part in writer.finish()] == [2]\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("values", [["a"] * 3, [None] * 3, ["a", "é", None, ""], ["", ""], []])
def test_a_string_column_holds_what_it_was_given(values):
    assert strings(values).to_pylist() == values
    assert strings(np.array(values, dtype=np.object_)).to_pylist() == values
    assert strings(values).type == pa.string()
    strings(values).validate(full=True)
