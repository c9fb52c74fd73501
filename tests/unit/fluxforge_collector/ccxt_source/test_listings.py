"""What a source asks for when its configuration changes: ccxt's own Binance, with its answers put in by hand."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ccxt
import orjson
import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings, load
from fluxforge_collector.ccxt_source.exchange import load_markets, open_exchange
from fluxforge_collector.ccxt_source.settings import venue_settings
from fluxforge_collector.ccxt_source.source import CcxtSource
from tests.unit.fluxforge_collector.made import collector_settings, events

FILTERS = [
    {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
    {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001"},
]
SPOT = {"isSpotTradingAllowed": True}
SWAP = {"contractType": "PERPETUAL", "marginAsset": "USDT", "deliveryDate": 4_133_404_800_000}


def market(base: str, more: dict[str, Any]) -> dict[str, Any]:
    names = {"symbol": f"{base}USDT", "baseAsset": base, "quoteAsset": "USDT"}
    return {**names, "status": "TRADING", "filters": FILTERS, **more}


def lists(*markets: dict[str, Any]) -> Any:
    async def answer(_: Any) -> Any:
        return {"symbols": list(markets)}

    return answer


class World:
    """A source of a spot market and its swap, on a venue that lists these and no others."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tree(self, *names: str) -> Settings:
        self.path.write_bytes(orjson.dumps({"ccxt": {"exchanges": {"binance": {"channels": {"watchTrades": names}}}}}))
        return load(self.path)

    async def open(self) -> None:
        venue = venue_settings(self.tree("BTC/USDT", "BTC/USDT:USDT"), "binance")
        self.exchange = open_exchange(venue)
        self.exchange.publicGetExchangeInfo = lists(market("BTC", SPOT), market("ETH", SPOT))
        self.exchange.fapiPublicGetExchangeInfo = lists(market("BTC", SWAP))
        self.exchange.dapiPublicGetExchangeInfo = lists()
        await load_markets(self.exchange, random.random, events())
        settings = collector_settings(self.path.parent)
        self.source = CcxtSource(self.exchange, venue, settings, chance=random.random, events=events())

    def wanted(self) -> list[str]:
        return [feed.market or "" for feed in self.source.feeds]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "config.json")
    await made.open()
    yield made
    await made.exchange.close()


async def test_a_configuration_that_is_refused_changes_nothing_of_what_is_asked_for_later(world: World) -> None:
    with pytest.raises(ConfigurationError, match="ETH/USDTT"):
        await world.source.reload(world.tree("BTC/USDT", "ETH/USDTT"))
    await world.source.refresh()
    assert world.wanted() == ["BTC/USDT", "BTC/USDT:USDT"]


async def test_a_configuration_that_is_accepted_says_what_is_asked_for_later(world: World) -> None:
    for names in (("BTC/USDT", "ETH/USDT"), ("BTC/USDT:USDT", "ETH/USDT")):
        await world.source.reload(world.tree(*names))
        await world.source.refresh()
        assert world.wanted() == list(names)


async def test_a_listing_that_ccxt_cannot_install_is_refused_and_everything_stays_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("id")

    with monkeypatch.context() as patched:
        patched.setattr(world.exchange, "set_markets", fail)
        with pytest.raises(ConfigurationError, match="markets cannot be loaded now: binance: KeyError: 'id'"):
            await world.source.reload(world.tree("BTC/USDT", "ETH/USDT"))
        with pytest.raises(ccxt.ExchangeError, match="KeyError"):
            await world.source.refresh()
    assert world.wanted() == ["BTC/USDT", "BTC/USDT:USDT"]
    await world.source.refresh()
    assert world.wanted() == ["BTC/USDT", "BTC/USDT:USDT"]
