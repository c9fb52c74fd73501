"""Changes of a whole dataset: which partitions they concern, and what is refused."""

from pathlib import Path

import polars as pl
import pytest

from fluxforge.dataset import Datasets
from fluxforge.dataset.change import condition_of
from fluxforge.domain.errors import UsageError
from fluxforge.runtime.journals import Journals
from tests.unit.fluxforge_compactor.world import PARTITION, World, trades

OTHER = PARTITION.replace("BTC-USDT", "ETH-USDT").replace("2025-12-09", "2025-12-10")
KEYS = ["exchange", "symbol", "market", "boot", "seq", "idx", "ts", "capture_ns"]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    """Trades of seq 1 to 20, and ten more in another partition, beside the marks of their segments."""
    world = World(tmp_path, "local")
    world.put(1, trades(1, 20))
    world.put(2, trades(21, 10), partition=OTHER)
    (tmp_path / "raw" / "commits").rename(tmp_path / "out" / "commits")
    return Datasets.at(tmp_path / "out")


def seqs(datasets: Datasets) -> list[int]:
    return sorted(datasets.scan("trades").collect()["seq"]) if datasets.ls() else []


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("price > avg(price)", "at other rows"),
        ("row_number() over (order by ts) > 3", "at other rows"),
        ("count(*) > 3", "at other rows"),
        ("price > lag(price) over (order by ts)", "at other rows"),
        ("price <", "where 'price <'"),
    ],
)
def test_a_condition_looks_at_one_row(where: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        condition_of(where)


@pytest.mark.parametrize(
    "where", ["price < 0 AND side = 'buy'", "side IN ('Agg', 'Len')", "price IS NULL", "true", "NOT resent"]
)
def test_a_condition_of_one_row_is_taken(where: str) -> None:
    assert condition_of(where) is not None


def test_rows_are_deleted_where_they_are_selected_and_nowhere_else(datasets: Datasets) -> None:
    (edited,) = datasets.delete("trades", "seq % 2 = 0", symbol="BTC/USDT")
    assert (edited.partition, edited.deleted) == (PARTITION, 10)
    assert seqs(datasets) == [*range(1, 21, 2), *range(21, 31)]


def test_times_that_a_partition_is_not_wholly_of_are_compared_row_by_row(datasets: Datasets) -> None:
    (edited,) = datasets.delete("trades", start="2025-12-09T14:00:11", end="2025-12-10")
    assert edited.deleted == 10
    assert seqs(datasets) == [*range(1, 11), *range(21, 31)]


def test_a_partition_that_is_wholly_meant_goes_without_being_read(datasets: Datasets, tmp_path: Path) -> None:
    (edited,) = datasets.delete("trades", symbol="BTC-USDT", start="2025-12-09", end="2025-12-10")
    assert (edited.files, edited.deleted) == (1, 20)
    assert seqs(datasets) == list(range(21, 31))
    assert not (tmp_path / "out" / PARTITION).exists()


def test_one_partition_that_cannot_be_changed_does_not_stop_the_others(datasets: Datasets, tmp_path: Path) -> None:
    for mark in (tmp_path / "out" / "commits").rglob("*00001.placed"):
        mark.unlink()
    refused, done = datasets.delete("trades", "true")
    assert "wait until their segments are placed" in str(refused.refused)
    assert (done.refused, done.deleted) == (None, 10)
    assert seqs(datasets) == list(range(1, 21))


def test_a_condition_on_no_column_changes_nothing(datasets: Datasets) -> None:
    with pytest.raises(UsageError, match="'nosuch': expected one of exchange, symbol"):
        datasets.delete("trades", "nosuch > 1")
    with pytest.raises(UsageError, match="expected true or false for each row"):
        datasets.delete("trades", "price")
    assert len(seqs(datasets)) == 30


def test_corrections_find_their_partition(datasets: Datasets, tmp_path: Path) -> None:
    rows = pl.concat([_rows(5, 2), _rows(20, 1)]).with_columns(price=pl.lit(1.0))
    (edited,) = datasets.upsert("trades", rows)
    assert (edited.partition, edited.corrected, edited.added) == (PARTITION, 3, 0)
    frame = datasets.scan("trades", symbol="BTC/USDT").collect()
    assert sorted(frame.filter(pl.col("price") == 1.0)["seq"]) == [5, 6, 20]
    (entry,) = Journals(World(tmp_path, "local").output).entries(PARTITION)
    assert entry.claim.reason == "upsert"


def test_corrections_that_are_none_are_refused(datasets: Datasets) -> None:
    rows = _rows(5, 1)
    for wrong, words in (
        (rows.drop("seq"), "column 'seq' is missing"),
        (rows.with_columns(colour=pl.lit("red")), "column 'colour': expected one of"),
        (rows.with_columns(price=pl.lit("dear")), "conversion"),
        (rows.with_columns(idx=pl.lit(None)), "column 'idx': expected a value in every row"),
        (pl.concat([rows, rows]), "1 rows have the key"),
        (rows.with_columns(symbol=pl.lit("XRP-USDT")), "where nothing stands"),
    ):
        with pytest.raises(UsageError, match=words):
            datasets.upsert("trades", wrong)
    assert len(seqs(datasets)) == 30


def _rows(first: int, count: int) -> pl.DataFrame:
    frame = pl.from_arrow(trades(first, count))
    assert isinstance(frame, pl.DataFrame)
    return frame.select(KEYS)
