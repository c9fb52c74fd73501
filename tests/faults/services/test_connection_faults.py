"""Every connection fault on five exchanges: told by the right record of the right feed, healed, and all accounted for.

The collector runs as it does in service; the simulator is told what goes wrong, and its ledger is what was sent.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge.adapters.embedded_nats import EmbeddedNats
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.control import UNSOUND_EVENTS, FeedKey
from fluxforge.domain.instrument import symbol_id
from fluxforge_simulator import ConnectionFault, Fault, SimulateOptions, Simulator
from fluxforge_simulator.market.ladder import Side
from tests.faults.notices import Notice, NoticeTable
from tests.integration.collector.rig import LIVELY, Rig, Running, by_feed, events_of, markets, running_rig
from tests.integration.collector.test_silence import SOON, closing
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(240)

EXCHANGES = ("binance", "bybit", "coinbase", "kraken", "okx")
S = 1_000_000_000
LEARNED_S = 15
"""So long a feed is listened to before it is known how long it may be silent."""
UNDER_WAY_NS = 100_000_000
PATIENCE_S = 120.0
HELD_FRAMES = 20


@dataclass(frozen=True)
class Scenario:
    """A fault and the record that must tell of it, by default the same everywhere; None: nothing has to be told."""

    name: str
    fault: Fault
    event: str | None
    else_event: dict[str, str | None] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    exchanges: tuple[str, ...] = EXCHANGES
    names_book: bool = True
    learned: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether the fault meets the client when it comes again, so it is sent away first."""
        return self.fault in {Fault.REFUSE, Fault.LIMIT, Fault.HANDSHAKE, Fault.REST}


SCENARIOS = (
    Scenario("3 frames of a book are lost", Fault.DROP, "gap", more={"count": 3}),
    Scenario("2 frames of a book in the wrong order", Fault.SWAP, "gap"),
    Scenario("a frame of a book twice", Fault.DUPLICATE, None, {"okx": "gap"}),
    Scenario("a wrong checksum", Fault.CHECKSUM, "gap", exchanges=("kraken",)),
    Scenario("closed with 1000", Fault.CLOSE, "disconnected", more={"code": 1000}),
    Scenario("closed with 1012", Fault.CLOSE, "disconnected", more={"code": 1012}),
    Scenario("connection reset", Fault.ABORT, "disconnected"),
    Scenario("frozen: nothing, no pongs", Fault.FREEZE, "stalled", learned=True),
    Scenario("mute: pongs, but no data", Fault.MUTE, "stalled", learned=True),
    Scenario("malformed JSON", Fault.MALFORMED, "rejected", names_book=False),
    Scenario("a page of HTML", Fault.TEXT, None, {"binance": "rejected"}, names_book=False),
    Scenario("unknown market and fields", Fault.STRANGE, "rejected", {"coinbase": "gap"}, names_book=False),
    Scenario("a message of more than 10 MiB", Fault.OVERSIZED, "disconnected"),
    Scenario("subscription refused", Fault.REFUSE, "rejected", names_book=False),
    Scenario("subscription refused as too frequent", Fault.LIMIT, "rejected", names_book=False),
    Scenario("handshake answered with 429", Fault.HANDSHAKE, "disconnected", more={"retry_after_s": 1}),
    Scenario("connection refused for 1 s", Fault.UNREACHABLE, "disconnected"),
    Scenario("REST answered with 429", Fault.REST, "disconnected", more={"code": 429}, exchanges=("binance",)),
    Scenario("REST answered with 503", Fault.REST, "disconnected", more={"code": 503}, exchanges=("binance",)),
)
CASES = [
    pytest.param(scenario, exchange, id=f"{exchange}: {scenario.name}")
    for scenario in SCENARIOS
    for exchange in scenario.exchanges
]


@pytest.fixture
async def rig(nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(nats_server, tmp_path) as made:
        yield made


class Case:
    """One fault on one exchange, and what is stored since it began."""

    def __init__(self, scenario: Scenario, exchange: str, simulator: Simulator, running: Running) -> None:
        self.scenario, self.exchange = scenario, exchange
        self.simulator, self.running = simulator, running
        self.symbols = markets(exchange, "BTC", "ETH")
        self.book = FeedKey("orderbook", symbol_id(self.symbols[0]))
        self.event = scenario.else_event.get(exchange, scenario.event)
        self.began_ns = 0

    def begin(self) -> None:
        feed = {"exchange": self.exchange, "channel": "orderbook", "symbol": self.symbols[0]}
        self.began_ns = SystemClock().wall_ns()
        # Frames are chosen by their feed, so what is to befall a whole exchange names none.
        where = {"exchange": self.exchange} if self.scenario.fault is Fault.MUTE else feed
        befallen = self.simulator.inject(ConnectionFault(fault=self.scenario.fault, **where, **self.scenario.more))
        assert (befallen == 0) == self.scenario.is_awaited
        if self.scenario.is_awaited:
            assert self.simulator.inject(ConnectionFault(fault=Fault.ABORT, **feed)) == 1

    def since(self, lines: list[Line]) -> list[Line]:
        return [line for line in lines if line.capture_ns > self.began_ns]

    def told(self, lines: list[Line]) -> Line | None:
        """The record that tells of the fault, of the book where it can be known whose it is."""
        found = [line for line in self.since(lines) if line.event is not None and line.event == self.event]
        if self.scenario.names_book:
            found = [line for line in found if self.book in line.control.concerned()]
        if self.scenario.fault in {Fault.REFUSE, Fault.LIMIT}:  # whose subscription comes first is chance
            found = [line for line in found if line.control.concerned()]
        return next(iter(found), None)

    def holes(self, lines: list[Line]) -> list[tuple[Line, FeedKey]]:
        unsound = [line for line in self.since(lines) if line.event in UNSOUND_EVENTS and line.control.hole]
        return [(line, feed) for line in unsound for feed in line.control.concerned()]

    def is_over(self, lines: list[Line]) -> bool:
        """Whether the fault was told, every hole since is closed, and every feed has gone on."""
        told = self.told(lines)
        if self.event is not None and told is None:
            return False
        after_ns = told.capture_ns if told else self.began_ns + S // 2
        heard = {feed for feed, found in by_feed(lines).items() if found[-1].capture_ns > after_ns}
        return len(heard) == 4 and all(closing(lines, line, feed) for line, feed in self.holes(lines))

    def goes_on(self, lines: list[Line]) -> bool:
        """Whether both books have moved on, past what Binance holds back behind a book that was asked for."""
        feeds = by_feed(lines)
        return all(len(feeds["orderbook", symbol_id(symbol)]) > HELD_FRAMES for symbol in self.symbols)

    def is_the_market_s(self, lines: list[Line]) -> bool:
        """Whether the last record of each book is what the market is, all levels of it."""
        feeds = by_feed(lines)
        return all(
            _levels(feeds["orderbook", symbol_id(symbol)][-1])
            == _levels_of(self.simulator, self.exchange, symbol, feeds["orderbook", symbol_id(symbol)][-1])
            for symbol in self.symbols
        )

    def notice(self, lines: list[Line]) -> Notice:
        told = self.told(lines) or next((line for line, _ in self.holes(lines)), None)
        ends = [closing(lines, line, feed) for line, feed in self.holes(lines)]
        healed_ns = max((end.to_ns or 0 for end in ends if end), default=0)
        if told and not healed_ns:
            book = by_feed(lines)[self.book.channel, self.book.symbol]
            healed_ns = next(line.capture_ns for line in book if line.capture_ns > told.capture_ns)
        return Notice(
            self.scenario.name,
            self.exchange,
            event=told.event if told else None,
            feeds=len(told.control.concerned()) if told else 0,
            told_ns=told.capture_ns - self.began_ns if told else None,
            healed_ns=healed_ns - self.began_ns if healed_ns else None,
        )


def _levels(line: Line) -> list[list[tuple[float, float]]]:
    return [[(price, size) for price, size, *_ in line.data[name]] for name in ("bids", "asks")]


def _levels_of(simulator: Simulator, exchange: str, symbol: str, line: Line) -> list[list[tuple[float, float]]]:
    market = simulator.market(exchange, symbol)
    return [
        [
            (float(market.instrument.price(price)), float(market.instrument.quantity(lots)))
            for price, lots in market.ladders[side].levels(max(10, len(line.data[name])))
        ]
        for name, side in (("bids", Side.BID), ("asks", Side.ASK))
    ]


def is_listened_to(lines: list[Line], seconds: float) -> bool:
    feeds = by_feed(lines)
    return len(feeds) == 4 and lines[-1].capture_ns - max(feed[0].capture_ns for feed in feeds.values()) > seconds * S


@pytest.mark.parametrize(("scenario", "exchange"), CASES)
async def test_a_connection_fault_is_told_and_healed_and_all_is_accounted_for(
    rig: Rig,
    tmp_path: Path,
    notices: NoticeTable,
    is_full: bool,  # noqa: FBT001 - a fixture
    scenario: Scenario,
    exchange: str,
) -> None:
    share = scenario.exchanges[SCENARIOS.index(scenario) % len(scenario.exchanges)]
    if not is_full and share != exchange and scenario.fault is not Fault.DROP:
        pytest.skip(f"the bounded share runs it on {share}; on all: --faults full")
    if scenario.learned and not is_full:
        pytest.skip("takes long: --faults full runs it; tests/integration/collector/test_silence.py has one of a kind")
    ledger = tmp_path / "ledger.ndjson"
    channels = {name: markets(exchange, "BTC", "ETH") for name in ("watchOrderBook", "watchTrades")}
    async with Simulator(SimulateOptions(exchange=exchange, ledger=ledger, pace=LIVELY)) as simulator:
        async with rig.collector(exchange, simulator.port, channels, **SOON) as running:
            case = Case(scenario, exchange, simulator, running)
            await running.until(lambda lines: is_listened_to(lines, LEARNED_S if scenario.learned else 0.5))
            case.begin()
            lines = await running.until(case.is_over, deadline_s=PATIENCE_S)
            notices.rows.append(case.notice(lines))
            await running.until(lambda later: case.goes_on(later[len(lines) :]))
            simulator.stand_still(exchange)
            await running.until(case.is_the_market_s)
            status = await running.stop()
        lines = await rig.lines(running.lane)
    assert status.captured == status.stored == len(lines)
    assert status.dropped == 0
    for feed in by_feed(lines).values():
        assert [line.seq for line in feed] == list(range(1, len(feed) + 1))
    assert [line.event for line in lines if line.event in UNSOUND_EVENTS and line.capture_ns < case.began_ns] == [
        "started"
    ]
    if case.event is None:
        assert not case.holes(lines)
    if case.event == "gap" and scenario.names_book:
        check_bounds(case, lines, ledger)


def check_bounds(case: Case, lines: list[Line], ledger: Path) -> None:
    """What befell the frames lies within the hole of their book, and no other book has one, but where none can tell."""
    befallen_ns = [
        line["sent_ns"] for line in map(orjson.loads, ledger.read_bytes().splitlines()) if line["fault"] is not None
    ]
    holes = [line for line, feed in case.holes(lines) if feed == case.book]
    end = closing(lines, holes[-1], case.book)
    assert end is not None
    # What left before the lost frame may have been read a little after that would have left.
    assert (holes[0].control.from_ns or 0) <= befallen_ns[0] + UNDER_WAY_NS
    assert befallen_ns[-1] < (end.to_ns or 0)
    if case.exchange != "coinbase":
        assert {feed for _, feed in case.holes(lines)} == {case.book}
    assert events_of(lines, "gap")[0].control.reason
