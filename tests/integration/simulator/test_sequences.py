"""The numbers that books are followed by, and the books themselves, as unmodified ccxt.pro has them from each venue."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge_simulator import Pace, SimulateOptions, Simulator
from tests.integration.simulator.clients import book_is_the_market_s, client, ledger_lines, until

pytestmark = pytest.mark.timeout(300)

LIVELY = Pace(steps_per_s=50.0)
STILL = Pace(steps_per_s=0.4)


def bodies(tapped: Any) -> list[dict[str, Any]]:
    frames = [frame for entry in tapped.frames.values() for frame in entry]
    return [orjson.loads(frame) for frame in frames if frame.startswith(b"{")]


@pytest.mark.parametrize(
    ("exchange", "symbol", "levels"),
    [
        ("binance", "BTC/USDT", 1000),
        ("binanceusdm", "BTC/USDT:USDT", 1000),
        ("bybit", "BTC/USDT", 50),
        ("coinbase", "BTC/USD", 1000),
        ("kraken", "BTC/USD", 10),
        ("okx", "BTC/USDT", 400),
    ],
)
async def test_the_client_s_book_is_the_market_s_to_the_last_level(exchange: str, symbol: str, levels: int) -> None:
    watch = ("watch_order_book", symbol)
    options = SimulateOptions(exchange=exchange, pace=LIVELY)
    async with Simulator(options) as simulator, client(exchange, simulator.port, watch) as tapped:
        await until(lambda: tapped.updates.total() > 200)
        simulator.stand_still(exchange)
        await until(lambda: book_is_the_market_s(tapped, simulator, symbol, levels))
        if exchange in {"bybit", "coinbase", "kraken", "okx"}:
            assert len(tapped.orderbooks[symbol]["bids"]) == levels
        assert tapped.errors == []


async def test_bybit_numbers_the_updates_of_a_topic_without_a_hole() -> None:
    options = SimulateOptions(exchange="bybit", pace=LIVELY)
    watches = [("watch_order_book", "BTC/USDT", 200), ("watch_order_book", "ETH/USDT")]
    async with Simulator(options) as simulator, client("bybit", simulator.port, *watches) as tapped:
        await until(lambda: min(tapped.updates[f"orderbook:{base}/USDT"] for base in ("BTC", "ETH")) > 50)
    for topic in ("orderbook.200.BTCUSDT", "orderbook.50.ETHUSDT"):
        books = [body for body in bodies(tapped) if body.get("topic") == topic]
        assert [body["type"] for body in books] == ["snapshot"] + ["delta"] * (len(books) - 1)
        first = books[0]["data"]["u"]
        assert [body["data"]["u"] for body in books] == list(range(first, first + len(books)))


async def test_okx_links_updates_and_tells_a_still_book_again_under_its_number() -> None:
    options = SimulateOptions(exchange="okx", pace=STILL)
    watch = ("watch_order_book", "BTC/USDT")

    def books(tapped: Any) -> list[dict[str, Any]]:
        return [body["data"][0] for body in bodies(tapped) if "action" in body]

    async with Simulator(options) as simulator, client("okx", simulator.port, watch) as tapped:
        await until(lambda: sum(bool(book["bids"] or book["asks"]) for book in books(tapped)) > 3)
    told = books(tapped)
    assert told[0]["prevSeqId"] == -1
    assert [book["prevSeqId"] for book in told[1:]] == [book["seqId"] for book in told[:-1]]
    still = [book for book in told if book["seqId"] == book["prevSeqId"]]
    assert still
    assert all(book["bids"] == book["asks"] == [] for book in still)
    assert tapped.errors == []


async def test_futures_updates_name_the_one_before_and_leave_ids_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    options = SimulateOptions(exchange="binanceusdm", pace=LIVELY, ledger=path)
    watch = ("watch_order_book", "ETH/USDT:USDT")
    async with Simulator(options) as simulator, client("binanceusdm", simulator.port, watch) as tapped:
        await until(lambda: tapped.updates["orderbook::ETH/USDT:USDT"] > 50)
    snapshot, *updates = (line["key"] for line in ledger_lines(path) if line["channel"] == "orderbook")
    before = snapshot[0]
    for first, last, previous in updates:
        assert previous == before < first - 1 < last
        before = last


@pytest.mark.parametrize(("exchange", "symbol"), [("okx", "BTC/USDT"), ("bybit", "BTC/USDT"), ("coinbase", "BTC/USD")])
async def test_what_is_unsubscribed_falls_silent_and_comes_whole_when_asked_for_anew(
    exchange: str, symbol: str, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.ndjson"
    options = SimulateOptions(exchange=exchange, pace=LIVELY, ledger=path)
    async with Simulator(options) as simulator, client(exchange, simulator.port) as tapped:
        for method in ("order_book", "trades", "ticker"):
            await getattr(tapped, f"watch_{method}")(symbol)
            await getattr(tapped, f"un_watch_{method}")(symbol)
        book = await tapped.watch_order_book(symbol)
        assert book["bids"]
    lines = [line for line in ledger_lines(path) if line["channel"] in {"trades", "ticker"}]
    kinds = [line["kind"] for line in ledger_lines(path) if line["channel"] == "orderbook"]
    assert kinds.count("snapshot") == 2
    last = next(line["n"] for line in reversed(ledger_lines(path)) if line["kind"] == "snapshot")
    assert all(line["n"] < last for line in lines)
