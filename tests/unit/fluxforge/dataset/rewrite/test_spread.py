"""The spread and the staged merge: bounded in memory, files and sizes."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.dataset.rewrite import staged
from fluxforge.dataset.rewrite.merge import Sorted, in_order
from fluxforge.dataset.rewrite.spread import Sheet, Spread
from fluxforge.dataset.rewrite.staged import Span, peak_bytes
from fluxforge.dataset.rewrite.tally import Tally
from fluxforge.domain.errors import SchemaMismatchError
from tests.unit.fluxforge_compactor.world import trades


def sheet(folder: Path, cols: Sequence[str], *, file_bytes_max: int = 10**9, waiting_bytes_max: int = 10**9) -> Sheet:
    return Sheet("ccxt", tuple(cols), folder, "part_x_", "zstd", {}, file_bytes_max, waiting_bytes_max)


def sizes_of_groups(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def test_a_file_is_finished_as_soon_as_its_hour_has_passed(tmp_path: Path) -> None:
    with Spread(sheet(tmp_path, ("date", "hour"))) as spread:
        for begin in range(0, 10_000, 100):  # an hour has 3,600
            spread.add(trades(begin, 100))
            hours = (begin + 99) // 3600
            assert len(spread.written) == hours
        spread.finish()
    assert [file.file.rows for file in spread.written] == [3600, 3600, 2800]


def test_an_hour_without_its_day_comes_again(tmp_path: Path) -> None:
    with Spread(sheet(tmp_path, ("hour",))) as spread:
        spread.add(trades(0, 48, step_s=3600))
        spread.finish()
    assert {file.file.rows for file in spread.written} == {2}
    assert len(spread.written) == 24


def test_a_large_file_is_followed_by_another(tmp_path: Path) -> None:
    with Spread(sheet(tmp_path, ("exchange",), file_bytes_max=10_000, waiting_bytes_max=100_000)) as spread:
        for begin in range(0, 20_000, 500):
            spread.add(trades(begin, 500))
        spread.finish()
    assert len(spread.written) > 2
    assert {file.partition for file in spread.written} == {"exchange=binance"}
    times = [pq.read_table(file.path)["ts"].cast(pa.int64()).to_pylist() for file in spread.written]
    flat = list(itertools.chain.from_iterable(times))
    assert flat == sorted(flat)
    assert sum(file.file.rows for file in spread.written) == spread.tally.rows == 20_000


def test_what_waits_over_all_files_is_bounded(tmp_path: Path) -> None:
    with Spread(sheet(tmp_path, ("date", "hour"), waiting_bytes_max=50_000)) as spread:
        for begin in range(0, 3_000, 100):
            spread.add(trades(begin, 100))
        spread.finish()
    (file,) = spread.written
    assert max(sizes_of_groups(file.path)) <= 1_000


def test_a_row_without_a_market_is_refused(tmp_path: Path) -> None:
    table = trades(1, 3)
    at = table.column_names.index("symbol")
    table = table.set_column(at, table.schema.field(at), pa.nulls(3, table.schema.field(at).type))
    with Spread(sheet(tmp_path, ("symbol",))) as spread, pytest.raises(SchemaMismatchError, match="one symbol of"):
        spread.add(table)


@pytest.mark.parametrize("held_bytes_max", [1, 2**21, 2**30])
def test_stages_hold_no_more_than_they_may_and_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes_max: int
) -> None:
    tables = [trades(1 + number, 50, boot=f"b{number}", step_s=3.0) for number in range(20)]
    spans = []
    for number, table in enumerate(tables):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path)
        file = Sorted(str(path), table["ts"][0].value, lambda path=path: pq.ParquetFile(path))  # type: ignore[misc]
        spans.append(Span.of(file, table["ts"][-1].value, path.stat().st_size))
    assert peak_bytes(spans) == sum(span.held_bytes for span in spans)
    read, came, given = Tally(), Tally(), Tally()
    folder = tmp_path / "stages"
    folder.mkdir()
    monkeypatch.setattr(staged, "HELD_BYTES_MAX", held_bytes_max)
    slices = list(staged.staged(spans, folder, read.add))
    for table in slices:
        came.add(table)
    for table in tables:
        given.add(table)
    assert (read.agrees(given), came.agrees(given)) == (True, True)
    whole = pa.concat_tables(slices).unify_dictionaries()
    assert whole.equals(in_order(whole))
    assert list(folder.iterdir()) == []
