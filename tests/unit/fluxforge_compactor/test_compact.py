"""Compaction of one partition, on a disk and in an object store: the rows never change, whatever dies when."""

import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.adapters import local_partitions
from fluxforge.dataset.rewrite.output import RowsDifferError
from fluxforge.domain.journal import Settlement, is_output
from fluxforge.runtime.journals import Journals
from tests.unit.fluxforge_compactor.world import (
    GRACE_S,
    KINDS,
    PARTITION,
    S_NS,
    Crash,
    Points,
    World,
    trades,
    watched_exchange,
)


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return filled(tmp_path, request.param)


def filled(folder: Path, kind: str) -> World:
    """Return a partition of four parts; the third and the fourth overlap."""
    made = World(folder, kind)
    for number, first_seq in enumerate((1, 101, 201), start=1):
        made.put(number, trades(first_seq, 100))
    made.put(4, trades(401, 100, boot="b2", step_s=0.5))
    return made


def in_order(path: Path) -> bool:
    table = pq.ParquetFile(path).read(["ts", "capture_ns", "seq"])
    rows = list(zip(*(table.column(name).cast(pa.int64()).to_pylist() for name in table.column_names), strict=True))
    return rows == sorted(rows)


def test_parts_become_one_file_in_order_with_the_same_rows_and_columns(world: World) -> None:
    before = pq.read_schema(world.place / world.names()[0])
    result = world.compactor().compact(PARTITION)
    assert [len(merge.parents) for merge in result.merges] == [4]
    (name,) = world.names()
    assert is_output(name)
    world.check()
    assert in_order(world.place / name)
    after = pq.read_schema(world.place / name)
    assert after.remove_metadata().equals(before.remove_metadata())
    assert after.field("symbol").type == pa.dictionary(pa.int32(), pa.string())
    metadata = pq.read_metadata(world.place / name).metadata
    assert (metadata[b"fluxforge.dataset"], metadata[b"fluxforge.rows"], metadata[b"fluxforge.merged"]) == (
        b"trades",
        b"400",
        b"4",
    )
    assert b"fluxforge.segment" not in metadata


def test_a_second_run_finds_nothing_to_do_and_a_later_part_is_merged_with_what_there_is(world: World) -> None:
    compactor = world.compactor()
    compactor.compact(PARTITION)
    assert compactor.compact(PARTITION).merges == []
    world.put(9, trades(1001, 10))
    assert len(compactor.compact(PARTITION).merges[0].parents) == 2
    world.check()
    assert len(world.names()) == 1


def test_parents_are_deleted_after_their_grace_and_not_before(world: World) -> None:
    compactor = world.compactor()
    compactor.compact(PARTITION)
    hidden = world.leftovers() if world.kind == "local" else list(world.place.iterdir())
    assert len([one for one in hidden if "part_" in str(one)]) == 4
    world.clock.advance((GRACE_S - 1) * S_NS)
    compactor.compact(PARTITION)
    assert any("part_" in str(one) for one in [*world.leftovers(), *world.place.iterdir()])
    world.clock.advance(S_NS)
    compactor.compact(PARTITION)
    assert world.leftovers() == []
    assert len(list(world.place.iterdir())) == 1
    world.check()


def test_a_preview_changes_nothing(world: World) -> None:
    before = sorted((world.folder / "out").rglob("*"))
    (merge,) = world.compactor().preview(PARTITION).merges
    assert (len(merge.parents), merge.output) == (4, None)
    assert sorted(path for path in (world.folder / "out").rglob("*") if ".tmp" not in path.parts) == [
        path for path in before if ".tmp" not in path.parts
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_whole_at_every_step_and_after_a_death_at_any(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 1
    crash_at = 0  # no crash, which tells the points
    while crash_at <= passed:
        world = filled(tmp_path / str(crash_at), kind)
        points = Points(crash_at or None, world.check)
        with monkeypatch.context() as patched:
            patched.setattr(local_partitions, "exchange", watched_exchange(points))
            compactor = world.compactor(points)
            try:
                compactor.compact(PARTITION)
                world.clock.advance(GRACE_S * S_NS)
                compactor.compact(PARTITION)
            except Crash:
                world.check()
        if not crash_at:
            passed = len(points.passed)
            assert passed >= (6 if kind == "local" else 12)
        settle(world)
        crash_at += 1


def settle(world: World) -> None:
    """Let others put right what was left, after the patience that a claim and a reader are given."""
    world.put(8, trades(2001, 10))
    for _ in range(4):
        world.compactor().compact(PARTITION)
        world.check()
        world.clock.advance(1000 * S_NS)
    assert len(world.names()) == len(list(world.place.iterdir())) == 1
    assert world.leftovers() == []


def test_what_is_not_placed_for_good_is_left_until_it_is(world: World) -> None:
    name = world.put(9, trades(1001, 10), placed=False)
    result = world.compactor().compact(PARTITION)
    assert result.found is not None
    assert result.found.waiting == (name,)
    assert name in world.names()
    world.check()


def test_what_still_grows_is_left_alone(world: World) -> None:
    world.put(9, trades(3000, 10))
    result = world.compactor().compact(PARTITION)
    assert (result.quiet, result.merges) == (False, [])


def test_files_of_others_and_torn_ones_stay_and_are_named_and_the_rest_goes_on(world: World) -> None:
    torn = world.place / "part_torn.parquet"
    torn.write_bytes((world.place / world.names()[0]).read_bytes()[:500])
    (world.place / "notes.txt").write_text("mine")
    pq.write_table(pa.table({"x": [1]}), world.place / "foreign.parquet")
    result = world.compactor().compact(PARTITION)
    assert {left.name: left.reason.partition(":")[0] for left in result.left} == {
        "part_torn.parquet": "cannot be read",
        "notes.txt": "no Parquet file",
        "foreign.parquet": "not written by FluxForge",
    }
    assert len(result.merges[0].parents) == 4
    assert torn.exists()
    assert (world.place / "notes.txt").read_text() == "mine"


def test_a_key_that_stands_twice_stops_the_merge_and_changes_nothing(world: World) -> None:
    world.put(9, trades(50, 10))
    names = world.names()
    (failure,) = world.compactor().compact(PARTITION).failures
    assert isinstance(failure, RowsDifferError)
    assert "10 rows have the key exchange, market, boot, seq, idx of another" in str(failure)
    assert world.names() == names
    world.check()
    assert Journals(world.output).entries(PARTITION) == []


def test_files_of_other_recorders_number_their_records_each_by_itself(world: World) -> None:
    for number in (5, 6):
        world.put(number, trades(1, 10, boot="file"))
    assert len(world.compactor().compact(PARTITION).merges[0].parents) == 6
    world.check()


def test_two_at_once_do_not_work_on_the_same_partition(world: World) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Waiting(Points):
        def reach(self, name: str) -> None:
            if not inside.is_set() and "journal" in name:
                inside.set()
                assert go_on.wait(60)

    first = threading.Thread(target=world.compactor(Waiting()).compact, args=(PARTITION,))
    first.start()
    try:
        assert inside.wait(60)
        second = world.compactor().compact(PARTITION)
    finally:
        go_on.set()
        first.join()
    assert (second.busy, second.merges) == (True, [])
    world.check()
    assert len(world.names()) == 1


def test_a_part_that_was_taken_away_meanwhile_stops_the_merge(world: World) -> None:
    class Thief(Points):
        def reach(self, name: str) -> None:
            if name.startswith("after create journal") and not gone:
                gone.append(world.names()[0])
                (world.place / gone[0]).unlink()

    gone: list[str] = []
    result = world.compactor(Thief()).compact(PARTITION)
    assert result.merges == []
    assert len(world.names()) == 3
    world.clock.advance(GRACE_S * 2 * S_NS)
    assert len(world.compactor().compact(PARTITION).merges) == 1
    assert len(world.names()) == 1


class TestAnotherMachine:
    """In an object store nobody can lock another out: the journal decides."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return filled(tmp_path, "stored")

    def claim(self, world: World, then: Callable[[str], None]) -> None:
        """Let a compactor work up to its claim, and call `then` at each point behind it."""

        class Behind(Points):
            def reach(self, name: str) -> None:
                if any(Journals(world.output).entries(PARTITION)):
                    then(name)

        world.compactor(Behind()).compact(PARTITION)

    def test_a_claim_on_its_way_is_waited_for(self, world: World) -> None:
        seen = []

        def look(name: str) -> None:
            if name.startswith("before adopt"):
                elsewhere = world.compactor(scratch="elsewhere")
                seen.append(elsewhere.compact(PARTITION).busy)

        self.claim(world, look)
        assert seen == [True]
        world.check()
        assert len(world.names()) == 1

    def test_one_that_slept_too_long_loses_its_work_and_nothing_else(self, world: World) -> None:
        def overtake(name: str) -> None:
            if name.startswith("before adopt"):
                world.clock.advance(1000 * S_NS)
                elsewhere = world.compactor(scratch="elsewhere")
                assert len(elsewhere.compact(PARTITION).merges) == 1
                world.check()

        self.claim(world, overtake)
        entries = Journals(world.output).entries(PARTITION)
        assert [entry.is_merged for entry in entries] == [False, True]
        world.check()
        world.clock.advance(GRACE_S * S_NS)
        world.compactor().compact(PARTITION)
        world.check()
        assert len(list(world.place.iterdir())) == 1

    def test_what_is_settled_is_settled(self, world: World) -> None:
        world.compactor().compact(PARTITION)
        journals = Journals(world.output)
        (entry,) = journals.entries(PARTITION)
        assert not journals.claim(entry.claim)
        assert journals.settle(entry.claim, Settlement(merged=False, created_ns=1)).merged
        assert journals.entries(PARTITION) == [entry]


def test_a_partition_with_a_directory_in_it_is_left(tmp_path: Path) -> None:
    world = filled(tmp_path, "local")
    (world.place / "hour=14").mkdir()
    assert world.compactor().compact(PARTITION).merges == []
    world.check()
