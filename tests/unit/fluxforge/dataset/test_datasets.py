"""Datasets as people read them."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.dataset import Datasets, NoSuchDatasetError
from fluxforge.domain.errors import FileUnreadableError
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


def stand(folder: Path, dataset: str, name: str, table: pa.Table, **columns: pa.Array) -> None:
    """Write a part with some columns more."""
    path = (
        folder / "out" / PARTITION.replace("trades", dataset).replace("2025-12-09", name[:10]) / f"part_{name}.parquet"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    for column, values in columns.items():
        table = table.append_column(column, values)
    pq.write_table(table, path)


def test_a_channel_may_have_other_columns_from_file_to_file(tmp_path: Path) -> None:
    keys = trades(1, 2).select(["exchange", "symbol", "market", "ts", "capture_ns", "seq", "idx"])
    stand(tmp_path, "rumours", "2025-12-09_1", keys, size=pa.array([1.5, 2.5]), more=pa.nulls(2, pa.string()))
    stand(tmp_path, "rumours", "2025-12-09_2", keys, size=pa.array(["big", "small"]), who=pa.array(["me", None]))
    stand(tmp_path, "rumours", "2025-12-10_3", keys, where=pa.array(["here", "there"]))
    frame = Datasets.at(tmp_path / "out").scan("rumours").collect().sort("size", "who", "where")
    assert frame["size"].to_list() == [None, None, "1.5", "2.5", "big", "small"]
    assert frame["who"].to_list() == [None, None, None, None, "me", None]
    assert frame["where"].to_list() == ["here", "there", None, None, None, None]


def test_a_column_that_older_partitions_lack_is_null_there(tmp_path: Path) -> None:
    stand(tmp_path, "trades", "2025-12-09_1", trades(1, 2))
    stand(tmp_path, "trades", "2025-12-10_2", trades(3, 2), novel=pa.array([7, 8]))
    frame = Datasets.at(tmp_path / "out").scan("trades", columns=["seq", "novel"]).sort("seq").collect()
    assert frame.rows() == [(1, None), (2, None), (3, 7), (4, 8)]


def test_files_of_the_same_columns_are_one_scan_and_rows_and_columns_are_chosen_while_reading(tmp_path: Path) -> None:
    for number in range(1, 4):
        stand(tmp_path, "trades", f"2025-12-09_{number}", trades(number * 10, 2))
    datasets = Datasets.at(tmp_path / "out")

    def planned() -> str:
        return datasets.scan("trades", start="2025-12-09T14:00:05", columns=["ts", "price"], resent=True).explain()

    assert planned().count("Parquet SCAN") == 1
    stand(tmp_path, "trades", "2025-12-10_4", trades(40, 2), novel=pa.array([7, 8]))
    plan = planned()
    assert plan.count("Parquet SCAN") == 2
    assert plan.count("PROJECT 2/17 COLUMNS") + plan.count("PROJECT 2/18 COLUMNS") == 2, plan
    assert plan.count('SELECTION: col("ts") >= ') == 2


def test_a_torn_file_is_named(datasets: Datasets, world: World) -> None:
    (world.folder / "out" / PARTITION / "part_a_torn.parquet").write_bytes(b"torn")
    with pytest.raises(FileUnreadableError, match=r"part_a_torn.parquet' cannot be read"):
        datasets.scan("trades")
