"""Connection faults, as unmodified ccxt.pro and the ledger tell of them; in the end the book is the market's."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
import ccxt.pro
import pytest

from fluxforge_simulator import ConnectionFault, Fault, OptionError, Pace, SimulateOptions, Simulator
from tests.integration.simulator.clients import book_is_the_market_s, client, ledger_lines, until

pytestmark = pytest.mark.timeout(300)

LIVELY = Pace(steps_per_s=50.0)
SYMBOLS = {
    "binance": "BTC/USDT",
    "binanceusdm": "BTC/USDT:USDT",
    "bybit": "BTC/USDT",
    "coinbase": "BTC/USD",
    "kraken": "BTC/USD",
    "okx": "BTC/USDT",
}
VENUES = sorted(SYMBOLS)
STRANGE_ERRORS = {
    "binance": "TypeError",
    "binanceusdm": "TypeError",
    "bybit": "TypeError",
    "coinbase": "JSONDecodeError",
    "kraken": "KeyError",
    "okx": "TypeError",
}
"""What ccxt's handlers fail with on the venue's strange frame; Coinbase's does not, so the error before stands last."""
TOUCH = 1
"""How many levels are compared where ccxt keeps what a lost frame would have changed deeper down."""


def book_fault(fault: Fault, exchange: str, **more: Any) -> ConnectionFault:
    return ConnectionFault(fault=fault, exchange=exchange, channel="orderbook", symbol=SYMBOLS[exchange], **more)


class Case:
    """A venue, a client that watches one book of it, and the ledger."""

    def __init__(self, exchange: str, folder: Path, **config: Any) -> None:
        self.exchange, self.symbol = exchange, SYMBOLS[exchange]
        self.path = folder / "ledger.ndjson"
        self.simulator = Simulator(SimulateOptions(exchange=exchange, pace=LIVELY, ledger=self.path))
        self._config = config
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.simulator)
        watch = ("watch_order_book", self.symbol)
        watching = client(self.exchange, self.simulator.port, watch, **self._config)
        self.tapped = await self._stack.enter_async_context(watching)
        await self.heard(20)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def inject(self, fault: Fault, **more: Any) -> None:
        assert self.simulator.inject(book_fault(fault, self.exchange, **more)) == 1

    async def heard(self, more: int) -> None:
        before = self.tapped.updates.total()
        await until(lambda: self.tapped.updates.total() >= before + more)

    async def erred(self) -> Exception:
        await until(lambda: self.tapped.errors)
        error: Exception = self.tapped.errors[0]
        return error

    async def settled(self, levels: int) -> None:
        await self.heard(20)
        self.simulator.stand_still(self.exchange)
        await until(lambda: book_is_the_market_s(self.tapped, self.simulator, self.symbol, levels), 30)

    def lines(self, fault: Fault) -> list[dict[str, Any]]:
        return [line for line in ledger_lines(self.path) if line["fault"] == fault]


@pytest.mark.parametrize("exchange", VENUES)
async def test_dropped_frames_are_told_and_only_binance_and_okx_notice(exchange: str, tmp_path: Path) -> None:
    case = Case(exchange, tmp_path)
    async with case:
        case.inject(Fault.DROP, count=3)
        if exchange in {"kraken", "coinbase", "bybit"}:
            await case.heard(50)
            assert case.tapped.errors == []
        else:
            expected = ccxt.pro.InvalidNonce if exchange == "okx" else ccxt.pro.ChecksumError
            assert isinstance(await case.erred(), expected)
            await case.settled(50)
    dropped = case.lines(Fault.DROP)
    assert len(dropped) == 3
    assert {(line["kind"], line["channel"], line["symbol"]) for line in dropped} == {
        ("dropped", "orderbook", case.symbol)
    }
    assert [line["n"] for line in dropped] == list(range(dropped[0]["n"], dropped[0]["n"] + 3))


@pytest.mark.parametrize("exchange", VENUES)
@pytest.mark.parametrize("fault", [Fault.DUPLICATE, Fault.SWAP])
async def test_frames_twice_or_in_the_wrong_order_are_told_with_their_keys(
    exchange: str, fault: Fault, tmp_path: Path
) -> None:
    case = Case(exchange, tmp_path)
    async with case:
        case.inject(fault)
        await case.settled(TOUCH)
        noticed = {(type(error).__name__) for error in case.tapped.errors}
        assert noticed <= {"ChecksumError", "InvalidNonce"}
        if fault is Fault.SWAP and exchange.startswith("binance"):
            assert noticed == {"ChecksumError"}
        if exchange == "okx":
            assert noticed == {"InvalidNonce"}
    lines = [line for line in ledger_lines(case.path) if line["channel"] == "orderbook" and line["kind"] == "data"]
    index = next(index for index, line in enumerate(lines) if line["fault"] == fault)
    same = lines[index]["key"] == lines[index - 1]["key"]
    assert same == (fault is Fault.DUPLICATE)
    if fault is Fault.SWAP:
        assert lines[index - 1]["key"] > lines[index]["key"]


@pytest.mark.parametrize("exchange", ["kraken", "okx"])
async def test_a_wrong_checksum_is_told_and_ccxt_does_not_look(exchange: str, tmp_path: Path) -> None:
    case = Case(exchange, tmp_path)
    async with case:
        case.inject(Fault.CHECKSUM)
        await case.settled(10)
        assert case.tapped.errors == []
    assert len(case.lines(Fault.CHECKSUM)) == 1


@pytest.mark.parametrize("exchange", VENUES)
@pytest.mark.parametrize(
    ("fault", "code"), [(Fault.CLOSE, 1000), (Fault.CLOSE, 1012), (Fault.ABORT, None)], ids=["1000", "1012", "abort"]
)
async def test_a_connection_that_ends_is_an_error_at_once_and_made_anew(
    exchange: str, fault: Fault, code: int | None, tmp_path: Path
) -> None:
    async with Case(exchange, tmp_path) as case:
        case.inject(fault, code=code)
        error = await case.erred()
        assert isinstance(error, ccxt.pro.NetworkError)
        assert f"closing code {code or 1006}" in str(error)
        await case.settled(TOUCH)


@pytest.mark.parametrize("exchange", VENUES)
async def test_a_frozen_peer_is_noticed_by_ccxt_s_keepalive_alone(exchange: str, tmp_path: Path) -> None:
    async with Case(exchange, tmp_path, streaming={"keepAlive": 500}) as case:
        case.inject(Fault.FREEZE)
        error = await case.erred()
        assert isinstance(error, ccxt.pro.RequestTimeout)
        assert "ping-pong keepalive missing on time" in str(error)
        await case.settled(TOUCH)
    assert {line["kind"] for line in case.lines(Fault.FREEZE)} == {"dropped"}


@pytest.mark.parametrize("exchange", VENUES)
async def test_a_mute_peer_whose_pongs_come_is_noticed_by_nobody(exchange: str, tmp_path: Path) -> None:
    case = Case(exchange, tmp_path, streaming={"keepAlive": 200})
    async with case:
        case.inject(Fault.MUTE)
        await until(lambda: case.simulator.ledger.counts["dropped", "orderbook", case.symbol] > 0)
        before = case.tapped.updates.total()
        pings = case.simulator.ledger.counts["ping", None, None]
        # More keepalives than ccxt lets pass without a pong.
        await until(lambda: case.simulator.ledger.counts["ping", None, None] > pings + 5)
        assert case.tapped.updates.total() - before <= 1
        assert case.tapped.errors == []
    assert {line["kind"] for line in case.lines(Fault.MUTE)} == {"dropped"}


@pytest.mark.parametrize("exchange", VENUES)
async def test_frames_that_cannot_be_read_come_as_they_were_asked_for(exchange: str, tmp_path: Path) -> None:
    case = Case(exchange, tmp_path)
    async with case:
        case.inject(Fault.TEXT)
        await case.heard(20)
        # What is no JSON reaches the exchange's own handler as it came; Binance's takes it for an object.
        assert [type(error) for error in case.tapped.errors] == [TypeError] * exchange.startswith("binance")
        case.inject(Fault.MALFORMED)
        await case.heard(20)
        assert type(case.tapped.errors[-1]).__name__ == "JSONDecodeError"
        case.inject(Fault.STRANGE)
        await case.heard(20)
        assert type(case.tapped.errors[-1]).__name__ == STRANGE_ERRORS[exchange]
        await case.settled(TOUCH)
    for fault in (Fault.TEXT, Fault.MALFORMED, Fault.STRANGE):
        (line,) = case.lines(fault)
        assert line["kind"] == "data"


async def test_a_frame_too_large_ends_the_connection(tmp_path: Path) -> None:
    async with Case("bybit", tmp_path) as case:
        case.inject(Fault.OVERSIZED)
        error = await case.erred()
        assert isinstance(error, ccxt.pro.NetworkError)
        assert "1009" in str(error)
        await case.settled(TOUCH)


@pytest.mark.parametrize("exchange", VENUES)
@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.LIMIT])
async def test_a_refused_subscription_is_answered_with_the_venue_s_error_once(exchange: str, fault: Fault) -> None:
    async with (
        Simulator(SimulateOptions(exchange=exchange, pace=LIVELY)) as simulator,
        client(exchange, simulator.port) as tapped,
    ):
        assert simulator.inject(ConnectionFault(fault=fault, exchange=exchange)) == 0
        words = (b'"error"', b'"success":false')
        watching = asyncio.ensure_future(tapped.watch_order_book(SYMBOLS[exchange]))
        await until(lambda: any(word in frame for entry in tapped.frames.values() for frame in entry for word in words))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    async with (
        Simulator(SimulateOptions(exchange=exchange, pace=LIVELY)) as simulator,
        client(exchange, simulator.port, ("watch_order_book", SYMBOLS[exchange])) as tapped,
    ):
        await until(lambda: tapped.updates.total() > 5)


async def test_a_handshake_refused_is_tried_again_no_sooner_than_told(tmp_path: Path) -> None:
    async with Case("okx", tmp_path) as case:
        refused = ConnectionFault(fault=Fault.HANDSHAKE, exchange="okx", count=1, retry_after_s=2)
        assert case.simulator.inject(refused) == 0
        case.inject(Fault.ABORT)
        await until(lambda: len(case.tapped.errors) > 1)
        assert "429" in str(case.tapped.errors[1])
        await case.settled(TOUCH)
    books = [line for line in ledger_lines(case.path) if line["kind"] in {"data", "snapshot"}]
    again = next(line for line in reversed(books) if line["kind"] == "snapshot")
    before = books[books.index(again) - 1]
    assert again["sent_ns"] - before["sent_ns"] > 1_900_000_000


async def test_an_exchange_out_of_reach_refuses_connections_and_comes_back(tmp_path: Path) -> None:
    async with Case("kraken", tmp_path) as case:
        case.inject(Fault.UNREACHABLE, lasts_s=0.5)
        await until(lambda: any("Cannot connect" in str(error) for error in case.tapped.errors))
        await case.settled(TOUCH)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_rest_answer_that_fails_is_told_and_the_next_one_does_not(status: int, tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    async with Simulator(SimulateOptions(exchange="binance", ledger=path)) as simulator:
        simulator.inject(ConnectionFault(fault=Fault.REST, exchange="binance", code=status, retry_after_s=1))
        address = f"http://127.0.0.1:{simulator.port}/api.binance.com/api/v3/ping"
        async with aiohttp.ClientSession() as session:
            async with session.get(address) as first:
                assert (first.status, first.headers["Retry-After"]) == (status, "1")
            async with session.get(address) as second:
                assert second.status == 200
    assert [line["fault"] for line in ledger_lines(path)] == ["rest", None]


async def test_a_fault_can_be_begun_over_http_and_a_wrong_one_is_refused() -> None:
    options = SimulateOptions(exchange="bybit", pace=LIVELY)
    watch = ("watch_order_book", "BTC/USDT")
    async with (
        Simulator(options) as simulator,
        client("bybit", simulator.port, watch) as tapped,
        aiohttp.ClientSession() as session,
    ):
        await until(lambda: tapped.updates.total() > 5)
        address = f"http://127.0.0.1:{simulator.port}/-/faults"
        async with session.post(address, json={"fault": "close", "exchange": "bybit", "code": 1012}) as answer:
            assert await answer.json() == {"connections": 1}
        await until(lambda: any("1012" in str(error) for error in tapped.errors))
        for wrong in ({"fault": "bad", "exchange": "bybit"}, {"fault": "drop", "exchange": "nasdaq"}):
            async with session.post(address, json=wrong) as answer:
                assert answer.status == 400
                assert "expected" in (await answer.json())["error"]


async def test_faults_of_another_exchange_or_feed_befall_nobody() -> None:
    async with (
        Simulator(SimulateOptions(exchange="bybit", pace=LIVELY)) as simulator,
        client("bybit", simulator.port, ("watch_order_book", "BTC/USDT")) as tapped,
    ):
        await until(lambda: tapped.updates.total() > 5)
        fault = ConnectionFault(fault=Fault.ABORT, exchange="bybit", channel="trades", symbol="BTC/USDT")
        assert simulator.inject(fault) == 0
        with pytest.raises(OptionError, match="expected one of bybit"):
            simulator.inject(ConnectionFault(fault=Fault.ABORT, exchange="kraken"))
