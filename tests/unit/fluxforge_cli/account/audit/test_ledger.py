import duckdb

from fluxforge_cli.account.audit.ledger import read_holes
from fluxforge_cli.account.audit.sent import FeedHole

BOOK = ("kraken", "orderbook", "BTC-USD")


def test_holes_last_from_their_first_word_until_the_feed_is_sound() -> None:
    database = duckdb.connect()
    database.execute(
        "CREATE TABLE all_coverage (exchange VARCHAR, channel VARCHAR, symbol VARCHAR, hole VARCHAR, event VARCHAR, "
        "from_ns BIGINT, to_ns BIGINT, boot VARCHAR, seq BIGINT, source VARCHAR DEFAULT 'ccxt')"
    )
    rows = [
        (*BOOK, "b1:1", "started", 10, None, "b1", 1),
        (*BOOK, "b1:1", "resynced", 10, 15, "b1", 2),
        (*BOOK, None, "connected", 11, None, "b1", 3),
        (*BOOK, "b1:2", "disconnected", 20, None, "b1", 4),
        (*BOOK, "b2:1", "started", 40, None, "b2", 1),
        (*BOOK, "b2:1", "crash", 30, 40, "b2", 1),
        (*BOOK, "b2:1", "resynced", 40, 45, "b2", 2),
        (*BOOK, None, "stopped", 60, None, "b2", 3),
        (BOOK[0], "*", "*", "s:1", "lost", 50, 52, "s", 1),
        ("binance", *BOOK[1:], "b9:1", "gap", 1, 2, "b9", 1),
    ]
    database.executemany("INSERT INTO all_coverage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, DEFAULT)", rows)
    of_leg_b = [(*row, "ccxt.b") for row in [(*BOOK, "b2:1", "gap", 60, 61, "b2", 1)]]
    database.executemany("INSERT INTO all_coverage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", of_leg_b)
    (holes,) = read_holes(database, [BOOK]).values()
    assert set(holes) == {
        FeedHole("started", 10, 15),
        FeedHole("disconnected", 20, 45),
        FeedHole("crash", 30, 45),
        FeedHole("lost", 50, 52),
        FeedHole("stopped", 60, 1 << 62),
    }
    assert [hole.event for hole in holes][:3] == ["crash", "lost", "disconnected"]
