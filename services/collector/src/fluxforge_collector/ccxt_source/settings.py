"""Settings of the ccxt source: one exchange of the tree, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fluxforge.runtime.settings import Settings
from fluxforge_collector.markets_wanted import MarketsWanted, markets_wanted


@dataclass(frozen=True, slots=True)
class VenueSettings:
    """One exchange as ccxt is asked to reach it. `channels`: ccxt method -> markets; `timeframe` is of candles."""

    exchange: str
    depth: int
    channels: Mapping[str, MarketsWanted]
    via: str | None = None
    api_key: str = ""
    api_secret: str = ""
    options: Mapping[str, Any] | None = None
    timeframe: str = "1m"


def venue_settings(tree: Settings, exchange: str) -> VenueSettings:
    """Return the part of the tree that says how ccxt is to reach a configured exchange."""
    chosen = tree.ccxt.exchanges[exchange]
    return VenueSettings(
        exchange=exchange,
        depth=chosen.max_orderbook_depth,
        channels={method.value: markets_wanted(markets) for method, markets in chosen.channels.items()},
        via=chosen.via,
        api_key=chosen.api_key.get_secret_value(),
        api_secret=chosen.api_secret.get_secret_value(),
        options=dict(chosen.options),
        timeframe=chosen.timeframe.value,
    )
