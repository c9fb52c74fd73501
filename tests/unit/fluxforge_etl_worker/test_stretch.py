"""When a stretch is settled before more is read: its memory is bounded, whatever the books are like."""

import pytest

from fluxforge_etl_worker import stretch
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.read import SegmentReader
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    MS,
    T0,
    Dataset,
    Recording,
    S,
    forged,
    options,
    rows_of,
)


def test_small_books_fill_a_stretch_though_few_of_them_may_be_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "_UPDATES_MAX", 9)
    recording = Recording()
    for number in range(10):
        recording.book(T0 + number * MS + 1, [[100, 1]], [[101, 1]])
    reader, held = SegmentReader(LANE), stretch.Stretch(hf_interval_ns=S)
    found = []
    for line in recording.lines:
        for lines in line_slices([line]):
            reader.read(lines)
        held.add(reader.take())
        found.append(held.is_full)
    assert found == [False] * 9 + [True]


@pytest.mark.parametrize("interval_ns", [0, S])
def test_records_of_one_time_are_of_one_stretch(monkeypatch: pytest.MonkeyPatch, interval_ns: int) -> None:
    """Other recorders' files hold several records of one time; a slice may end between them."""
    recording = Recording()
    for second in range(6):
        for size in (1.0, 2.0, 3.0):
            recording.book(T0 + second * S, [[100.0, size]], ASKS)
        recording.book(T0 + second * S + MS, BIDS, ASKS)
    chosen = options(hf_interval_ns=interval_ns)
    whole = forged(recording.body, chosen)
    monkeypatch.setattr(stretch, "_CELLS_MAX", 0)
    pieces = forged(recording.body, chosen, chunk_bytes=100)
    for dataset in (Dataset.HF, Dataset.BARS):
        assert rows_of(pieces, dataset) == rows_of(whole, dataset)
    assert len(rows_of(whole, Dataset.HF)) == (24 if interval_ns == 0 else 7)
