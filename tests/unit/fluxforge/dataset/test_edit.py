"""Edits of a partition: what is deleted or corrected, what a reader sees meanwhile, and what a death leaves."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from fluxforge.adapters import local_partitions
from fluxforge.dataset.corrections import Corrections
from fluxforge.dataset.edit import Edited, Editor, EditRefusedError
from fluxforge.domain.errors import FileUnreadableError, UsageError
from fluxforge.runtime.journals import Journals
from fluxforge_etl_worker.schemas import TRADES
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

CHEAP = pl.col("price") < 60_025


@pytest.fixture(params=KINDS)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return filled(tmp_path, request.param)


def filled(folder: Path, kind: str) -> World:
    """Three parts of twenty trades each, of seqs 1 to 60; the price of seq n is 60000 + n / 2."""
    made = World(folder, kind)
    for number, first in enumerate((1, 21, 41), 1):
        made.put(number, trades(first, 20))
    return made


def seqs(world: World) -> list[int]:
    """Return the seqs a reader sees, in order."""
    tables = [pq.ParquetFile(world.place / name).read(columns=["seq"]) for name in world.names()]
    return sorted(seq for table in tables for seq in table.column("seq").to_pylist())


def correction(first: int, rows: int, price: float) -> Corrections:
    """Return corrections of the price of trades from a seq on."""
    frame = pl.from_arrow(trades(first, rows))
    assert isinstance(frame, pl.DataFrame)
    names = ["exchange", "symbol", "market", "boot", "seq", "idx", "ts", "capture_ns"]
    return Corrections.of(frame.select(names).with_columns(price=pl.lit(price)), "trades", TRADES)


def prices(world: World) -> dict[int, float]:
    tables = [pq.ParquetFile(world.place / name).read(columns=["seq", "price"]) for name in world.names()]
    return {row["seq"]: row["price"] for table in tables for row in table.to_pylist()}


def test_rows_of_a_condition_go_and_the_journal_says_why(world: World) -> None:
    edited = Editor(world.rewriter()).delete(PARTITION, CHEAP, reason="delete: cheap")
    assert edited == Edited(PARTITION, files=3, deleted=49)
    assert seqs(world) == list(range(50, 61))
    (entry,) = Journals(world.output).entries(PARTITION)
    assert (entry.claim.reason, entry.is_merged) == ("delete: cheap", True)
    assert [file.rows for file in entry.claim.parents] == [20, 20, 20]
    assert entry.claim.rows == 11


def test_a_file_that_is_not_concerned_is_not_rewritten(world: World) -> None:
    before = world.names()
    edited = Editor(world.rewriter()).delete(PARTITION, pl.col("seq") == 5, reason="delete")
    assert (edited.files, edited.deleted) == (1, 1)
    assert set(before[1:]) < set(world.names())
    assert seqs(world) == [*range(1, 5), *range(6, 61)]


def test_a_null_is_no_reason_to_go(world: World) -> None:
    assert Editor(world.rewriter()).delete(PARTITION, pl.col("trade_id") == "7", reason="delete").deleted == 0
    assert seqs(world) == list(range(1, 61))
    assert Journals(world.output).entries(PARTITION) == []


def test_a_dry_run_counts_and_changes_nothing(world: World) -> None:
    editor = Editor(world.rewriter())
    assert editor.delete(PARTITION, CHEAP, reason="delete", dry_run=True).deleted == 49
    assert editor.delete(PARTITION, None, reason="delete", dry_run=True).deleted == 60
    assert editor.upsert(PARTITION, correction(60, 3, 1.0), reason="upsert", dry_run=True).corrected == 1
    assert seqs(world) == list(range(1, 61))
    assert world.leftovers() == []


def test_all_rows_go_unread_and_what_they_were_goes_after_the_grace(world: World) -> None:
    (world.place / world.names()[0]).touch()
    assert Editor(world.rewriter()).delete(PARTITION, None, reason="delete") == Edited(PARTITION, 3, deleted=60)
    assert not world.place.exists() or seqs(world) == []
    world.clock.advance(GRACE_S * S_NS)
    world.compactor().compact(PARTITION)
    assert world.leftovers() == []
    assert not world.place.exists() or list(world.place.iterdir()) == []
    world.put(4, trades(61, 5))
    assert seqs(world) == list(range(61, 66))


def test_rows_are_corrected_by_key_and_others_are_added(world: World) -> None:
    edited = Editor(world.rewriter()).upsert(PARTITION, correction(59, 4, 1.5), reason="upsert")
    assert edited == Edited(PARTITION, files=1, corrected=2, added=2)
    found = prices(world)
    assert {seq: found[seq] for seq in (58, 59, 60, 61, 62)} == {58: 60029.0, 59: 1.5, 60: 1.5, 61: 1.5, 62: 1.5}
    assert len(found) == 62
    (name,) = (name for name in world.names() if name.startswith("merged_"))
    table = pq.ParquetFile(world.place / name).read()
    assert table.schema.remove_metadata() == TRADES
    assert table.column("capture_ns").to_pylist() == sorted(table.column("capture_ns").to_pylist())
    assert set(table.column("side").to_pylist()) == {"buy", None}  # not given, so it stays, or is not known


def test_rows_that_are_as_they_are_to_be_change_nothing(world: World) -> None:
    before = world.names()
    editor = Editor(world.rewriter())
    rows = pl.concat(
        pl.from_arrow(pq.ParquetFile(world.place / name).read())  # type: ignore[misc] # a frame
        for name in before
    )
    assert editor.upsert(PARTITION, Corrections.of(rows, "trades", TRADES), reason="upsert") == Edited(PARTITION)
    assert Journals(world.output).entries(PARTITION) == []
    one = rows.with_columns(price=pl.when(pl.col("seq") == 30).then(None).otherwise("price"))
    edited = editor.upsert(PARTITION, Corrections.of(one, "trades", TRADES), reason="upsert")
    assert edited == Edited(PARTITION, files=1, corrected=1)
    assert {before[0], before[2]} < set(world.names())
    assert prices(world)[30] is None


def test_rows_that_are_only_added_join_the_smallest_file(world: World) -> None:
    assert Editor(world.rewriter()).upsert(PARTITION, correction(100, 1, 2.0), reason="upsert").added == 1
    assert prices(world)[100] == 2.0
    assert len(world.names()) == 3


def test_what_was_edited_is_merged_like_any_other(world: World) -> None:
    Editor(world.rewriter()).delete(PARTITION, pl.col("seq") == 5, reason="delete")
    (merge,) = world.compactor().compact(PARTITION).merges
    assert len(merge.parents) == 3
    assert seqs(world) == [*range(1, 5), *range(6, 61)]


def test_a_part_that_is_not_placed_stops_it(world: World) -> None:
    name = world.put(7, trades(100, 5), placed=False)
    with pytest.raises(EditRefusedError, match=f"1 parts wait until their segments are placed, such as {name}"):
        Editor(world.rewriter()).delete(PARTITION, None, reason="delete")
    assert len(seqs(world)) == 65


def test_a_compactor_at_work_stops_it(world: World) -> None:
    with world.rewriter().alone(PARTITION), pytest.raises(EditRefusedError, match="is at work on it"):
        Editor(world.rewriter()).delete(PARTITION, None, reason="delete")


def test_a_foreign_file_stays_and_is_named(world: World) -> None:
    (world.place / "notes.txt").write_text("mine")
    edited = Editor(world.rewriter()).delete(PARTITION, pl.col("seq") > 0, reason="delete")
    assert [left.name for left in edited.left] == ["notes.txt"]
    assert (world.place / "notes.txt").read_text() == "mine"


def test_a_damaged_file_stops_it_and_nothing_changes(world: World) -> None:
    path = world.place / world.names()[1]
    body = bytearray(path.read_bytes())
    body[8:200] = bytes(192)
    path.write_bytes(body)
    with pytest.raises(FileUnreadableError, match=path.name):
        Editor(world.rewriter()).delete(PARTITION, pl.col("exchange") == "binance", reason="delete")
    assert len(world.names()) == 3
    assert Journals(world.output).entries(PARTITION) == []


def test_a_correction_may_not_move_a_row(world: World) -> None:
    frame = pl.from_arrow(trades(5, 1))
    assert isinstance(frame, pl.DataFrame)
    moved = Corrections.of(frame.with_columns(pl.col("capture_ns") + 1), "trades", TRADES)
    with pytest.raises(UsageError, match="capture_ns tells where a row stands"):
        Editor(world.rewriter()).upsert(PARTITION, moved, reason="upsert")


def test_a_key_that_means_several_rows_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, "local")
    for number in (1, 2):
        world.put(number, trades(1, 5))
    with pytest.raises(UsageError, match="1 keys mean more than one row each"):
        Editor(world.rewriter()).upsert(PARTITION, correction(3, 1, 1.0), reason="upsert")


def drop(editor: Editor) -> object:
    return editor.delete(PARTITION, CHEAP, reason="delete")


def drop_all(editor: Editor) -> object:
    return editor.delete(PARTITION, None, reason="delete")


def correct(editor: Editor) -> object:
    return editor.upsert(PARTITION, correction(19, 50, 1.0), reason="upsert")


@pytest.mark.parametrize("edit", [drop, drop_all, correct])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_sees_the_rows_before_or_after_whenever_the_editor_dies(
    tmp_path: Path, kind: str, edit: Callable[[Editor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = filled(tmp_path / "whole", kind)
    before = whole.rows()
    edit(Editor(whole.rewriter()))
    after = rows(whole)
    assert before != after
    passed, crash_at = 1, 0
    while crash_at <= passed:
        world = filled(tmp_path / str(crash_at), kind)
        points = Points(crash_at or None, partial(check, world, before, after))
        with monkeypatch.context() as patched:
            patched.setattr(local_partitions, "exchange", watched_exchange(points))
            try:
                edit(Editor(world.rewriter(points)))
                assert rows(world) == after
            except Crash:
                check(world, before, after)
        passed = passed if crash_at else len(points.passed)
        assert passed >= 4
        settle(world)
        check(world, before, after)
        crash_at += 1


def rows(world: World) -> Counter[str]:
    return world.rows() if world.place.exists() else Counter()


def check(world: World, before: Counter[str], after: Counter[str]) -> None:
    assert rows(world) in [before, after]


def settle(world: World) -> None:
    """Let the compactor put right what was left; nothing that nobody reads stays."""
    for _ in range(4):
        world.compactor().compact(PARTITION)
        world.clock.advance(1000 * S_NS)
    assert world.leftovers() == []
    standing = sorted(path.name for path in world.place.iterdir()) if world.place.exists() else []
    assert standing == (world.names() if standing else [])
