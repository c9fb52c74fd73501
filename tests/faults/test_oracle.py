"""The judge itself: it sees what is missing, twice, out of order or another record, and what a hole names."""

from pathlib import Path

import polars as pl

from tests.faults.load import Produced
from tests.faults.oracle import Verdict, judged
from tests.faults.table import BEGIN, END, FaultTable

Seqs = list[tuple[int, float, int]]
"""(seq, the number it carries, capture_ns)."""


def verdict(root: Path, rows: Seqs, made: int, *holes: tuple[str, int, int | None, int | None, int | None]) -> Verdict:
    """Judge a ticker feed of these rows, of which so many records were made 10 ns apart."""
    keys = {"exchange": "x", "symbol": "A-B", "boot": "b"}
    put(root / "ticker", [{**keys, "seq": seq, "last": number, "capture_ns": at_ns} for seq, number, at_ns in rows])
    names = ("event", "from_ns", "to_ns", "first_seq", "last_seq")
    put(
        root / "coverage",
        [{**keys, "channel": "ticker", **dict(zip(names, hole, strict=True))} for hole in holes],
    )
    return judged(root, {("x", "b", "ticker", "A-B"): Produced(made, made * 10)}, ("x",))


def put(folder: Path, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    if rows:
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(folder / "part.parquet")


def whole(*seqs: int) -> Seqs:
    return [(seq, float(seq), seq * 10) for seq in seqs]


def test_a_whole_feed_is_whole(tmp_path: Path) -> None:
    assert verdict(tmp_path, whole(1, 2, 3), 3).is_whole


def test_a_record_that_is_missing_is_lost_and_unexplained(tmp_path: Path) -> None:
    found = verdict(tmp_path, whole(1, 3), 3)
    assert (found.lost, found.unexplained, found.is_explained) == (1, 1, False)


def test_the_end_that_is_missing_is_lost(tmp_path: Path) -> None:
    assert verdict(tmp_path, whole(1, 2), 4).unexplained == 2


def test_a_feed_of_which_nothing_is_stored_is_lost(tmp_path: Path) -> None:
    assert verdict(tmp_path, [], 4).unexplained == 4


def test_seqs_a_hole_names_are_explained_and_others_are_not(tmp_path: Path) -> None:
    found = verdict(tmp_path, whole(1, 4, 6), 6, ("dropped", 0, 0, 2, 3))
    assert (found.lost, found.unexplained) == (3, 1)


def test_a_crash_explains_the_end_of_a_life_and_nothing_before_it(tmp_path: Path) -> None:
    found = verdict(tmp_path, whole(1, 3), 5, ("crash", 30, 60, None, None))
    assert (found.lost, found.unexplained) == (3, 1)


def test_a_crash_that_ends_too_soon_explains_nothing(tmp_path: Path) -> None:
    assert verdict(tmp_path, whole(1, 2, 3), 5, ("crash", 30, 40, None, None)).unexplained == 2


def test_a_row_that_stands_twice_is_duplicated(tmp_path: Path) -> None:
    found = verdict(tmp_path, [*whole(1, 2), (2, 2.0, 20)], 2)
    assert (found.duplicated, found.is_explained) == (1, False)


def test_records_out_of_order_are_seen(tmp_path: Path) -> None:
    assert verdict(tmp_path, [(1, 1.0, 20), (2, 2.0, 10)], 2).disordered == 1


def test_a_record_that_is_another_is_seen(tmp_path: Path) -> None:
    assert verdict(tmp_path, [(1, 1.0, 10), (2, 3.0, 20)], 2).misnumbered == 1


def test_a_verdict_gives_its_row_of_the_table() -> None:
    table = FaultTable()
    table.judged("each", Verdict(lost=3, duplicated=2, unexplained=1), [0.5, 1.5])
    table.judged("once", Verdict(), [0.5], runs=7)
    assert table.lines()[2:] == ["| each | 2 | 3 | 2 | 1 | 1.00 s / 1.49 s |", "| once | 7 | 0 | 0 | 0 | 0.50 s |"]


def test_the_table_replaces_what_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    table = FaultTable()
    table.add(fault="kill", runs=1_000, recoveries_s=[1.0, 3.0])
    table.write(page, command="make faults", seed=7)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n`make faults`, seed 7, ")
    assert "| kill | 1,000 | 0 | 0 | 0 | 2.00 s / 2.98 s |" in text
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
