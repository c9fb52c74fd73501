from typing import Any

import pytest

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.feeds import Subscription, check_exchange, check_timeframe, left_out, listed, plan
from fluxforge_collector.ccxt_source.pacing import MARKETS_MAX
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.markets_wanted import MarketsWanted

HAS = {"watchOrderBook": True, "watchOrderBookForSymbols": True, "watchTrades": True, "watchTicker": True}
MARKETS = {
    "BTC/USDT": {"active": True, "quote": "USDT"},
    "ETH/USDT": {"active": True, "quote": "USDT"},
    "OLD/USDT": {"active": False, "quote": "USDT"},
    "BTC/EUR": {"active": None, "quote": "EUR"},
}


def planned(
    channels: dict[str, MarketsWanted], *, has: Any = HAS, markets: Any = MARKETS, shard: int = 0, shards: int = 1
) -> tuple[Subscription, ...]:
    return plan(VenueSettings("binance", 50, channels), has=has, markets=markets, shard=shard, shards=shards)


def wanted(*names: str) -> MarketsWanted:
    return MarketsWanted(names=names)


def feed(channel: str, market: str) -> Feed:
    return Feed("ccxt", "binance", channel, market)


def markets_of(subscriptions: tuple[Subscription, ...]) -> list[list[str | None]]:
    return [[feed.market for feed in subscription.feeds] for subscription in subscriptions]


def test_several_markets_are_one_subscription_where_the_venue_can_do_that() -> None:
    books, *trades = planned(
        {"watchOrderBook": wanted("BTC/USDT", "ETH/USDT"), "watchTrades": wanted("BTC/USDT", "ETH/USDT")}
    )
    assert books == Subscription(
        "watchOrderBookForSymbols",
        takes_list=True,
        feeds=(feed("orderbook", "BTC/USDT"), feed("orderbook", "ETH/USDT")),
    )
    assert trades == [
        Subscription("watchTrades", takes_list=False, feeds=(feed("trades", "BTC/USDT"),)),
        Subscription("watchTrades", takes_list=False, feeds=(feed("trades", "ETH/USDT"),)),
    ]


def test_one_market_is_watched_by_the_plain_call() -> None:
    assert planned({"watchOrderBook": wanted("BTC/USDT")}) == (
        Subscription("watchOrderBook", takes_list=False, feeds=(feed("orderbook", "BTC/USDT"),)),
    )


def test_a_subscription_holds_no_more_markets_than_venues_take() -> None:
    markets = {f"C{n}/USDT": {"active": True, "quote": "USDT"} for n in range(MARKETS_MAX + 1)}
    parts = planned({"watchOrderBook": MarketsWanted(every=True)}, markets=markets)
    assert [len(part.feeds) for part in parts] == [MARKETS_MAX, 1]


def test_a_split_subscription_is_one_call_per_market() -> None:
    (books,) = planned({"watchOrderBook": wanted("BTC/USDT", "ETH/USDT")})
    assert [(part.method, part.takes_list, len(part.feeds)) for part in books.split()] == [
        ("watchOrderBook", False, 1)
    ] * 2
    (tickers,) = planned({"watchTickers": wanted("BTC/USDT", "ETH/USDT")}, has={"watchTickers": True})
    assert [(part.method, part.takes_list, len(part.feeds)) for part in tickers.split()] == [
        ("watchTickers", True, 1)
    ] * 2


def test_a_star_is_every_active_market_and_a_quote_only_its_own() -> None:
    assert markets_of(planned({"watchTicker": MarketsWanted(every=True)})) == [["BTC/USDT"], ["ETH/USDT"], ["BTC/EUR"]]
    assert markets_of(planned({"watchTicker": MarketsWanted(every=True, quote="EUR")})) == [["BTC/EUR"]]


def test_the_shards_share_all_markets_and_no_market_is_in_two() -> None:
    markets = {f"C{n}/USDT": {"active": True, "quote": "USDT"} for n in range(40)}
    channels = {"watchTicker": MarketsWanted(every=True), "watchTrades": MarketsWanted(every=True)}
    found = []
    for shard in range(3):
        parts = planned(channels, markets=markets, shard=shard, shards=3)
        by_channel = {
            name: {p.feeds[0].market for p in parts if p.feeds[0].channel == name} for name in ("ticker", "trades")
        }
        assert by_channel["ticker"] == by_channel["trades"] != set()
        found += sorted(str(name) for name in by_channel["ticker"])
    assert sorted(found) == sorted(markets)


def test_no_markets_is_no_channel_but_no_channel_at_all_is_refused() -> None:
    assert len(planned({"watchTicker": wanted("BTC/USDT"), "watchTrades": wanted()})) == 1
    with pytest.raises(ConfigurationError, match="nothing to capture"):
        planned({"watchTrades": wanted()})


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"watchTrades": wanted("BTC/USD")}, r"binance has no market 'BTC/USD' for watchTrades; nearest: BTC/USDT"),
        ({"watchTrades": wanted("btc/usdt")}, r"no market 'btc/usdt'.*nearest: BTC/USDT"),
        ({"watchTrades": wanted("ZZZZZZZZ")}, r"no market 'ZZZZZZZZ'.*known: BTC/EUR, BTC/USDT"),
        (
            {"watchOHLCV": wanted("BTC/USDT")},
            r"binance does not support watchOHLCV.*it has watchOrderBook, watchTicker",
        ),
        (
            {"watchTrades": MarketsWanted(every=True, quote="USDX")},
            r"no active market with quote 'USDX'; nearest: USDT",
        ),
        (
            {"watchTicker": wanted("BTC/USDT"), "watchTickers": wanted("BTC/USDT")},
            r"watchTickers brings 'BTC/USDT' a second",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_nearest(channels: dict[str, MarketsWanted], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        planned(channels, has={**HAS, **({"watchTickers": True} if "watchTickers" in channels else {})})


def test_two_markets_with_one_symbol_id_are_refused() -> None:
    markets = {name: {"active": True, "quote": "X"} for name in ("A/B", "A-B")}
    with pytest.raises(ConfigurationError, match=r"'A/B' and 'A-B' share the symbol id 'A-B'"):
        planned({"watchTrades": wanted("A/B"), "watchTicker": wanted("A-B")}, markets=markets)


def test_a_market_whose_name_cannot_stand_in_a_path_is_refused() -> None:
    name = "X" * 300
    with pytest.raises(NameRefusedError, match=r"binance: market 'X+' refused: longer than 120 bytes when percent-enc"):
        planned({"watchTrades": wanted(name)}, markets={name: {"active": True, "quote": "X"}})


def test_a_list_of_all_leaves_out_what_cannot_be_stored_and_says_why() -> None:
    markets = {name: {"active": True, "quote": "X"} for name in ("A/X", "Y" * 121, "B-C/X", "B/C-X", "\ud800/X")}
    venue = VenueSettings("binance", 50, {"watchTrades": MarketsWanted(every=True)})
    refused = left_out(venue, markets)
    assert refused.keys() == {"Y" * 121, "B/C-X", "\ud800/X"}
    assert refused["B/C-X"] == "it shares the symbol id 'B-C-X' with 'B-C/X'"
    assert "surrogate" in refused["\ud800/X"]
    planned_markets = {feed.market for one in planned(dict(venue.channels), markets=markets) for feed in one.feeds}
    assert planned_markets == {"A/X", "B-C/X"}


def test_what_one_list_of_all_leaves_out_beside_another_is_what_is_said() -> None:
    markets = {"B-C/X": {"active": True, "quote": "X"}, "B/C-X": {"active": True, "quote": "C-X"}}
    channels = {
        name: MarketsWanted(every=True, quote=quote) for name, quote in (("watchTicker", "X"), ("watchTrades", "C-X"))
    }
    assert left_out(VenueSettings("binance", 50, channels), markets).keys() == {"B/C-X"}
    assert markets_of(planned(channels, markets=markets)) == [["B-C/X"]]


def test_an_unknown_exchange_is_refused_with_the_nearest() -> None:
    check_exchange("binance", ["binance", "kraken"])
    with pytest.raises(ConfigurationError, match=r"'binnance'; nearest: binance"):
        check_exchange("binnance", ["binance", "kraken"])


KINDS = {
    "BTC/USDT": {"active": True, "quote": "USDT", "type": "spot"},
    "BTC/USDT:USDT": {"active": True, "quote": "USDT", "type": "swap"},
    "BTC/USD:BTC": {"active": True, "quote": "USD", "type": "swap"},
    "BTC/USDT:USDT-301227": {"active": False, "quote": "USDT", "type": "future"},
}


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        ({"type": "swap"}, ["BTC/USDT:USDT", "BTC/USD:BTC"]),
        ({"quote": "USDT"}, ["BTC/USDT", "BTC/USDT:USDT"]),
        ({"quote": "USDT", "type": "swap"}, ["BTC/USDT:USDT"]),
    ],
)
def test_a_filter_is_by_quote_by_type_or_both(filtered: dict[str, str], expected: list[str]) -> None:
    planned_markets = markets_of(planned({"watchTicker": MarketsWanted(every=True, **filtered)}, markets=KINDS))
    assert [name for names in planned_markets for name in names] == expected


@pytest.mark.parametrize(
    ("filtered", "message"),
    [
        ({"type": "option"}, "no active market of type 'option'; known: future, spot, swap"),
        ({"type": "future"}, "no active market of type 'future'$"),
        ({"type": "swap", "quote": "USDX"}, "no active market of type 'swap' with quote 'USDX'; nearest: USD, USDT"),
    ],
)
def test_a_filter_that_finds_nothing_is_refused_with_what_there_is(filtered: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        planned({"watchTicker": MarketsWanted(every=True, **filtered)}, markets=KINDS)


def test_candles_are_asked_for_by_their_length_and_those_of_a_minute_alone_need_not_say_it() -> None:
    has = {"watchOHLCV": True, "watchOHLCVForSymbols": True}
    both = {"watchOHLCV": wanted("BTC/USDT", "ETH/USDT")}
    (minutes,) = planned(both, has=has)
    assert (minutes.method, minutes.feeds[0].channel) == ("watchOHLCVForSymbols", "ohlcv")
    assert minutes.arguments(["BTC/USDT", "ETH/USDT"]) == ([["BTC/USDT", "1m"], ["ETH/USDT", "1m"]],)
    venue = VenueSettings("binance", 50, {"watchOHLCV": wanted("BTC/USDT")}, timeframe="1h")
    (hours,) = plan(venue, has=has, markets=MARKETS, shard=0, shards=1)
    assert (hours.arguments(["BTC/USDT"]), hours.feeds[0].channel) == (("BTC/USDT", "1h"), "ohlcv_1h")
    assert [part.arguments(["BTC/USDT"]) for part in minutes.split()] == [("BTC/USDT", "1m")] * 2
    with pytest.raises(ConfigurationError, match=r"has no candles of '1h'; .*timeframe: expected one of 1m, 1d"):
        check_timeframe(venue, ["1m", "1d"])


def test_a_name_that_is_listed_no_more_is_left_out_of_what_is_wanted() -> None:
    channels = {"watchTicker": wanted("BTC/USDT", "ETH/USDT"), "watchTrades": MarketsWanted(every=True)}
    left = listed(VenueSettings("binance", 50, channels), {"ETH/USDT"})
    assert left.channels == {"watchTicker": wanted("ETH/USDT"), "watchTrades": MarketsWanted(every=True)}
