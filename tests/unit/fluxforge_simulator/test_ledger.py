import hashlib
from pathlib import Path

import orjson
import pytest

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.frame import Channel, Kind
from fluxforge_simulator.ledger import Ledger


def test_a_line_says_what_was_sent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    ledger = Ledger(path)
    ledger.enter(
        conn=3,
        exchange="binance",
        kind=Kind.DATA,
        payload=b"{}",
        sent_ns=9,
        channel=Channel.TRADES,
        symbol="A/B",
        key=(1,),
    )
    ledger.enter(conn=0, exchange="kraken", kind=Kind.REST, payload=b"", sent_ns=10)
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
    }
    assert (second["n"], second["channel"], second["symbol"], second["key"]) == (2, None, None, [])


def test_lines_reach_the_file_before_the_end_when_there_are_many(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    ledger = Ledger(path)
    for number in range(2000):
        ledger.enter(conn=1, exchange="binance", kind=Kind.DATA, payload=b"%d" % number, sent_ns=number)
    assert path.stat().st_size > 200_000
    ledger.close()
    assert len(path.read_bytes().splitlines()) == 2000


def test_without_a_path_it_counts_all_the_same() -> None:
    ledger = Ledger(None)
    ledger.enter(conn=1, exchange="okx", kind=Kind.SKIPPED, payload=b"", sent_ns=0, channel="books", symbol="A/B")
    ledger.close()
    assert ledger.counts == {("skipped", "books", "A/B"): 1}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"absent/ledger: expected a file that can be written"):
        Ledger(tmp_path / "absent" / "ledger")
