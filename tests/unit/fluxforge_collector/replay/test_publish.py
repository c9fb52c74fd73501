from pathlib import Path
from typing import Any

import pytest

from fluxforge.domain.errors import UsageError
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge_collector.replay.publish import feeds_of
from fluxforge_collector.replay.segments import open_segments


def test_segments_of_the_same_source_and_such_of_nothing_are_not_replayed_to_the_bus(tmp_path: Path) -> None:
    writer = RecordWriter(Feed("ccxt", "kraken", "trades", "BTC/USD"), "b")
    stamp: dict[str, Any] = {"conn": 1, "capture_ns": 10**18, "exchange_ms": None, "data": b"[]"}
    (tmp_path / "a").write_bytes(writer.line(seq=1, **stamp))
    segments = open_segments([tmp_path / "a"])
    with pytest.raises(UsageError, match="--source ccxt: the segments are of that source"):
        feeds_of(segments, "ccxt")
    control = RecordWriter(Feed("ccxt", "kraken", "control", None), "b").line(seq=1, **stamp)
    (tmp_path / "c").write_bytes(control)
    with pytest.raises(UsageError, match="nothing but control records"):
        feeds_of(open_segments([tmp_path / "c"]), "replay")
