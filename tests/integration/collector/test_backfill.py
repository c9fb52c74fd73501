"""Trades that nobody captured are fetched when their hole has closed, and stand beside the live ones by their kind."""

from itertools import chain
from typing import Any

import pytest

from fluxforge_simulator.connection_fault import ConnectionFault, Fault
from fluxforge_simulator.options import SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.collector.rig import LIVELY, Rig, events_of
from tests.unit.fluxforge_collector.made import Line

pytestmark = pytest.mark.timeout(240)

CHANNELS = {"watchTrades": ["BTC/USDT"], "watchOrderBook": ["BTC/USDT"]}


def kinds(lines: list[Line]) -> tuple[list[Line], list[Line]]:
    """Return the live and the backfilled records of the trades."""
    trades = [line for line in lines if line.channel == "trades"]
    return [line for line in trades if not line.backfill], [line for line in trades if line.backfill]


def ids(lines: list[Line]) -> list[int]:
    return [int(trade["id"]) for trade in chain.from_iterable(line.data for line in lines)]


@pytest.mark.parametrize("exchange", ["binance", "binanceusdm"])
async def test_what_a_lost_connection_missed_is_fetched_and_marked(rig: Rig, exchange: str) -> None:
    settle = ":USDT" if exchange == "binanceusdm" else ""
    channels = {name: [f"{market}{settle}" for market in markets] for name, markets in CHANNELS.items()}
    async with Simulator(SimulateOptions(exchange=exchange, pace=LIVELY)) as venue:
        async with rig.collector(exchange, venue.port, channels) as running:
            await running.until(lambda lines: len(ids(kinds(lines)[0])) > 20, deadline_s=60)
            venue.inject(ConnectionFault(fault=Fault.UNREACHABLE, exchange=exchange, lasts_s=2.0))
            await running.until(lambda lines: kinds(lines)[1], deadline_s=60)
            await running.stop()
        lines = await rig.lines(running.lane)
    live, filled = kinds(lines)
    missed = ids(filled)
    every = sorted([*ids(live), *missed])
    assert missed
    assert every == list(range(every[0], every[-1] + 1))
    (lost,) = [line for line in events_of(lines, "recovered") if line.control.scope and line.control.reason]
    assert lost.control.scope.channel == "trades"
    assert all(line.capture_ns > (lost.control.to_ns or 0) for line in filled)


async def test_nothing_is_fetched_where_it_is_switched_off(rig: Rig) -> None:
    async with Simulator(SimulateOptions(exchange="binance", pace=LIVELY)) as venue:
        async with rig.collector("binance", venue.port, CHANNELS, ingestion={"backfill": False}) as running:
            await running.until(lambda lines: len(ids(kinds(lines)[0])) > 20, deadline_s=60)
            venue.inject(ConnectionFault(fault=Fault.UNREACHABLE, exchange="binance", lasts_s=1.0))
            await running.until(_goes_on, deadline_s=60)
            await running.stop()
        lines = await rig.lines(running.lane)
    assert not kinds(lines)[1]


def _goes_on(lines: list[Line]) -> Any:
    recovered = [line for line in events_of(lines, "recovered") if line.control.reason]
    return recovered and len([line for line in kinds(lines)[0] if line.capture_ns > recovered[-1].capture_ns]) > 20
