import pytest

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.record import Feed
from fluxforge_collector.coinbase_source.plan import Group, plan, unusable
from fluxforge_collector.coinbase_source.products import Product
from fluxforge_collector.markets_wanted import MarketsWanted

LONG = "X" * 200


def product(market: str, alias: str | None = None, *, active: bool = True) -> Product:
    return Product(market.replace("/", "-"), market, market.split("/")[1], alias, active)


PRODUCTS = {
    each.market: each
    for each in (
        product("BTC/USD"),
        product("BTC/USDC", alias="BTC-USD"),
        product("ETH/USD"),
        product("ETH/EUR"),
        product("SOL/USD"),
        product("OLD/USD", active=False),
        product(f"{LONG}/GBP"),
    )
}


def planned(channels: dict[str, MarketsWanted], *, shard: int = 0, shards: int = 1, each: int = 10) -> list[Group]:
    return list(plan(channels, PRODUCTS, shard=shard, shards=shards, products_per_connection=each))


def names(*wanted: str) -> MarketsWanted:
    return MarketsWanted(names=wanted)


def feed(channel: str, market: str) -> Feed:
    return Feed("coinbase", "coinbase", channel, market)


def test_markets_are_named_as_ccxt_or_as_the_venue_names_them() -> None:
    (group,) = planned({"level2": names("BTC-USD", "ETH/USD"), "candles": names("BTC/USD")})
    assert group.channels == {
        "level2": {"BTC-USD": feed("orderbook", "BTC/USD"), "ETH-USD": feed("orderbook", "ETH/USD")},
        "candles": {"BTC-USD": feed("ohlcv_5m", "BTC/USD")},
    }
    assert set(group.feeds) == {
        feed("orderbook", "BTC/USD"),
        feed("orderbook", "ETH/USD"),
        feed("ohlcv_5m", "BTC/USD"),
    }


def test_the_large_channel_is_subscribed_last() -> None:
    (group,) = planned(dict.fromkeys(("level2", "ticker", "market_trades"), names("BTC/USD")))
    assert list(group.channels) == ["market_trades", "ticker", "level2"]


def test_all_channels_of_a_product_share_a_connection() -> None:
    three = names("BTC/USD", "ETH/USD", "SOL/USD")
    groups = planned({"level2": three, "ticker": three}, each=2)
    assert [set(group.channels["ticker"]) for group in groups] == [{"BTC-USD", "ETH-USD"}, {"SOL-USD"}]
    assert all(set(group.channels["level2"]) == set(group.channels["ticker"]) for group in groups)


def test_shards_share_the_markets_between_them() -> None:
    wanted = {"ticker": names("BTC/USD", "ETH/USD", "SOL/USD", "ETH/EUR")}
    shards = [planned(wanted, shard=shard, shards=2) for shard in range(2)]
    feeds = [each for groups in shards for group in groups for each in group.feeds]
    assert len(feeds) == len(set(feeds)) == 4
    assert all(shards)


def test_all_means_all_that_are_traded_and_have_data_of_their_own() -> None:
    (group,) = planned({"ticker": MarketsWanted(every=True)})
    assert set(group.channels["ticker"]) == {"BTC-USD", "ETH-USD", "ETH-EUR", "SOL-USD"}
    (group,) = planned({"ticker": MarketsWanted(every=True, quote="EUR")})
    assert set(group.channels["ticker"]) == {"ETH-EUR"}


def test_markets_that_a_list_of_all_brings_and_cannot_be_stored_are_named() -> None:
    assert list(unusable({"ticker": MarketsWanted(every=True)}, PRODUCTS)) == [f"{LONG}/GBP"]
    assert unusable({"ticker": names("BTC/USD")}, PRODUCTS) == {}


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"level2": names("BTC/USX")}, "coinbase has no spot market 'BTC/USX' for level2; nearest: BTC/USD"),
        ({"level2": names("BTC-USX")}, "coinbase has no spot market 'BTC-USX' for level2; nearest: BTC-USD"),
        (
            {"ticker": names("BTC/USDC")},
            "'BTC/USDC' is traded in the book of 'BTC/USD' and has no other data; name that",
        ),
        ({"ticker": names("BTC/USD", "BTC-USD")}, "ticker brings 'BTC/USD' a second time; keep one"),
        (
            {"ticker": MarketsWanted(every=True, quote="USX")},
            "ticker finds no active market with quote 'USX'; nearest: ",
        ),
        ({}, "coinbase: nothing to capture; name markets in coinbase.channels"),
        ({"ticker": names()}, "coinbase: nothing to capture; name markets in coinbase.channels"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(channels: dict[str, MarketsWanted], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        planned(channels)
    assert message in str(refused.value)


def test_a_market_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(NameRefusedError, match="longer than 120 bytes"):
        planned({"ticker": names(f"{LONG}/GBP")})
