"""Connections, as what is known of them is kept."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.fluxforge_collector.ccxt_source.test_tap import World
from tests.unit.fluxforge_collector.made import BOOK


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.exchange.close()


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("wss://ws.kucoin.com/?token=a%3D1&connectId=public", "wss://ws.kucoin.com/?token=b&connectId=public", 1),
        (
            "wss://ws.kucoin.com/?token=a&connectId=public",
            "wss://ws.kucoin.com/?token=a&connectId=publicFutures",
            2,
        ),
        ("wss://x/?subscribe=ticker-btc-usd", "wss://x/?subscribe=ticker-eth-usd", 2),
        ("wss://stream.binance.com/ws/0", "wss://stream.binance.com/ws/1", 2),
    ],
)
async def test_a_connection_has_the_name_of_the_one_whose_place_it_takes(
    world: World, one: str, other: str, names: int
) -> None:
    found = set()
    for url in (one, other):
        scope = world.scope(BOOK)
        client = world.exchange.client(url)
        world.tap.carry(scope, client)
        world.tap.opened(client)
        found.add(world.tap.standing[-1].name)
        world.tap.lost(client, "closed")
    assert len(found) == names
