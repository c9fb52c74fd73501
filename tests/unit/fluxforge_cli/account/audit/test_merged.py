"""The audit of merged parts: the same account, from the files that they were merged into."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from fluxforge.dataset import Datasets
from fluxforge.domain.control import Event, FeedKey
from fluxforge.domain.layout import claim_key
from fluxforge_cli.account.audit.findings import Kind
from fluxforge_compactor.main import compactor_of
from fluxforge_compactor.settings import CompactorSettings
from fluxforge_etl_worker.folder import run_folder
from tests.unit.fluxforge_cli.account.audit.world import (
    SYMBOL,
    World,
    books,
    control,
    started,
    stopped,
    tickers,
    trades,
)


def compact(world: World) -> int:
    """Merge everything, and clear what was merged; return how many merges that took."""
    own = CompactorSettings.of(world.settings)
    own = replace(own, policy=replace(own.policy, quiet_ns=0, grace_ns=0))
    compactor, partitions = compactor_of(world.settings, own)
    partitions.probe()
    results = [compactor.compact(partition) for _ in range(2) for partition in compactor.partitions("processed")]
    return sum(len(result.merges) for result in results)


def merged(world: World, dataset: str) -> Path:
    (found,) = (world.base / "processed/ccxt" / dataset).rglob("merged_*.parquet")
    return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three segments of one boot that ended in order, with a loss that is named, in one file per partition."""
    world = World(tmp_path)
    dropped = control(
        2, Event.DROPPED, scope=FeedKey("ticker", SYMBOL), detail={"first_seq": 7, "last_seq": 9}, count=3
    )
    world.seal(started(), books(1, 10), trades(1, 3), tickers(1, 4))
    world.seal(books(11, 30), trades(4, 5), tickers(5, 6), dropped, tickers(10, 11))
    world.seal(books(31, 40), trades(6, 7), stopped(3))
    world.forge()
    assert world.audit(deep=True).findings == ()
    assert compact(world) >= 5
    return world


def test_merged_books_balance_as_before(world: World) -> None:
    audit = world.audit(deep=True)
    assert audit.findings == ()
    (lane,) = audit.lanes
    assert (lane.captured, lane.sealed, lane.in_parquet, lane.named) == (61, 58, 58, 3)


def test_a_segment_that_comes_later_is_merged_with_them(world: World) -> None:
    world.seal(started("b2"), books(1, 5, "b2"), trades(1, 2, "b2"), stopped(2, "b2"))
    world.forge()
    assert world.audit(deep=True).findings == ()
    compact(world)
    assert len(list((world.base / "processed/ccxt/trades").rglob("*.parquet"))) == 1
    assert world.audit(deep=True).findings == ()


def test_raw_data_may_go_once_its_parts_were_merged(world: World) -> None:
    settings = world.settings
    etl = settings.etl.model_copy(update={"delete_after_processing": True})
    run_folder(settings.model_copy(update={"etl": etl}))
    assert not list((world.base / "raw").rglob("*.ndjson"))
    assert world.audit(deep=True).findings == ()


def test_a_merged_file_that_is_gone_is_missed_part_by_part(world: World) -> None:
    merged(world, "trades").unlink()
    found = [finding for finding in world.audit().findings if finding.kind is Kind.PART_MISSING]
    assert len(found) == 3
    assert "missing b1 trades BTC-USDT 4-5" in world.findings()


def test_a_merged_file_with_other_bytes_is_found_by_reading_them(world: World) -> None:
    path = merged(world, "ticker")
    body = bytearray(path.read_bytes())
    body[len(body) // 3] ^= 1
    path.write_bytes(body)
    assert Kind.PART_DIFFERS in world.kinds(deep=True)


def test_rows_that_a_merged_file_lacks_are_named(world: World) -> None:
    path = merged(world, "orderbook/books")
    table = pq.ParquetFile(path).read()
    pq.write_table(table.slice(0, 25), path)
    found = [finding.detail for finding in world.audit().findings if finding.kind is Kind.PART_DIFFERS]
    assert found
    assert all("expected 40 rows" in detail for detail in found)


def test_an_output_that_no_journal_names_is_unknown(world: World) -> None:
    path = merged(world, "trades")
    partition = path.parent.relative_to(world.base).as_posix()
    (world.base / claim_key(partition, 1)).unlink()
    assert {Kind.PART_UNKNOWN, Kind.PART_MISSING} <= world.kinds()


def test_what_is_deleted_on_purpose_is_counted_and_the_books_balance(world: World) -> None:
    datasets = Datasets.of(world.settings)
    assert [one.refused for one in datasets.delete("trades", "seq <= 3")] == [None]
    assert [one.refused for one in datasets.delete("ticker")] == [None]
    audit = world.audit(deep=True)
    assert audit.findings == ()
    (lane,) = audit.lanes
    assert (lane.sealed, lane.in_parquet, lane.removed) == (58, 58 - 3 - 8, 3 + 8)
    compact(world)  # what was merged is cleared, and what was edited merged with what comes
    world.seal(started("b2"), trades(1, 2, "b2"), stopped(2, "b2"))
    world.forge()
    compact(world)
    audit = world.audit(deep=True)
    assert (audit.findings, audit.lanes[0].removed) == ((), 11)


def test_parts_that_are_edited_before_they_are_merged_balance(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.seal(started(), trades(1, 3), books(1, 4), stopped(2))
    world.forge()
    datasets = Datasets.of(world.settings)
    datasets.delete("trades", "seq = 2")
    datasets.delete("books")
    rows = datasets.scan("trades").collect().head(1).drop("source").with_columns(price=pl.lit(9.5))
    assert [one.corrected for one in datasets.upsert("trades", rows)] == [1]
    audit = world.audit(deep=True)
    assert (audit.findings, audit.lanes[0].removed) == ((), 1 + 4)


def test_a_row_that_vanished_from_an_edited_file_is_missing(world: World) -> None:
    Datasets.of(world.settings).delete("trades", "seq <= 3")
    path = merged(world, "trades")
    table = pq.ParquetFile(path).read()
    pq.write_table(table.slice(1), path)
    assert Kind.PART_DIFFERS in {finding.kind for finding in world.audit(deep=True).findings}
