"""Unmodified ccxt.pro on made-up markets."""

import json
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro
import orjson
import pytest

from fluxforge_simulator import Faults, LoadPlan, MalformedFrame, Pace, SimulateOptions, Simulator
from tests.integration.simulator.clients import PINGS, client, heard, ledger_lines, rewritten, told, until

pytestmark = pytest.mark.timeout(300)

LIVELY = Pace(steps_per_s=50.0)


@pytest.mark.parametrize(
    ("exchange", "symbol", "other"),
    [
        ("binance", "BTC/USDT", "ETH/USDT"),
        ("binanceus", "BTC/USDT", "SOL/USD"),
        ("coinbase", "BTC/USD", "ETH/USD"),
        ("kraken", "BTC/USD", "SOL/USD"),
        ("okx", "BTC/USDT", "SOL/USDT"),
        ("bybit", "BTC/USDT", "SOL/USDT"),
        ("binanceusdm", "BTC/USDT:USDT", "SOL/USDT:USDT"),
    ],
)
async def test_books_trades_and_tickers_reach_the_client_as_the_ledger_says(
    exchange: str, symbol: str, other: str, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.ndjson"
    watches = [
        (method, name) for method in ("watch_order_book", "watch_trades", "watch_ticker") for name in (symbol, other)
    ]
    options = SimulateOptions(exchange=exchange, ledger=path, pace=LIVELY)
    async with Simulator(options) as simulator, client(exchange, simulator.port, *watches) as tapped:
        await until(lambda: sum(count >= 20 for count in tapped.updates.values()) >= 4)
        await until(lambda: min(max(tapped.tickers.get(name, {}).get("last", 0), 0) for name in (symbol, other)) > 0)
        assert symbol in tapped.symbols
        assert tapped.crossed == 0
        assert tapped.errors == []
        for name in (symbol, other):
            book = tapped.orderbooks[name]
            assert book["bids"][0][0] < book["asks"][0][0]
            assert abs(tapped.tickers[name]["last"] / book["bids"][0][0] - 1) < 0.01
    sent, got = told(ledger_lines(path)), heard(tapped.frames, ignored=PINGS)
    for frames in got:
        assert any(line[: len(frames)] == frames for line in sent), "what arrived is not what was sent, in order"
    lines = ledger_lines(path)
    assert {line["exchange"] for line in lines} == {exchange}
    assert {line["symbol"] for line in lines if line["kind"] == "data"} == {symbol, other}
    assert {line["channel"] for line in lines if line["kind"] == "data"} == {"orderbook", "trades", "ticker"}


async def test_a_made_up_market_is_as_much_livelier_as_the_speed_says(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    options = SimulateOptions(exchange="binance", ledger=path, speed=20.0)
    watched = ("watch_order_book", "BTC/USDT")
    async with Simulator(options) as simulator, client("binance", simulator.port, watched) as tapped:
        await until(lambda: sum(tapped.updates.values()) >= 200)
    sent_ns = [line["sent_ns"] for line in ledger_lines(path) if line["kind"] == "data"]
    # Never sooner than asked for, which would be 200 a second; a busy machine may be later, but not as late as speed 1.
    assert 10.0 * 2 < (len(sent_ns) - 1) / ((sent_ns[-1] - sent_ns[0]) / 1e9) < 200.0 * 1.5


async def test_binance_deltas_chain_from_the_rest_book_and_none_precedes_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    watch = ("watch_order_book_for_symbols", ["BTC/USDT", "ETH/USDT"])
    options = SimulateOptions(exchange="binance", ledger=path, pace=LIVELY)
    async with Simulator(options) as simulator, client("binance", simulator.port, watch) as tapped:
        await until(lambda: tapped.updates["orderbook::BTC/USDT"] > 50)
    lines = [line for line in ledger_lines(path) if line["channel"] == "orderbook" and line["symbol"] == "BTC/USDT"]
    assert lines[0]["kind"] == "rest"
    last = lines[0]["key"][0]
    for line in lines[1:]:
        assert line["key"][0] == last + 1
        last = line["key"][1]
    assert lines[1]["sent_ns"] - lines[0]["sent_ns"] >= 199_000_000
    arrived = sum(b'"s":"BTCUSDT"' in frame for frames in tapped.frames.values() for frame in frames)
    assert tapped.updates["orderbook::BTC/USDT"] == arrived + 1


async def test_kraken_checksums_hold_for_the_book_that_the_client_keeps() -> None:
    watch = ("watch_order_book", "ETH/USD", 25)
    async with (
        Simulator(SimulateOptions(exchange="kraken", pace=LIVELY)) as simulator,
        client("kraken", simulator.port, watch) as tapped,
    ):
        await until(lambda: tapped.updates["orderbook@ETH/USD"] > 100)
        book: dict[str, dict[str, str]] = {"asks": {}, "bids": {}}
        checked = 0
        for frame in next(iter(tapped.frames.values())):
            message = json.loads(frame, parse_float=str)
            if message.get("channel") == "book":
                assert _checksum(book, message["data"][0]) == message["data"][0]["checksum"]
                checked += 1
    assert checked > 100


def _checksum(book: dict[str, dict[str, str]], data: dict[str, Any]) -> int:
    for side, sign in (("asks", 1), ("bids", -1)):
        book[side] |= {level["price"]: level["qty"] for level in data[side]}
        levels = sorted((item for item in book[side].items() if float(item[1])), key=lambda item: sign * float(item[0]))
        book[side] = dict(levels[:25])
    levels = [level for side in ("asks", "bids") for level in list(book[side].items())[:10]]
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for level in levels for text in level).encode())


async def test_coinbase_numbers_what_a_connection_is_told_without_a_hole() -> None:
    watches = [("watch_trades", "BTC/USD"), ("watch_ticker", "ETH/USD"), ("watch_order_book", "SOL/USD")]
    async with (
        Simulator(SimulateOptions(exchange="coinbase", pace=LIVELY)) as simulator,
        client("coinbase", simulator.port, *watches) as tapped,
    ):
        await until(lambda: tapped.updates["level2::SOL/USD"] > 50)
    numbers = [orjson.loads(frame)["sequence_num"] for frame in next(iter(tapped.frames.values()))]
    assert numbers == list(range(len(numbers)))


async def test_two_clients_of_one_market_see_one_market() -> None:
    watch = ("watch_trades", "BTC/USDT")
    async with (
        Simulator(SimulateOptions(exchange="binance", pace=LIVELY)) as simulator,
        client("binance", simulator.port, watch) as one,
        client("binance", simulator.port, watch) as two,
    ):
        await until(lambda: min(c.updates["trade::BTC/USDT"] for c in (one, two)) > 30)
    ids = [[entry["t"] for frames in c.frames.values() for frame in frames if "t" in (entry := orjson.loads(frame))]
           for c in (one, two)]  # fmt: skip
    first = max(ids[0][0], ids[1][0])
    common = [[number for number in entry if number >= first] for entry in ids]
    length = min(map(len, common))
    assert length > 20
    assert common[0][:length] == common[1][:length] == list(range(first, first + length))


@pytest.mark.parametrize(
    ("exchange", "symbol"), [("binance", "ETH/USDT"), ("kraken", "ETH/USD"), ("coinbase", "ETH/USD")]
)
async def test_a_refused_subscription_is_refused_as_the_venue_does_and_others_go_on(exchange: str, symbol: str) -> None:
    good = symbol.replace("ETH", "BTC")
    options = SimulateOptions(exchange=exchange, pace=LIVELY, faults=Faults(refused=frozenset({symbol})))
    async with (
        Simulator(options) as simulator,
        client(exchange, simulator.port, ("watch_trades", symbol), ("watch_trades", good)) as tapped,
    ):
        errors = (b'"error"', b'"success":false')
        await until(lambda: any(any(e in f for e in errors) for fs in tapped.frames.values() for f in fs))
        before = tapped.updates.total()
        await until(lambda: tapped.updates.total() > before + 5)
    assert {name.rpartition("/")[0][-3:] for name in tapped.updates} == {"BTC"}
    if exchange == "binance":
        assert any(isinstance(error, ccxt.pro.ExchangeError) for error in tapped.errors)


async def test_a_malformed_frame_comes_once_when_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    fault = MalformedFrame("binance", "trades", "BTC/USDT", after_s=0.2)
    options = SimulateOptions(exchange="binance", ledger=path, pace=LIVELY, faults=Faults(malformed=(fault,)))
    async with (
        Simulator(options) as simulator,
        client("binance", simulator.port, ("watch_trades", "BTC/USDT")) as tapped,
    ):
        await until(lambda: len(tapped.errors) > 0)
        before = tapped.updates["trade::BTC/USDT"]
        await until(lambda: tapped.updates["trade::BTC/USDT"] > before + 10)
    frames = [frame for entry in tapped.frames.values() for frame in entry]
    assert frames.count(fault.payload) == 1
    assert sum(line["bytes"] == len(fault.payload) for line in ledger_lines(path)) == 1


@pytest.mark.parametrize(("rate_hz", "symbols"), [(None, 1), (2000.0, 2)])
async def test_a_load_sends_every_frame_in_a_chain_and_finishes(
    rate_hz: float | None, symbols: int, tmp_path: Path
) -> None:
    names = ["BTCUSDT", "ETHUSDT"][:symbols]
    plan = LoadPlan(frames=4000, rate_hz=rate_hz, symbols=symbols, settle_s=2.0)
    options = SimulateOptions(exchange="binance", ledger=tmp_path / "ledger.ndjson", load=plan)
    async with Simulator(options) as simulator, aiohttp.ClientSession() as session:
        stream = rewritten("wss://stream.binance.com:9443/ws/0", simulator.port)
        async with session.ws_connect(stream) as socket:
            await socket.send_json(
                {"method": "SUBSCRIBE", "params": [f"{n.lower()}@depth@100ms" for n in names], "id": 1}
            )
            assert await socket.receive_json() == {"result": None, "id": 1}
            last: dict[str, int] = {}
            for name in names:
                url = rewritten("https://api.binance.com/api/v3/depth", simulator.port)
                async with session.get(url, params={"symbol": name, "limit": "1000"}) as response:
                    last[name] = (await response.json())["lastUpdateId"]
            assert not simulator.started.is_set()
            for _ in range(plan.frames):
                message = orjson.loads((await socket.receive()).data)
                assert message["U"] == last[message["s"]] + 1
                assert len(message["b"]) + len(message["a"]) == plan.levels
                last[message["s"]] = message["u"]
            assert simulator.started.is_set()
            assert not simulator.finished.is_set()
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.3)
            await until(simulator.finished.is_set)
    assert sum(line["kind"] == "data" for line in ledger_lines(tmp_path / "ledger.ndjson")) == plan.frames


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("api.binance.com/api/v3/ping", "served here: kraken"),
        ("api.kraken.com/0/public/Nothing", "kraken has no /0/public/Nothing"),
    ],
)
async def test_an_unknown_host_and_an_unknown_path_are_named_in_the_answer(path: str, said: str) -> None:
    async with (
        Simulator(SimulateOptions(exchange="kraken")) as simulator,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{simulator.port}/{path}") as response,
    ):
        assert response.status == 404
        assert said in (await response.json())["error"]


async def test_answers_get_through_while_a_flood_waits_for_room() -> None:
    plan = LoadPlan(frames=30_000)
    async with (
        Simulator(SimulateOptions(exchange="binance", load=plan)) as simulator,
        aiohttp.ClientSession() as session,
        session.ws_connect(rewritten("wss://stream.binance.com:9443/ws/0", simulator.port)) as socket,
    ):
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1})
        url = rewritten("https://api.binance.com/api/v3/depth", simulator.port)
        async with session.get(url, params={"symbol": "BTCUSDT"}) as response:
            assert response.status == 200
        assert (await socket.receive_json()) == {"result": None, "id": 1}
        await socket.receive_json()
        await socket.send_json({"method": "SUBSCRIBE", "params": ["ethusdt@trade"], "id": 2})
        received = [await socket.receive_json() for _ in range(plan.frames)]
    assert received.count({"result": None, "id": 2}) == 1
    assert sum("U" in message for message in received) == plan.frames - 1
