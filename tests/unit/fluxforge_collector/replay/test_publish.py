from pathlib import Path
from typing import Any

import pytest

from fluxforge.domain.control import FeedKey
from fluxforge.domain.errors import UsageError
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge_collector.replay.publish import ReplaySource, feeds_of
from fluxforge_collector.replay.segments import open_segments
from tests.unit.fluxforge_collector.made import BOOK, TRADES, Desk


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


async def test_a_gap_is_told_of_the_feeds_alone_with_which_another_process_went_on(tmp_path: Path) -> None:
    """Ingested files stand side by side in a lane, each as a boot of its own."""
    lines = []
    for seq, (feed, boot) in enumerate([(BOOK, "a"), (TRADES, "b"), (BOOK, "a"), (TRADES, "b"), (BOOK, "c")], start=1):
        line = RecordWriter(feed, boot).line
        lines.append(line(seq=seq, conn=1, capture_ns=10**18 + seq, exchange_ms=None, data=b"[]"))
    (tmp_path / "a").write_bytes(b"".join(lines))
    segments = open_segments([tmp_path / "a"])
    feeds = feeds_of(segments, "replay")
    desk = Desk(feeds=tuple(feeds.values()))
    await ReplaySource(segments, feeds, speed=0, ended=lambda: None).run(desk.writer)
    (gap,) = [line for line in desk.lines() if line.event == "gap"]
    assert gap.control.concerned() == (FeedKey("orderbook", "BTC-USDT"),)
    assert gap.control.reason == "another process went on with the capture"
