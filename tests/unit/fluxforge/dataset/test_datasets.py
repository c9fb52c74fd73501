"""Datasets as people read them."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from fluxforge.dataset import Datasets, NoSuchDatasetError
from tests.unit.fluxforge_compactor.world import PARTITION, World, trades

OTHER = PARTITION.replace("BTC-USDT", "ETH-USDT").replace("2025-12-09", "2025-12-10")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, "local")
    made.put(1, trades(1, 100))
    made.put(2, trades(101, 100))
    made.put(3, trades(201, 10), partition=OTHER)
    return made


@pytest.fixture
def datasets(world: World) -> Datasets:
    return Datasets.at(world.folder / "out")


def test_a_scan_returns_the_rows_with_their_source_in_front(datasets: Datasets) -> None:
    frame = datasets.scan("trades").collect()
    assert frame.height == 210
    assert frame.columns[:3] == ["source", "exchange", "symbol"]
    assert set(frame["source"]) == {"ccxt"}
    assert sorted(frame["seq"]) == list(range(1, 211))


def test_columns_and_rows_are_chosen(datasets: Datasets) -> None:
    frame = datasets.scan("trades", symbol="BTC/USDT", start="2025-12-09T14:00:50", end="2025-12-09T14:01:00").collect()
    assert sorted(frame["seq"]) == list(range(50, 60))
    assert datasets.scan("trades", columns=["ts", "price"]).collect().columns == ["ts", "price"]
    assert datasets.scan("trades", exchange=["kraken"]).collect().height == 0
    assert datasets.scan("trades", exchange="kraken", columns=["price"]).collect().schema == {"price": pl.Float64}


def test_partitions_that_cannot_hold_it_are_not_opened(datasets: Datasets, world: World) -> None:
    (world.folder / "out" / OTHER / "part_torn.parquet").write_bytes(b"torn")
    assert datasets.scan("trades", symbol="BTC-USDT").collect().height == 200
    assert datasets.scan("trades", end="2025-12-10").collect().height == 200


def test_trades_that_were_sent_again_or_fetched_later_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path, "local")
    table = trades(1, 4)
    flags = pa.array([False, True, None, False])
    kinds = pa.array([None, None, None, "backfill"], pa.string())
    table = table.set_column(table.column_names.index("resent"), table.schema.field("resent"), flags)
    table = table.set_column(table.column_names.index("source_kind"), table.schema.field("source_kind"), kinds)
    world.put(1, table)
    datasets = Datasets.at(tmp_path / "out")
    assert datasets.scan("trades").collect()["seq"].to_list() == [1, 3]
    assert datasets.scan("trades", resent=True).collect()["seq"].to_list() == [1, 2, 3, 4]


def test_what_there_is_is_told(datasets: Datasets) -> None:
    assert datasets.ls() == [("ccxt", "trades")]
    (stat,) = datasets.stat("trades")
    assert (stat.partitions, stat.files, stat.rows) == (2, 3, 210)
    assert stat.first is not None
    assert stat.last is not None
    assert (stat.first.isoformat(), stat.last.isoformat()) == (
        "2025-12-09T14:00:01+00:00",
        "2025-12-09T14:03:30+00:00",
    )
    assert datasets.schema("trades").field("symbol").type == pa.dictionary(pa.int32(), pa.string())


def test_what_there_is_not_is_named_with_what_there_is(datasets: Datasets, tmp_path: Path) -> None:
    with pytest.raises(NoSuchDatasetError, match=r"'hf': no file below .*; there is trades"):
        datasets.scan("hf")
    with pytest.raises(NoSuchDatasetError, match="there is nothing"):
        Datasets.at(tmp_path / "empty").scan("trades")
