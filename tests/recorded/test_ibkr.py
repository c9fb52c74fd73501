"""What Interactive Brokers' API told others, told again by a stand-in through the real ib_async into a lane."""

import gzip
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson

from tests.recorded.recordings import recording
from tests.tws import wire
from tests.tws.capture import capturing
from tests.tws.gateway import AAPL, EURUSD, Standing, running_gateway
from tests.unit.fluxforge_collector.made import Line, until

PRICES = {1: "bid", 2: "ask", 4: "last", 6: "high", 7: "low", 9: "previousClose"}
SIZES = {0: "bidVolume", 3: "askVolume", 5: "lastVolume", 8: "baseVolume"}
SIZES_OF_PRICES = {"bid": "bidVolume", "ask": "askVolume", "last": "lastVolume"}


def rows(name: str) -> list[dict[str, Any]]:
    path = recording(f"ib/{name}")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [orjson.loads(line) for line in data.splitlines()]


def seconds(row: dict[str, Any], key: str = "time") -> int:
    return int(datetime.fromisoformat(row[key]).timestamp())


async def told(kind: str, market: str, listing: wire.Listing, messages: Sequence[Callable[[int], bytes]]) -> list[Line]:
    """Return the records of one feed for which the stand-in sent these messages, one record each."""

    def image(standing: Standing) -> list[bytes]:
        return [message(standing.number) for message in messages]

    async with running_gateway(image=image) as gateway, capturing(gateway.port, {kind: [market]}) as capture:
        await until(lambda: sum(feed.seq for feed in capture.writer.feeds) >= len(messages))
        assert gateway.count_asked(kind, listing) == 1
        lines = capture.lines(kind)
    assert [line.seq for line in lines] == list(range(1, len(messages) + 1))
    return lines


def tick(row: dict[str, Any]) -> Callable[[int], bytes]:
    kind = row["tickType"]
    if kind in PRICES:
        return lambda number: wire.price(number, kind, row["price"], row["size"])
    return lambda number: wire.size(number, kind, row["size"])


def quoted(row: dict[str, Any]) -> dict[str, float]:
    """Return what a tick says, by ccxt's names."""
    kind = row["tickType"]
    if kind in SIZES:
        return {SIZES[kind]: row["size"]}
    name = PRICES[kind]
    size = SIZES_OF_PRICES.get(name)
    return {name: row["price"]} | ({size: row["size"]} if size else {})


async def test_every_tick_of_a_stock_is_in_the_lane_once_and_in_order() -> None:
    ticks = rows("tick_data_first60pct.ndjson.gz")
    assert len(ticks) == 8416
    lines = await told("ticker", "AAPL/USD:SMART", AAPL, [tick(row) for row in ticks])
    known: dict[str, float] = {}
    for row, line in zip(ticks, lines, strict=True):
        known |= quoted(row)
        assert line.data == {"symbol": "AAPL/USD:SMART", "timestamp": None, **known}


async def test_a_currency_pair_has_the_quotes_that_ib_async_had() -> None:
    events = rows("eurusd_ticker.ndjson")
    ticks = [each for event in events for each in event["ticks"]]
    lines = await told("ticker", "EUR/USD:IDEALPRO", EURUSD, [tick(row) for row in ticks])
    after = 0
    for event in events:
        after += len(event["ticks"])
        quote = lines[after - 1].data
        names = {"bid": "bid", "bidSize": "bidVolume", "ask": "ask", "askSize": "askVolume", "high": "high"}
        assert {name: quote.get(ours) for name, ours in names.items()} == {name: event.get(name) for name in names}


async def test_every_change_of_the_touch_is_in_the_lane_once_and_in_order() -> None:
    touches = rows("historic_bid_ask_ticks.json.gz")
    lines = await told(
        "bidsasks",
        "AAPL/USD:SMART",
        AAPL,
        [
            lambda number, row=row: wire.touch(
                number, seconds(row), row["priceBid"], row["priceAsk"], row["sizeBid"], row["sizeAsk"]
            )
            for row in touches
        ],
    )
    names = {"priceBid": "bid", "sizeBid": "bidVolume", "priceAsk": "ask", "sizeAsk": "askVolume"}
    for row, line in zip(touches, lines, strict=True):
        assert {name: line.data[ours] for name, ours in names.items()} == {name: row[name] for name in names}
        assert line.data["timestamp"] == seconds(row) * 1000


async def test_every_trade_is_in_the_lane_once_and_in_order() -> None:
    trades = rows("historic_trade_ticks.json.gz")
    lines = await told(
        "trades",
        "AAPL/USD:SMART",
        AAPL,
        [lambda number, row=row: wire.trade(number, seconds(row), row["price"], row["size"]) for row in trades],
    )
    assert [(line.data[0]["timestamp"], line.data[0]["price"], line.data[0]["amount"]) for line in lines] == [
        (seconds(row) * 1000, row["price"], row["size"]) for row in trades
    ]


async def test_every_bar_is_in_the_lane_once_and_in_order() -> None:
    bars = rows("historic_bars.json.gz")
    lines = await told(
        "ohlcv_5s",
        "AAPL/USD:SMART",
        AAPL,
        [
            lambda number, row=row: wire.bar(
                number,
                seconds(row, "date"),
                tuple(row[name] for name in ("open", "high", "low", "close")),
                row["volume"],
                row["average"],
                row["barCount"],
            )
            for row in bars
        ],
    )
    for row, line in zip(bars, lines, strict=True):
        assert line.data["start_ms"] == seconds(row, "date") * 1000
        assert [line.data[name] for name in ("open", "high", "low", "close", "volume", "vwap", "count")] == [
            row[name] for name in ("open", "high", "low", "close", "volume", "average", "barCount")
        ]
