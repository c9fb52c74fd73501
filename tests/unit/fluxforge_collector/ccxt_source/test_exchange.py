import random

import ccxt
import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge_collector.ccxt_source.exchange import load_markets, open_exchange
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.markets_wanted import MarketsWanted
from tests.unit.fluxforge_collector.made import events


def venue(exchange: str = "binance", *names: str, **more: object) -> VenueSettings:
    channels = {"watchTrades": MarketsWanted(names=names or ("BTC/USDT",))}
    return VenueSettings(exchange, 50, channels, **more)  # type: ignore[arg-type] # keywords of the test


async def test_every_address_leads_via_the_stand_in() -> None:
    exchange = open_exchange(venue(via="127.0.0.1:8800"))
    assert exchange.urls["api"]["public"].startswith("http://127.0.0.1:8800/api.binance.com/")
    assert exchange.urls["api"]["ws"]["spot"].startswith("ws://127.0.0.1:8800/stream.binance.com")
    assert not exchange.enableRateLimit
    await exchange.close()


async def test_a_live_exchange_is_asked_within_its_rate_limits_and_pinged_often() -> None:
    exchange = open_exchange(venue())
    assert exchange.enableRateLimit
    assert exchange.streaming["keepAlive"] <= 30_000
    assert exchange.urls["api"]["public"].startswith("https://")
    await exchange.close()


@pytest.mark.parametrize(
    ("settings", "types"),
    [
        (venue("binance", "BTC/USDT"), ["spot"]),
        (venue("binance", "BTC/USDT", "BTC/USDT:USDT"), ["spot", "linear", "inverse"]),
        (venue("binance", "BTC/USDT", options={"fetchMarkets": {"types": ["linear"]}}), ["linear"]),
    ],
)
async def test_only_the_markets_that_can_be_meant_are_asked_for(settings: VenueSettings, types: list[str]) -> None:
    exchange = open_exchange(settings)
    assert exchange.options["fetchMarkets"]["types"] == types
    await exchange.close()


async def test_an_exchange_that_refuses_the_credentials_is_not_asked_again() -> None:
    class Refusing:
        id = "binance"

        async def load_markets(self) -> None:
            raise ccxt.AuthenticationError("bad key")

    with pytest.raises(ConfigurationError, match="binance: markets cannot be loaded: bad key"):
        await load_markets(Refusing(), random.random, events())
