from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.adapters.local_store import LocalStore
from fluxforge_cli.account.audit import parts
from fluxforge_cli.account.audit.findings import FeedId
from fluxforge_cli.account.audit.parts import channel_of, look

KEY = "x.parquet"
A, B = FeedId("b1", "trades", "A-B"), FeedId("b2", "trades", "A-B")


def written(folder: Path, *rows: tuple[str, int, int], symbol: str = "A-B") -> tuple[LocalStore, str]:
    """Return a store and the key of a part with these rows of (boot, seq, idx)."""
    names = pa.array([symbol] * len(rows)).dictionary_encode()
    boots, seqs, idx = zip(*rows, strict=True) if rows else ((), (), ())
    table = pa.table(
        {
            "symbol": names.cast(pa.dictionary(pa.int32(), pa.string())),
            "boot": pa.array(boots, pa.string()),
            "seq": pa.array(seqs, pa.int64()),
            "idx": pa.array(idx, pa.int32()),
        }
    )
    pq.write_table(table, folder / KEY)
    return LocalStore(folder), KEY


@pytest.fixture(params=[1, 2, 3, 1000])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in batches of so many rows."""
    monkeypatch.setattr(parts, "_BATCH_ROWS", request.param)


@pytest.mark.usefixtures("batches")
def test_rows_of_records_become_ranges_however_they_are_read(tmp_path: Path) -> None:
    rows = [("b1", 1, 0), ("b1", 1, 1), ("b1", 2, 0), ("b1", 4, 0), ("b1", 4, 1), ("b1", 4, 2), ("b2", 1, 0)]
    found = look(*written(tmp_path, *rows), "trades")
    assert found.seqs == {A: ((1, 2), (4, 4)), B: ((1, 1),)}
    assert (found.doubled, found.rows, found.trouble) == ({}, 7, None)


@pytest.mark.usefixtures("batches")
def test_rows_that_stand_twice_are_doubled_however_they_are_read(tmp_path: Path) -> None:
    rows = [("b1", 1, 0), ("b1", 2, 0), ("b1", 2, 0), ("b1", 3, 0), ("b1", 3, 1), ("b1", 2, 0), ("b1", 4, 0)]
    found = look(*written(tmp_path, *rows), "trades")
    assert found.seqs == {A: ((1, 4),)}
    assert found.doubled[A][0][0] == 2


@pytest.mark.usefixtures("batches")
def test_rows_of_other_recorders_may_stand_in_any_order(tmp_path: Path) -> None:
    rows = [("file", seq, 0) for seq in (3, 1, 2, 6, 5)]
    found = look(*written(tmp_path, *rows), "trades")
    assert found.seqs == {FeedId("file", "trades", "A-B"): ((1, 3), (5, 6))}
    assert found.doubled == {}


def test_a_large_file_is_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, key = written(tmp_path, *(("b1", seq, 0) for seq in range(1, 50)))
    small = look(store, key, "trades", deep=True)
    monkeypatch.setattr(parts, "_BODY_BYTES_MAX", 10)
    assert look(store, key, "trades", deep=True) == small


def test_what_is_not_there_or_no_parquet_is_told(tmp_path: Path) -> None:
    assert look(LocalStore(tmp_path), KEY, "trades").size_bytes is None
    (tmp_path / KEY).write_bytes(b"PAR1 nothing PAR1")
    found = look(LocalStore(tmp_path), KEY, "trades")
    assert (found.size_bytes, found.rows) == (17, None)
    assert found.trouble


def test_a_part_without_keys_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"seq": [1]}), tmp_path / KEY)
    assert look(LocalStore(tmp_path), KEY, "ticker").trouble
    assert look(LocalStore(tmp_path), KEY, "orderbook/bars").trouble is None


def test_features_and_coverage_hold_no_records() -> None:
    assert [channel_of(name) for name in ("orderbook/hf", "orderbook/bars", "coverage")] == [None] * 3
    assert [channel_of(name) for name in ("orderbook/books", "trades", "ohlcv")] == ["orderbook", "trades", "ohlcv"]
