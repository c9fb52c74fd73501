"""Merging and tallying: the same rows, in order, whatever the files and the slices."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from fluxforge.dataset.rewrite.merge import Sorted, in_order, merged
from fluxforge.dataset.rewrite.tally import Tally

KEYS = ("boot", "seq", "idx")
ORDER = ["ts", "capture_ns", "seq", "idx", "symbol"]
Row = tuple[int, int, str]

rows = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from(["a", "b"])), max_size=40, unique=True)


def table(found: Sequence[Row]) -> pa.Table:
    """Return rows of (moment, seq, boot) as a dataset has them, in order."""
    made = pa.table(
        {
            "ts": pa.array([moment for moment, _, _ in found], pa.timestamp("us", "UTC")),
            "capture_ns": pa.array([moment * 1000 + seq for moment, seq, _ in found], pa.int64()),
            "symbol": pa.array([f"S{seq % 2}" for _, seq, _ in found], pa.string()),
            "boot": pa.array([boot for _, _, boot in found], pa.string()),
            "seq": pa.array([moment * 10 + seq for moment, seq, _ in found], pa.int64()),
            "idx": pa.array([0] * len(found), pa.int32()),
            "levels": pa.array([[float(seq)] * (seq % 3) for _, seq, _ in found], pa.list_(pa.float64())),
        }
    )
    symbols = made.column("symbol").combine_chunks().dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string()))
    return in_order(made.set_column(2, "symbol", symbols))


def file(found: Sequence[Row], group_rows: int = 3) -> Sorted:
    body = io.BytesIO()
    pq.write_table(table(found), body, row_group_size=group_rows)
    return Sorted("part", min(moment for moment, _, _ in found), lambda: pq.ParquetFile(body))


def tally(tables: Sequence[pa.Table]) -> Tally:
    made = Tally(KEYS)
    for each in tables:
        made.add(each)
    return made


@given(
    found=rows, shares=st.lists(st.integers(0, 3), min_size=40, max_size=40), group_rows=st.sampled_from([1, 2, 5, 100])
)
def test_the_rows_are_those_of_the_files_in_order(found: list[Row], shares: list[int], group_rows: int) -> None:
    files = [[row for row, share in zip(found, shares, strict=False) if share == each] for each in range(4)]
    slices = list(merged([file(each, group_rows) for each in files if each]))
    whole = pa.concat_tables([table([]), *slices]).unify_dictionaries()
    times = whole.column("ts").cast(pa.int64()).to_pylist()
    assert times == sorted(times)
    assert sorted(map(str, whole.to_pylist())) == sorted(map(str, table(found).to_pylist()))
    assert whole.select(ORDER).to_pylist() == in_order(whole).select(ORDER).to_pylist()
    assert tally(slices).agrees(tally([table(each) for each in files]))
    assert tally(slices).repeated == 0


@given(found=rows.filter(bool), data=st.data())
def test_a_tally_tells_what_is_missing_added_or_changed(found: list[Row], data: st.DataObject) -> None:
    before = tally([table(found)])
    at = data.draw(st.integers(0, len(found) - 1))
    without = [*found[:at], *found[at + 1 :]]
    moment, seq, boot = found[at]
    assert not tally([table(without)]).agrees(before)
    assert not tally([table([*found, found[at]])]).agrees(before)
    assert not tally([table([*without, (moment + 100, seq, boot)])]).agrees(before)
    assert tally([table([*found, found[at]])]).repeated == 1


def test_files_that_follow_one_another_are_opened_one_by_one_and_pass_as_they_are() -> None:
    opened: list[int] = []

    def noted(whole: Sorted) -> Sorted:
        def open_it() -> pq.ParquetFile:
            opened.append(whole.first_us)
            return whole.open()

        return Sorted(whole.key, whole.first_us, open_it)

    files = [noted(file([(moment, 1, "a") for moment in range(first, first + 4)], 2)) for first in (8, 0, 4)]
    slices = merged(files)
    assert next(slices).num_rows <= 2
    assert opened in ([0], [0, 4]), "the next one is opened beside"
    assert sum(each.num_rows for each in slices) + 2 >= 12
    assert opened == [0, 4, 8]
