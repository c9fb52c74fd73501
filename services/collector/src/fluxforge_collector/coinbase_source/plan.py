"""The plan: which products of which channels a shard captures, and which of them share a connection. Pure.

Whatever is asked for and cannot be had is refused by name, with the nearest known one, before anything is connected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import symbol_id
from fluxforge.domain.lane import shard_of
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings.lanes import COINBASE
from fluxforge_collector.coinbase_source.products import Product
from fluxforge_collector.markets_wanted import MarketsWanted
from fluxforge_collector.names import nearest, unstorable

CHANNELS: Final = {"market_trades": "trades", "ticker": "ticker", "candles": "ohlcv_5m", "level2": "orderbook"}
"""The venue's channels and our words for them, in the order of subscribing: the large one last."""


@dataclass(frozen=True, slots=True)
class Group:
    """What one connection carries: the feeds of each channel, by product id."""

    channels: Mapping[str, Mapping[str, Feed]]

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Every feed of the connection."""
        return tuple(feed for products in self.channels.values() for feed in products.values())


def plan(
    channels: Mapping[str, MarketsWanted],
    products: Mapping[str, Product],
    *,
    shard: int,
    shards: int,
    products_per_connection: int,
) -> tuple[Group, ...]:
    """Return the connections of one shard, all channels of a product on one; none where no product falls to it.

    Raises:
        ConfigurationError: A market that Coinbase does not list, that is another's alias, or that stands twice.
        NameRefusedError: A market that cannot be stored.
    """
    chosen = {channel: _chosen(channel, channels[channel], products) for channel in CHANNELS if channel in channels}
    if not any(chosen.values()):
        raise ConfigurationError("coinbase: nothing to capture; name markets in coinbase.channels")
    every = sorted({product.market for listed in chosen.values() for product in listed})
    mine = [market for market in every if shard_of(symbol_id(market), shards) == shard]
    shares = [mine[at : at + products_per_connection] for at in range(0, len(mine), products_per_connection)]
    return tuple(Group(_share(chosen, set(share))) for share in shares)


def unusable(channels: Mapping[str, MarketsWanted], products: Mapping[str, Product]) -> Mapping[str, str]:
    """Return the markets that a list of all would bring and that cannot be stored, and why."""
    every = {product.market for wanted in channels.values() if wanted.every for product in _active(wanted, products)}
    reasons = {market: unstorable(market) for market in sorted(every)}
    return {market: reason for market, reason in reasons.items() if reason}


def _share(chosen: Mapping[str, Sequence[Product]], markets: set[str]) -> dict[str, dict[str, Feed]]:
    by_channel = {
        channel: {
            product.id: Feed(COINBASE, COINBASE, CHANNELS[channel], product.market)
            for product in listed
            if product.market in markets
        }
        for channel, listed in chosen.items()
    }
    return {channel: feeds for channel, feeds in by_channel.items() if feeds}


def _chosen(channel: str, wanted: MarketsWanted, products: Mapping[str, Product]) -> list[Product]:
    if wanted.every:
        found = _active(wanted, products)
        if not found:
            quotes = {product.quote for product in products.values()}
            raise ConfigurationError(
                f"coinbase: {channel} finds no active market with quote {wanted.quote!r}"
                f"{nearest(str(wanted.quote), quotes)}"
            )
        return [product for product in found if not unstorable(product.market)]
    named: dict[str, Product] = {}
    for name in wanted.names:
        product = _named(channel, name, products)
        if product.market in named:
            raise ConfigurationError(f"coinbase: {channel} brings {product.market!r} a second time; keep one")
        named[product.market] = product
    return list(named.values())


def _named(channel: str, name: str, products: Mapping[str, Product]) -> Product:
    product = products.get(name) or next((each for each in products.values() if each.id == name), None)
    if product is None:
        known = [each.id for each in products.values()] if "-" in name and "/" not in name else list(products)
        raise ConfigurationError(f"coinbase has no spot market {name!r} for {channel}{nearest(name, known)}")
    if product.alias:
        real = next((each.market for each in products.values() if each.id == product.alias), product.alias)
        raise ConfigurationError(
            f"coinbase: {channel}: {name!r} is traded in the book of {real!r} and has no other data; name that"
        )
    if reason := unstorable(product.market):
        raise NameRefusedError("coinbase: market", product.market, reason)
    return product


def _active(wanted: MarketsWanted, products: Mapping[str, Product]) -> list[Product]:
    return [
        product
        for product in products.values()
        if product.is_active and not product.alias and wanted.quote in {None, product.quote}
    ]
