"""Repartitioning: the same rows in other partitions, whatever the files, and whatever dies when."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxforge.dataset import Datasets
from fluxforge.dataset.repartition import Bench, Repartition
from fluxforge.dataset.rewrite import spread, staged
from fluxforge.dataset.rewrite.aside import UnitRefusedError
from fluxforge.dataset.rewrite.candidates import Candidate, Looker
from fluxforge.dataset.rewrite.merge import in_order
from fluxforge.dataset.rewrite.output import RowsDifferError
from fluxforge.domain.errors import ConflictError, PartitionChangedError, UsageError
from fluxforge.domain.journal import Claim, File, Settlement
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import partition_path
from fluxforge.domain.repartition import Course, Record
from fluxforge.runtime.journals import Journals
from fluxforge.runtime.live import live_keys
from tests.unit.fluxforge_compactor.world import KINDS, PARTITION, Crash, CrashingStore, Points, World, trades

TARGET = "by_day"
BY_DAY = ("exchange", "date")
DATASET = "processed/ccxt/trades"
Place = tuple[str, str, str]


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return filled(tmp_path, request.param)


def filled(folder: Path, kind: str) -> World:
    """Return parts of two markets and two days: two units by day, of three files and one."""
    made = World(folder, kind)
    for number, (symbol, first_seq, day) in enumerate(
        [("BTC-USDT", 1, 9), ("BTC-USDT", 101, 9), ("ETH-USDT", 51, 9), ("BTC-USDT", 90_001, 10)], start=1
    ):
        made.put(number, of(trades(first_seq, 100, boot=f"b{number}"), symbol), partition=partition(symbol, day))
    return made


def partition(symbol: str, day: int) -> str:
    return PARTITION.replace("BTC-USDT", symbol).replace("2025-12-09", f"2025-12-{day:02d}")


def of(table: pa.Table, symbols: str | Sequence[str]) -> pa.Table:
    """Return trades of other markets: one, or one for each row."""
    names = [symbols] * table.num_rows if isinstance(symbols, str) else list(symbols)
    at = table.column_names.index("symbol")
    column = pa.array(names, pa.string()).dictionary_encode().cast(table.schema.field(at).type)
    return table.set_column(at, table.schema.field(at), column)


def work(
    world: World,
    *,
    cols: Sequence[str] = BY_DAY,
    target: str = TARGET,
    points: Points | None = None,
    prefix: str = "processed",
) -> Repartition:
    """Return a new process' repartitioning; a stored world stands for an object store."""
    store = CrashingStore(world.folder / "out", points or Points())
    scratch = world.folder / "scratch"
    local = world.kind == "local"
    bench = Bench.of(store, scratch, target) if local else Bench(scratch / "bench", scratch / "bench.lock")
    course = Course.of(prefix, target, cols, Layout())
    return Repartition(store, course, bench, world.clock, compression="zstd", follows_journal=not local)


def run(doing: Repartition) -> list[Record]:
    with doing.alone():
        doing.sweep()
        return [doing.run(planned) for planned in doing.plan().units]


def files(world: World, root: str = TARGET) -> list[str]:
    return list(live_keys(world.output, root, follows_journal=world.kind == "stored"))


def rows(world: World, root: str = TARGET) -> Counter[str]:
    tables = (pq.ParquetFile(world.folder / "out" / key).read() for key in files(world, root))
    return Counter(str(row) for table in tables for row in table.to_pylist())


def check(world: World) -> None:
    """Every row stands once, in its partition, in order, and nothing is left of the work."""
    assert rows(world) == world.expected
    for key in files(world):
        table = pq.ParquetFile(world.folder / "out" / key).read()
        assert table.equals(in_order(table))
        path = "/".join(name for name in key.split("/") if "=" in name)
        cols = [name.partition("=")[0] for name in path.split("/")]
        assert {
            partition_path(cols, values(row)) for row in table.select(["exchange", "symbol", "ts"]).to_pylist()
        } == {path}
    assert [path for path in world.leftovers() if "repartition_" in path or "/bench" in path] == []


def values(row: dict[str, object]) -> dict[str, str]:
    return {
        "source": "ccxt",
        "exchange": str(row["exchange"]),
        "symbol": str(row["symbol"]),
        "date": f"{row['ts']:%Y-%m-%d}",
        "hour": f"{row['ts']:%H}",
    }


def contents(world: World, below: str) -> dict[str, bytes]:
    root = world.folder / "out" / below
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_rows_of_each_day_stand_in_one_file_and_the_source_as_it_was(world: World) -> None:
    before = contents(world, "processed")
    first, second = run(work(world))
    check(world)
    assert contents(world, "processed") == before
    assert (len(first.inputs), len(first.outputs), first.rows) == (3, 1, 300)
    assert (len(second.inputs), second.outputs[0].name.split("/")[:5]) == (
        1,
        [TARGET, "ccxt", "trades", "exchange=binance", "date=2025-12-10"],
    )
    file = world.folder / "out" / first.outputs[0].name
    said = pq.read_metadata(file).metadata
    assert (said[b"fluxforge.repartitioned"], said[b"fluxforge.rows"], said[b"fluxforge.dataset"]) == (
        b"processed",
        b"300",
        b"trades",
    )
    source = pq.read_schema(world.place / world.names()[0])
    assert pq.read_schema(file).remove_metadata().equals(source.remove_metadata())


@pytest.mark.parametrize("cols", [("exchange", "symbol", "date", "hour"), ("source", "date"), ("symbol",), ("hour",)])
def test_any_columns_will_do(world: World, cols: tuple[str, ...]) -> None:
    run(work(world, cols=cols))
    check(world)


@given(
    found=st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ABC"), st.integers(0, 5)), min_size=1, max_size=60),
    cols=st.permutations(["source", "exchange", "symbol", "date", "hour"]),
    count=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_every_row_stands_once_in_its_partition_however_it_was_cut_into_files(
    found: list[tuple[int, str, int]], cols: list[str], count: int
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), "local")
        table = in_order(of(trades(1, len(found), step_s=5000.0), [symbol for _, symbol, _ in found]))
        for number in range(6):
            mine = [row for row, (_, _, file) in enumerate(found) if file == number]
            if mine:
                # Of one source directory, whatever the rows are of: their path does not tell.
                world.put(number, table.take(mine), partition=f"{DATASET}/exchange=binance")
        run(work(world, cols=cols[:count]))
        check(world)


def test_a_second_run_writes_nothing(world: World) -> None:
    run(work(world))
    points = Points()
    doing = work(world, points=points)
    assert [planned.stands for planned in doing.plan().units] == [True, True]
    run(doing)
    assert points.passed == []
    check(world)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_changed", [False, True])
def test_a_run_after_a_death_at_any_step_is_whole(tmp_path: Path, kind: str, *, is_changed: bool) -> None:
    passed, crash_at = 1, 1
    while crash_at <= passed:
        world = filled(tmp_path / str(crash_at), kind)
        if is_changed:
            run(work(world))
            world.put(9, trades(5001, 50, boot="b9"))
        points = Points(crash_at)
        try:
            run(work(world, points=points))
        except Crash:
            passed = len(points.passed) + 1
        else:
            assert crash_at == passed
            assert crash_at > 8
        run(work(world))
        check(world)
        crash_at += 1


@pytest.mark.parametrize("kind", KINDS)
def test_other_files_and_other_columns_after_a_death_leave_nothing_of_it(tmp_path: Path, kind: str) -> None:
    world = filled(tmp_path, kind)
    with pytest.raises(Crash):
        run(work(world, points=Points(6)))
    assert len(files(world)) == 1
    world.put(9, trades(5001, 50, boot="b9"))
    run(work(world, cols=("exchange", "symbol", "hour")))
    check(world)


def test_a_unit_whose_files_changed_is_written_anew_and_the_others_are_not(world: World) -> None:
    before = run(work(world))
    world.put(9, trades(5001, 50, boot="b9"))
    after = run(work(world))
    check(world)
    assert [record.rows for record in after] == [350, 100]
    assert before[1] == after[1]
    assert before[0].outputs[0].name != after[0].outputs[0].name


def test_a_merge_of_the_source_changes_no_row(world: World) -> None:
    run(work(world))
    world.compactor().compact(PARTITION)
    run(work(world))
    check(world)


def test_an_output_that_was_removed_is_written_again(world: World) -> None:
    record, _ = run(work(world))
    (world.folder / "out" / record.outputs[0].name).unlink()
    assert [planned.stands for planned in work(world).plan().units] == [False, True]
    run(work(world))
    check(world)


@pytest.mark.parametrize("foreign", ["torn", "strange", "returned"])
def test_a_unit_with_a_file_that_is_not_ours_is_refused_and_the_others_are_not(world: World, foreign: str) -> None:
    table = trades(1, 3)
    path = world.place / "part_foreign.parquet"
    if foreign == "torn":
        path.write_bytes(b"torn")
    else:
        said = {"fluxforge.dataset": "trades", "fluxforge.repartitioned": TARGET} if foreign == "returned" else {}
        pq.write_table(table.replace_schema_metadata(said), path)
    doing = work(world)
    refused, other = doing.plan().units
    with pytest.raises(UnitRefusedError, match=r"trades exchange=binance/date=2025-12-09: .*part_foreign.parquet: "):
        doing.run(refused)
    with pytest.raises(UnitRefusedError):
        doing.preview(refused)
    assert doing.run(other).rows == doing.preview(other) == 100
    assert len(files(world)) == 1


def test_a_file_outside_of_any_dataset_is_named(world: World) -> None:
    (world.folder / "out" / "processed" / "mine.parquet").write_bytes(b"mine")
    (world.place / "older").mkdir()
    (world.place / "older" / "part.parquet").write_bytes(b"mine")
    plan = work(world).plan()
    assert plan.strangers == ("processed/mine.parquet", f"{PARTITION}/older/part.parquet")
    assert len(plan.units) == 2


def test_what_others_have_in_the_target_stays(world: World) -> None:
    name = world.put(9, trades(9001, 5), partition=PARTITION.replace("processed", TARGET))
    before = contents(world, TARGET)
    run(work(world))
    run(work(world))
    after = contents(world, TARGET)
    assert any(name in path for path in before)
    assert {path: after[path] for path in before} == before
    check(world)


def test_files_of_other_versions_do_not_become_one(world: World) -> None:
    table = trades(7001, 5)
    said = {"fluxforge.dataset": "trades", "fluxforge.schema_version": "4"}
    pq.write_table(table.replace_schema_metadata(said), world.place / "part_newer.parquet")
    world.expected.update(map(str, table.to_pylist()))
    record, _ = run(work(world))
    check(world)
    versions = {
        pq.read_metadata(world.folder / "out" / file.name).metadata[b"fluxforge.schema_version"]
        for file in record.outputs
    }
    assert versions == {b"3", b"4"}


def test_rows_that_get_lost_or_astray_are_noticed_and_nothing_is_placed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = spread._split

    def losing(table: pa.Table, sheet: spread.Sheet) -> Iterator[tuple[str, pa.Table]]:
        yield from ((path, piece.slice(1) if piece.num_rows > 50 else piece) for path, piece in real(table, sheet))

    def astray(table: pa.Table, sheet: spread.Sheet) -> Iterator[tuple[str, pa.Table]]:
        yield from ((path.replace("-09", "-08"), piece) for path, piece in real(table, sheet))

    for wrong, said in ((losing, "rows were read; what was written"), (astray, "written there that are of another")):
        with monkeypatch.context() as patched:
            patched.setattr(spread, "_split", wrong)
            with pytest.raises(RowsDifferError, match=said):
                run(work(world))
        assert files(world) == []
        assert list(world.output.keys("journal")) == []
    run(work(world))
    check(world)


def test_a_merge_of_the_source_meanwhile_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = filled(tmp_path, "local")
    real = Looker.open
    merges = iter([1])

    def open_late(self: Looker, partition: str, file: Candidate, *, coded: bool = False) -> pq.ParquetFile:
        if next(merges, None):
            assert len(world.compactor().compact(PARTITION).merges) == 1
        return real(self, partition, file, coded=coded)

    monkeypatch.setattr(Looker, "open", open_late)
    record, _ = run(work(world))
    assert [Path(file.name).name.split("_")[0] for file in record.inputs] == ["merged", "part"]
    check(world)


def test_a_source_that_never_rests_is_given_up_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = filled(tmp_path, "local")

    def gone(_: Looker, partition: str, file: Candidate) -> pq.ParquetFile:
        raise PartitionChangedError(partition, f"{file.name} is gone")

    monkeypatch.setattr(Looker, "open", gone)
    with pytest.raises(PartitionChangedError, match=r"date=2025-12-09.*changed 3 times"):
        run(work(world))
    assert files(world) == []


def test_a_dataset_stands_in_a_root_by_one_set_of_columns_and_of_one_source(world: World) -> None:
    run(work(world))
    with pytest.raises(UsageError, match=r"'by_day' holds ccxt/trades of 'processed' by exchange,date; .*by symbol"):
        work(world, cols=("symbol",)).plan()
    world.put(1, trades(1, 5), partition=PARTITION.replace("processed", "other"), placed=False)
    with pytest.raises(UsageError, match="expected the same again, was 'other' by exchange,date"):
        work(world, prefix="other").plan()
    assert len(work(world, prefix=DATASET).plan().units) == 2


def test_rows_are_not_brought_back_to_where_they_stand_already(world: World) -> None:
    run(work(world))
    with pytest.raises(UnitRefusedError, match="its rows are from 'processed'"):
        run(work(world, prefix=TARGET, target="processed"))
    run(work(world, prefix=TARGET, target="by_market", cols=("symbol",)))
    assert rows(world, "by_market") == world.expected


def test_what_was_merged_in_the_target_since_is_not_written_beside_it(world: World) -> None:
    record, _ = run(work(world))
    partition, _, name = record.outputs[0].name.rpartition("/")
    claim = Claim(partition, 1, "t", (File(name, 300, 1),), (File("merged_t_1.parquet", 300, 1),), 1, "test")
    journals = Journals(world.output)
    assert journals.claim(claim)
    journals.settle(claim, Settlement(merged=True, created_ns=1))
    world.output.delete(record.outputs[0].name)
    assert [planned.stands for planned in work(world).plan().units] == [True, True]
    world.put(9, trades(5001, 50, boot="b9"))
    with pytest.raises(UnitRefusedError, match=r"merged or edited since; choose a new root"):
        run(work(world))


def test_a_record_is_no_claim_and_no_file(world: World) -> None:
    record, _ = run(work(world))
    (key, _) = world.output.keys("journal")
    assert key.startswith("journal/by_day/repartitioned/")
    assert Record.from_json(world.output.read(key), what=key) in run(work(world))
    assert sorted(live_keys(world.output, TARGET, follows_journal=True)) == files(world)
    partition = record.outputs[0].name.rpartition("/")[0]
    assert Journals(world.output).entries(partition) == Journals(world.output).entries(f"{TARGET}/repartitioned") == []


def test_readers_read_the_new_root_as_any_other(tmp_path: Path) -> None:
    world = filled(tmp_path, "local")
    run(work(world))
    datasets = Datasets.at(tmp_path / "out", processed_dir=TARGET)
    assert datasets.ls() == [("ccxt", "trades")]
    assert datasets.stat("trades")[0].rows == 400
    assert datasets.scan("trades", symbol="ETH/USDT", start="2025-12-09", end="2025-12-10").collect().height == 100


def test_two_at_once_do_not_work_on_the_same_root(world: World) -> None:
    with work(world).alone(), pytest.raises(ConflictError, match="another process is at work on 'by_day'"):
        run(work(world))


def test_what_a_killed_run_left_in_scratch_is_removed(world: World) -> None:
    scratch = world.folder / "scratch"
    folder = Bench.of(world.output, scratch, TARGET).folder if world.kind == "local" else scratch / "bench"
    left = folder / "part_left.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    run(work(world))
    assert not left.exists()
    check(world)


def test_many_files_that_overlap_are_merged_in_stages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10, 40):
        world.put(number, of(trades(1, 40, boot=f"b{number}", step_s=7.0), f"M{number}"), partition=PARTITION)
    monkeypatch.setattr(staged, "HELD_BYTES_MAX", 2 * 2**20)
    run(work(world))
    check(world)
