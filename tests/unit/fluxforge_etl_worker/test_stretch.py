"""When a stretch is settled before more is read: its memory is bounded, whatever the books are like."""

import pytest

from fluxforge_etl_worker import stretch
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.read import SegmentReader
from tests.unit.fluxforge_etl_worker.samples import LANE, MS, T0, Recording, S


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
