"""Feeds: which markets of which channels a shard captures, checked against what the exchange has. Pure.

Whatever is asked for and cannot be had is refused by name, with the nearest known one, before anything is started.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import check_distinct_symbols, symbol_id
from fluxforge.domain.lane import shard_of
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings.lanes import CCXT
from fluxforge_collector.ccxt_source.pacing import MARKETS_MAX
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.markets_wanted import MarketsWanted
from fluxforge_collector.names import nearest, unstorable

CHANNELS: Final = {
    "watchOrderBook": "orderbook",
    "watchTrades": "trades",
    "watchTicker": "ticker",
    "watchTickers": "ticker",
    "watchBidsAsks": "bidsasks",
    "watchOHLCV": "ohlcv",
    "watchLiquidations": "liquidations",
    "watchFundingRate": "funding_rate",
    "watchFundingRates": "funding_rate",
    "watchMarkPrice": "mark_price",
    "watchMarkPrices": "mark_price",
}
_FOR_SYMBOLS: Final = {
    "watchOrderBook": "watchOrderBookForSymbols",
    "watchTrades": "watchTradesForSymbols",
    "watchOHLCV": "watchOHLCVForSymbols",
    "watchLiquidations": "watchLiquidationsForSymbols",
}
_CANDLES: Final = "watchOHLCV"
_MINUTE: Final = "1m"
_LISTS: Final = frozenset({"watchTickers", "watchBidsAsks", "watchFundingRates", "watchMarkPrices"})
"""Methods that take a list of markets by themselves."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One watch call of ccxt and the feeds it brings.

    `takes_list`: the call takes a list of markets; `timeframe` is of candles, None for anything else.
    """

    method: str
    takes_list: bool
    feeds: tuple[Feed, ...]
    timeframe: str | None = None

    def split(self) -> tuple["Subscription", ...]:
        """Return one subscription per feed."""
        single = next((name for name, many in _FOR_SYMBOLS.items() if many == self.method), None)
        takes_list = not single and self.takes_list
        return tuple(
            replace(self, method=single or self.method, takes_list=takes_list, feeds=(feed,)) for feed in self.feeds
        )

    def without(self, markets: Collection[str]) -> "Subscription":
        """Return it without the feeds of these markets."""
        return replace(self, feeds=tuple(feed for feed in self.feeds if feed.market not in markets))

    def including(self, feed: Feed) -> "Subscription":
        """Return it with another feed."""
        return replace(self, feeds=(*self.feeds, feed))

    def brings(self, method: str) -> bool:
        """Return whether it is what a configured method became."""
        return self.method in {method, _FOR_SYMBOLS.get(method)}

    def arguments(self, markets: Sequence[str]) -> tuple[Any, ...]:
        """Return what the call is made with for these of its markets."""
        if self.timeframe is None:
            return (list(markets),) if self.takes_list else (markets[0],)
        return ([[name, self.timeframe] for name in markets],) if self.takes_list else (markets[0], self.timeframe)


def check_exchange(exchange: str, known: Collection[str]) -> None:
    """Refuse an exchange that ccxt.pro does not have.

    Raises:
        ConfigurationError: Names the nearest known ones.
    """
    if exchange not in known:
        raise ConfigurationError(f"ccxt.pro has no exchange {exchange!r}{nearest(exchange, known)}")


def check_timeframe(venue: VenueSettings, known: Collection[str] | None) -> None:
    """Refuse candles that the exchange does not have.

    Raises:
        ConfigurationError: Names those it has.
    """
    wants = any(_is_wanted(wanted) for method, wanted in venue.channels.items() if method == _CANDLES)
    if wants and known and venue.timeframe not in known:
        raise ConfigurationError(
            f"{venue.exchange} has no candles of {venue.timeframe!r}; ccxt.exchanges.{venue.exchange}.timeframe: "
            f"expected one of {', '.join(known)}"
        )


def listed(venue: VenueSettings, markets: Collection[str]) -> VenueSettings:
    """Return the settings without the names that the exchange lists no more."""
    channels = {
        method: replace(wanted, names=tuple(name for name in wanted.names if name in markets))
        for method, wanted in venue.channels.items()
    }
    return replace(venue, channels=channels)


def left_out(venue: VenueSettings, markets: Mapping[str, Mapping[str, Any]]) -> Mapping[str, str]:
    """Return the markets that a list of all would bring and that cannot be stored, and why."""
    every = [wanted for wanted in venue.channels.values() if wanted.every]
    return _refused({name for wanted in every for name in _active(wanted, markets)})


def plan(
    venue: VenueSettings,
    *,
    has: Mapping[str, Any],
    markets: Mapping[str, Mapping[str, Any]],
    shard: int,
    shards: int,
) -> tuple[Subscription, ...]:
    """Return the subscriptions of one shard; none where no market falls to it.

    Raises:
        ConfigurationError: A channel or market that the exchange does not have, or two markets with one symbol id.
        NameRefusedError: A market that cannot be stored.
    """
    return grouped(venue, wanted_feeds(venue, has=has, markets=markets, shard=shard, shards=shards), has=has)


def wanted_feeds(
    venue: VenueSettings,
    *,
    has: Mapping[str, Any],
    markets: Mapping[str, Mapping[str, Any]],
    shard: int,
    shards: int,
) -> dict[str, list[Feed]]:
    """Return the feeds of one shard by the method that brings them.

    Raises:
        ConfigurationError: A channel or market that the exchange does not have, or two markets with one symbol id.
        NameRefusedError: A market that cannot be stored.
    """
    refused = left_out(venue, markets)
    chosen = {
        method: _markets(venue.exchange, method, wanted, markets, refused)
        for method, wanted in venue.channels.items()
        if _is_wanted(wanted)
    }
    for method in chosen:
        _check_method(venue.exchange, method, has)
    every = dict.fromkeys(market for names in chosen.values() for market in names)
    check_distinct_symbols(venue.exchange, every)
    found: dict[str, list[Feed]] = {}
    taken: set[Feed] = set()
    for method, names in chosen.items():
        feeds = [
            Feed(CCXT, venue.exchange, channel_of(method, venue.timeframe), market)
            for market in names
            if shard_of(symbol_id(market), shards) == shard
        ]
        for feed in feeds:
            if feed in taken:
                raise ConfigurationError(f"{venue.exchange}: {method} brings {feed.market!r} a second time; keep one")
            taken.add(feed)
        found[method] = feeds
    if not chosen:
        raise ConfigurationError(f"{venue.exchange}: nothing to capture; name markets in channels")
    return found


def grouped(
    venue: VenueSettings,
    feeds: Mapping[str, Sequence[Feed]],
    *,
    has: Mapping[str, Any],
    markets_max: int = MARKETS_MAX,
) -> tuple[Subscription, ...]:
    """Return the fewest subscriptions that bring feeds, given by method; at most `markets_max` markets in each."""
    return tuple(one for method, own in feeds.items() for one in _subscriptions(venue, method, own, has, markets_max))


def channel_of(method: str, timeframe: str = _MINUTE) -> str:
    """Return the channel that a method brings; candles of a minute are `ohlcv`, any others name their length."""
    channel = CHANNELS[method]
    return channel if method != _CANDLES or timeframe == _MINUTE else f"{channel}_{timeframe}"


def _subscriptions(
    venue: VenueSettings, method: str, feeds: Sequence[Feed], has: Mapping[str, Any], markets_max: int
) -> list[Subscription]:
    timeframe = venue.timeframe if method == _CANDLES else None
    many = _FOR_SYMBOLS.get(method)
    if method in _LISTS:
        many = method
    if many is None or not has.get(many) or (len(feeds) == 1 and method not in _LISTS):
        return [Subscription(method, takes_list=False, feeds=(feed,), timeframe=timeframe) for feed in feeds]
    groups = [feeds[start : start + markets_max] for start in range(0, len(feeds), markets_max)]
    return [Subscription(many, takes_list=True, feeds=tuple(group), timeframe=timeframe) for group in groups]


def _is_wanted(wanted: MarketsWanted) -> bool:
    return wanted.every or bool(wanted.names)


def _check_method(exchange: str, method: str, has: Mapping[str, Any]) -> None:
    if has.get(method):
        return
    supported = sorted(name for name in CHANNELS if has.get(name))
    raise ConfigurationError(
        f"{exchange} does not support {method}{nearest(method, supported)}; it has {', '.join(supported) or 'none'}"
    )


def _markets(
    exchange: str,
    method: str,
    wanted: MarketsWanted,
    markets: Mapping[str, Mapping[str, Any]],
    refused: Collection[str],
) -> tuple[str, ...]:
    if wanted.every:
        found = _active(wanted, markets)
        if not found:
            raise ConfigurationError(f"{exchange}: {method} finds no active market{_unmet(wanted, markets)}")
        return tuple(name for name in found if name not in refused)
    for name in wanted.names:
        if name not in markets:
            raise ConfigurationError(f"{exchange} has no market {name!r} for {method}{nearest(name, markets)}")
        reason = unstorable(name)
        if reason:
            raise NameRefusedError(f"{exchange}: market", name, reason)
    return wanted.names


def _active(wanted: MarketsWanted, markets: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(
        name
        for name, market in markets.items()
        if market.get("active") is not False
        and wanted.quote in {None, market.get("quote")}
        and wanted.type in {None, market.get("type")}
    )


def _unmet(wanted: MarketsWanted, markets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a filter asks for and finds nothing of, with the nearest there is."""
    of_type = [market for market in markets.values() if wanted.type in {None, market.get("type")}]
    if wanted.type and not of_type:
        return f" of type {wanted.type!r}{nearest(wanted.type, _values('type', markets.values()))}"
    kind = f" of type {wanted.type!r}" if wanted.type else ""
    if wanted.quote is None:
        return kind
    return f"{kind} with quote {wanted.quote!r}{nearest(wanted.quote, _values('quote', of_type))}"


def _values(key: str, markets: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({str(market.get(key)) for market in markets})


def _refused(names: Iterable[str]) -> dict[str, str]:
    """Return which of a venue's markets cannot be stored, and why; of those that share an id the first by name can."""
    refused: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in sorted(names):
        reason = unstorable(name)
        if not reason:
            first = taken.setdefault(symbol_id(name), name)
            reason = f"it shares the symbol id {symbol_id(name)!r} with {first!r}" if first != name else ""
        if reason:
            refused[name] = reason
    return refused
