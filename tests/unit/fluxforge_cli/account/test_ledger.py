import orjson

from fluxforge_cli.account.ledger import Delivery, deliveries, sent, times_sent


def line(channel: str | None, kind: str, key: list[int] | None = None, symbol: str | None = "BTC/USDT") -> bytes:
    return orjson.dumps(
        {"exchange": "binance", "channel": channel, "symbol": symbol, "kind": kind, "key": key or [], "sent_ns": 1}
    )


def entry(kind: str, channel: str | None, at_ns: int, key: tuple[object, ...] = ()) -> bytes:
    symbol = "BTC/USD" if channel else None
    return orjson.dumps(
        {"exchange": "kraken", "channel": channel, "symbol": symbol, "kind": kind, "key": key, "sent_ns": at_ns}
    )


def test_a_ledger_tells_when_frames_and_trades_were_sent() -> None:
    lines = [
        entry("data", "orderbook", 3),
        entry("rest", "orderbook", 2),
        entry("snapshot", "orderbook", 5),
        entry("ack", "orderbook", 1),
        entry("rest", "trades", 1, (9,)),
        entry("ping", None, 4),
        entry("snapshot", "trades", 6, (7, "8")),
        entry("data", "trades", 7, (8,)),
        entry("data", "bidsasks", 8),
    ]
    frames, trades = times_sent(lines)
    assert frames == {("kraken", "orderbook", "BTC-USD"): [2, 3, 5]}
    assert trades == {("kraken", "trades", "BTC-USD"): {"7": [6], "8": [6, 7]}}


def test_trades_are_counted_by_distinct_id_however_often_they_were_sent() -> None:
    ledger = [line("trades", "snapshot", [1, 2]), line("trades", "data", [2, 3]), line("trades", "data", [3])]
    assert sent(ledger) == {("binance", "trades", "BTC-USDT"): 3}


def test_books_and_tickers_are_counted_by_frame_the_rest_book_among_them() -> None:
    ledger = [
        line("orderbook", "rest"),
        line("orderbook", "data"),
        line("orderbook", "snapshot"),
        line("ticker", "data"),
    ]
    assert sent(ledger) == {("binance", "orderbook", "BTC-USDT"): 3, ("binance", "ticker", "BTC-USDT"): 1}


def test_answers_pings_and_what_was_skipped_are_not_counted() -> None:
    ledger = [
        line(None, "ack", symbol=None),
        line(None, "ping", symbol=None),
        line("trades", "skipped", [1]),
        line("ticker", "rest"),
        line("bidsasks", "data"),
    ]
    assert sent(ledger) == {}


def test_a_feed_that_one_side_lacks_counts_as_0_there() -> None:
    a, b = ("binance", "ticker", "A-B"), ("binance", "ticker", "C-D")
    assert deliveries({a: 3}, {b: 2}) == [Delivery(*a, 3, 0), Delivery(*b, 0, 2)]
