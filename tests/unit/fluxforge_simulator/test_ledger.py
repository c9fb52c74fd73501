import hashlib
from pathlib import Path

import orjson
import pytest

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Channel, Frame, Kind
from fluxforge_simulator.ledger import Ledger


def test_a_line_says_what_was_sent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    ledger = Ledger(path)
    frame = Frame(b"{}", Kind.DATA, Channel.TRADES, "A/B", (1,), fault="duplicate")
    ledger.enter(frame, conn=3, exchange="binance", sent_ns=9)
    ledger.enter(Frame(b"", Kind.REST), conn=0, exchange="kraken", sent_ns=10)
    ledger.close()
    first, second = (orjson.loads(line) for line in path.read_bytes().splitlines())
    assert first == {
        "n": 1,
        "conn": 3,
        "exchange": "binance",
        "channel": "trades",
        "symbol": "A/B",
        "kind": "data",
        "key": [1],
        "bytes": 2,
        "sha256": hashlib.sha256(b"{}").hexdigest(),
        "sent_ns": 9,
        "fault": "duplicate",
    }
    assert (second["n"], second["channel"], second["symbol"], second["key"], second["fault"]) == (
        2,
        None,
        None,
        [],
        None,
    )


def test_lines_reach_the_file_before_the_end_when_there_are_many(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    ledger = Ledger(path)
    for number in range(2000):
        ledger.enter(Frame(b"%d" % number, Kind.DATA), conn=1, exchange="binance", sent_ns=number)
    assert path.stat().st_size > 200_000
    ledger.close()
    assert len(path.read_bytes().splitlines()) == 2000


def test_without_a_path_it_counts_all_the_same() -> None:
    ledger = Ledger(None)
    ledger.enter(Frame(b"", Kind.SKIPPED, "books", "A/B"), conn=1, exchange="okx", sent_ns=0)
    ledger.close()
    assert ledger.counts == {("skipped", "books", "A/B"): 1}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"absent/ledger: expected a file that can be written"):
        Ledger(tmp_path / "absent" / "ledger")
