"""Settings of the Coinbase source: its part of the tree, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings
from fluxforge_collector.markets_wanted import MarketsWanted, markets_wanted


@dataclass(frozen=True, slots=True)
class CoinbaseVenue:
    """What is asked of Coinbase. `channels`: the venue's channel -> markets; `via`: host:port that stands in for it."""

    depth: int
    channels: Mapping[str, MarketsWanted]
    products_per_connection: int
    via: str | None = None
    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)


def venue_settings(tree: Settings) -> CoinbaseVenue:
    """Return the part of the tree that says what to capture of Coinbase.

    Raises:
        ConfigurationError: There is none.
    """
    chosen = tree.coinbase
    if chosen is None:
        raise ConfigurationError("coinbase: not configured")
    return CoinbaseVenue(
        depth=chosen.max_orderbook_depth,
        channels={channel.value: markets_wanted(markets) for channel, markets in chosen.channels.items()},
        products_per_connection=chosen.products_per_connection,
        via=chosen.via,
        api_key=chosen.api_key.get_secret_value(),
        api_secret=chosen.api_secret.get_secret_value(),
    )
