"""A venue lists a market, and another no more: a filter follows, and the other feeds know nothing of it."""

from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from fluxforge.domain.control import FeedKey
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, by_feed, events_of, sent
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(240)


def lists(simulator: Simulator, symbols: Collection[str]) -> None:
    """Have the venue list these of its markets alone; it knows them all."""
    (stage,) = simulator._markets
    chosen = tuple(one for one in stage.floor.instruments.values() if one.symbol in symbols)
    stage._venue = replace(stage._venue, instruments=chosen)  # type: ignore[type-var] # binance's is a dataclass


def ids_of(lines: list[Line], symbol: str) -> list[str]:
    return [str(trade["id"]) for line in by_feed(lines)["trades", symbol] for trade in line.data]


async def test_new_listings_are_captured_and_what_is_listed_no_more_is_let_go(rig: Rig, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    btc, eth, sol = (FeedKey("trades", f"{base}-USDT") for base in ("BTC", "ETH", "SOL"))
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(SimulateOptions(exchange="binance", ledger=ledger, pace=LIVELY))
        )
        lists(simulator, {"BTC/USDT", "ETH/USDT"})
        channels = {"watchTrades": {"quote": "USDT", "type": "spot"}}
        refreshed = {"ingestion": {"markets_refresh_seconds": 1}}
        async with rig.collector("binance", simulator.port, channels, **refreshed) as running:
            await running.until(lambda lines: len(by_feed(lines)) == 2)
            lists(simulator, {"BTC/USDT", "SOL/USDT"})
            await running.until(lambda lines: len(by_feed(lines)["trades", sol.symbol]) > 5)
            lists(simulator, ())  # believed to be a mistake
            await running.until(lambda _: "markets.load_failed" in running.log_path.read_text())
            before = len(await rig.lines(running.lane))
            await running.until(lambda lines: len(by_feed(lines[before:])) == 2)
            await stack.aclose()
            await running.until(lambda lines: any(btc in one.control.concerned() for one in lost(lines)))
            await running.stop()
            lines = await rig.lines(running.lane)
    gone = next(line for line in events_of(lines, "stopped") if line.control.concerned() == (eth,))
    assert (gone.control.ends_boot, gone.control.reason) == (False, "the venue lists it no more")
    assert not [line for line in by_feed(lines)["trades", eth.symbol] if line.capture_ns > gone.capture_ns]
    came = next(line for line in events_of(lines, "started") if line.control.concerned() == (sol,))
    assert came.control.reason == "the venue lists it"
    assert ids_of(lines, btc.symbol) == [str(one) for group in sent(ledger)["trades", btc.symbol] for one in group]
    (ended,) = [line for line in events_of(lines, "stopped") if line.control.ends_boot]
    assert set(ended.control.concerned()) == {btc, sol}


def lost(lines: list[Line]) -> list[Line]:
    return events_of(lines, "disconnected")
