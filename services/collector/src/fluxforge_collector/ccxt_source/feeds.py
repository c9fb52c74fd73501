"""Feeds: which markets of which channels a shard captures, checked against what the exchange has. Pure.

Whatever is asked for and cannot be had is refused by name, with the nearest known one, before anything is started.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import check_distinct_symbols, encode_component, symbol_id
from fluxforge.domain.lane import shard_of
from fluxforge.domain.record import Feed
from fluxforge_collector.settings import SOURCE, MarketsWanted, VenueSettings

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
}
_LISTS: Final = frozenset({"watchTickers", "watchBidsAsks", "watchFundingRates", "watchMarkPrices"})
"""Methods that take a list of markets by themselves."""
SYMBOLS_MAX: Final = 50
"""Markets in one subscription at most; several venues refuse more."""
_NAMES_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Subscription:
    """One watch call of ccxt and the feeds it brings. `takes_list`: the call takes a list of markets."""

    method: str
    takes_list: bool
    feeds: tuple[Feed, ...]

    def split(self) -> tuple["Subscription", ...]:
        """Return one subscription per feed."""
        single = next((name for name, many in _FOR_SYMBOLS.items() if many == self.method), None)
        return tuple(Subscription(single or self.method, not single and self.takes_list, (f,)) for f in self.feeds)


def check_exchange(exchange: str, known: Collection[str]) -> None:
    """Refuse an exchange that ccxt.pro does not have.

    Raises:
        ConfigurationError: Names the nearest known ones.
    """
    if exchange not in known:
        raise ConfigurationError(f"ccxt.pro has no exchange {exchange!r}{_nearest(exchange, known)}")


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
    subscriptions: list[Subscription] = []
    taken: set[Feed] = set()
    for method, names in chosen.items():
        feeds = [
            Feed(SOURCE, venue.exchange, CHANNELS[method], market)
            for market in names
            if shard_of(symbol_id(market), shards) == shard
        ]
        for feed in feeds:
            if feed in taken:
                raise ConfigurationError(f"{venue.exchange}: {method} brings {feed.market!r} a second time; keep one")
            taken.add(feed)
        subscriptions += _subscriptions(method, feeds, has)
    if not chosen:
        raise ConfigurationError(f"{venue.exchange}: nothing to capture; name markets in channels")
    return tuple(subscriptions)


def _subscriptions(method: str, feeds: Sequence[Feed], has: Mapping[str, Any]) -> list[Subscription]:
    many = _FOR_SYMBOLS.get(method)
    if method in _LISTS:
        many = method
    if many is None or not has.get(many) or (len(feeds) == 1 and method not in _LISTS):
        return [Subscription(method, takes_list=False, feeds=(feed,)) for feed in feeds]
    groups = [feeds[start : start + SYMBOLS_MAX] for start in range(0, len(feeds), SYMBOLS_MAX)]
    return [Subscription(many, takes_list=True, feeds=tuple(group)) for group in groups]


def _is_wanted(wanted: MarketsWanted) -> bool:
    return wanted.every or bool(wanted.names)


def _check_method(exchange: str, method: str, has: Mapping[str, Any]) -> None:
    if has.get(method):
        return
    supported = sorted(name for name in CHANNELS if has.get(name))
    raise ConfigurationError(
        f"{exchange} does not support {method}{_nearest(method, supported)}; it has {', '.join(supported) or 'none'}"
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
            quotes = sorted({str(market.get("quote")) for market in markets.values()})
            raise ConfigurationError(
                f"{exchange}: {method} finds no active market with quote {wanted.quote!r}"
                f"{_nearest(str(wanted.quote), quotes)}"
            )
        return tuple(name for name in found if name not in refused)
    for name in wanted.names:
        if name not in markets:
            raise ConfigurationError(f"{exchange} has no market {name!r} for {method}{_nearest(name, markets)}")
        reason = _reason(name)
        if reason:
            raise NameRefusedError(f"{exchange}: market", name, reason)
    return wanted.names


def _active(wanted: MarketsWanted, markets: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(
        name
        for name, market in markets.items()
        if market.get("active") is not False and wanted.quote in {None, market.get("quote")}
    )


def _refused(names: Iterable[str]) -> dict[str, str]:
    """Return which of a venue's markets cannot be stored, and why; of those that share an id the first by name can."""
    refused: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in sorted(names):
        reason = _reason(name)
        if not reason:
            first = taken.setdefault(symbol_id(name), name)
            reason = f"it shares the symbol id {symbol_id(name)!r} with {first!r}" if first != name else ""
        if reason:
            refused[name] = reason
    return refused


def _reason(name: str) -> str:
    try:
        encode_component(symbol_id(name))
    except NameRefusedError as error:
        return error.reason
    return ""


def _nearest(name: str, known: Collection[str]) -> str:
    by_lower = {other.lower(): other for other in known}
    near = [by_lower[lower] for lower in get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.6)]
    if near:
        return f"; nearest: {', '.join(near)}"
    shown = sorted(known)[:_NAMES_SHOWN]
    return f"; known: {', '.join(shown)}{', ...' if len(known) > len(shown) else ''}" if shown else ""
