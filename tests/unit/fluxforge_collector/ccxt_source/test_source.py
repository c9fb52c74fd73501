"""A ccxt source whose configuration changes before it runs; its venue lists what it is told to, and says nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxforge.domain.control import Event
from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings
from fluxforge_collector.ccxt_source.exchange import open_exchange
from fluxforge_collector.ccxt_source.settings import venue_settings
from fluxforge_collector.ccxt_source.source import CcxtSource
from fluxforge_collector.settings import settings_of
from tests.unit.fluxforge_collector.made import LANE, Desk, events


def tree(**channels: list[str]) -> Settings:
    return Settings.model_validate({"ccxt": {"exchanges": {"binance": {"channels": channels}}}})


def listed(exchange: Any, base: str) -> dict[str, Any]:
    market = {"id": f"{base}USDT", "symbol": f"{base}/USDT", "base": base, "quote": "USDT", "type": "spot"}
    return exchange.safe_market_structure({**market, "spot": True, "active": True})


@pytest.fixture
async def source() -> AsyncIterator[CcxtSource]:
    venue = venue_settings(tree(watchTrades=["BTC/USDT", "ETH/USDT"]), "binance")
    exchange = open_exchange(venue)

    async def listing(*_: Any) -> list[dict[str, Any]]:
        return [listed(exchange, base) for base in ("BTC", "ETH", "SOL")]

    async def silence(*_: Any) -> None:
        await asyncio.Event().wait()

    exchange.fetch_markets = listing
    exchange.watchTrades = exchange.watchTradesForSymbols = silence
    await exchange.load_markets()
    made = CcxtSource(exchange, venue, settings_of(Settings(), LANE), chance=lambda: 0.0, events=events())
    yield made
    await made.close()


async def test_what_is_reloaded_after_the_lane_was_opened_is_in_the_lane_when_the_source_runs(
    source: CcxtSource,
) -> None:
    desk = Desk(feeds=tuple(source.feeds))
    desk.writer.start(None)
    await source.reload(tree(watchTrades=["BTC/USDT", "SOL/USDT"]))
    running = asyncio.ensure_future(source.run(desk.writer))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [(one.event, [key.symbol for key in one.concerned()]) for one in desk.controls] == [
        (Event.STARTED, ["BTC-USDT", "ETH-USDT"]),
        (Event.STOPPED, ["ETH-USDT"]),
        (Event.STARTED, ["SOL-USDT"]),
    ]
    assert {feed.market for feed in desk.writer.feeds} == {"BTC/USDT", "SOL/USDT"}


async def test_candles_of_a_length_that_the_venue_has_not_are_refused_at_a_reload(source: CcxtSource) -> None:
    source._exchange.timeframes = {"5m": "5m"}
    with pytest.raises(ConfigurationError, match="has no candles of '1m'"):
        await source.reload(tree(watchOHLCV=["BTC/USDT"]))
    assert {feed.channel for feed in source.feeds} == {"trades"}
