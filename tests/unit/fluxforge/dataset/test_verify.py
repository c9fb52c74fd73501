"""Every flaw of a file or a partition, made by tampering with a whole dataset."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.adapters.local_store import LocalStore
from fluxforge.dataset import Datasets
from tests.unit.fluxforge_cli.account.audit.world import World, books, started, stopped, tickers
from tests.unit.fluxforge_cli.account.audit.world import trades as trade_lines


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.seal(started(), books(1, 10), trade_lines(1, 3), tickers(1, 4))
    world.seal(books(11, 30), trade_lines(4, 5), tickers(5, 6), stopped(2))
    world.forge()
    return world


def flaws(world: World, dataset: str = "trades") -> list[str]:
    found = Datasets.at(world.base).verify(dataset, commits=LocalStore(world.base))
    return [f"{Path(flaw.key).name}: {flaw.what}" for flaw in found]


def rewritten(path: Path, table: pa.Table, **told: str) -> None:
    """Replace a file by one with other rows, or that says something else of itself."""
    said = {key.decode(): value.decode() for key, value in pq.read_metadata(path).metadata.items()}
    said = {key: value for key, value in said.items() if key.startswith("fluxforge.")}
    with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata({**said, **{f"fluxforge.{key}": value for key, value in told.items()}})


def rows_of(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def test_a_whole_dataset_has_none(world: World) -> None:
    for dataset in ("trades", "ticker", "books", "hf", "bars", "coverage"):
        assert flaws(world, dataset) == []


def test_a_torn_file_is_named_and_the_others_are_read(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    path.write_bytes(path.read_bytes()[:-100])
    (flaw,) = flaws(world)
    assert flaw.startswith(f"{path.name}: cannot be read")


def test_damage_in_any_column_is_found(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    column = pq.read_metadata(path).row_group(0).column(rows_of(path).schema.get_field_index("price"))
    body = bytearray(path.read_bytes())
    begin = column.data_page_offset
    body[begin : begin + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(body)
    (flaw,) = flaws(world)
    assert "cannot be read" in flaw


def test_rows_out_of_order_and_a_count_that_is_not_told_are_named(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    table = rows_of(path)
    rewritten(path, table.take(list(reversed(range(table.num_rows)))), rows="7")
    found = flaws(world)
    assert f"{path.name}: it says 7 rows and has 6" in found
    assert any("not in the order of ts, capture_ns, seq, idx, symbol" in flaw for flaw in found)
    assert any("were committed" in flaw for flaw in found)


def test_a_part_that_stands_twice_repeats_keys_and_no_commit_lists_it(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    path.with_name("part_again.parquet").write_bytes(path.read_bytes())
    found = flaws(world)
    assert "part_again.parquet: no commit of ccxt-binance-0of1 segment_20261118T12_00001 lists it" in found
    assert any("6 rows have the key exchange, market, boot, seq, idx of another" in flaw for flaw in found)


def test_what_stands_in_a_foreign_partition_is_named(world: World) -> None:
    path = world.part("trades", world.manifests[0])
    elsewhere = path.parents[2] / "symbol=ETH-USDT" / "date=2020-01-01" / path.name
    elsewhere.parent.mkdir(parents=True)
    path.rename(elsewhere)
    found = flaws(world)
    assert f"{path.name}: 6 rows are not of symbol ETH-USDT" in found
    assert f"{path.name}: 6 rows are not of 2020-01-01" in found


def test_other_columns_in_one_partition_are_named(world: World) -> None:
    path = world.part("trades", world.manifests[1])
    table = rows_of(path)
    rewritten(path, table.append_column("more", pa.nulls(table.num_rows, pa.int32())), dataset="ticker")
    found = flaws(world)
    assert any(flaw.startswith(f"{path.name}: its columns are not those of") for flaw in found)
    assert f"{path.name}: it is of dataset 'ticker', expected 'trades'" in found
