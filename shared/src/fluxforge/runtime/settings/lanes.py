"""Configured lanes: what the tree has collectors write, one lane each."""

from typing import Final

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane, Leg
from fluxforge.runtime.settings.databento import exchange_id
from fluxforge.runtime.settings.tree import Settings

CCXT: Final = "ccxt"
COINBASE: Final = "coinbase"
DATABENTO: Final = "databento"
IBKR: Final = "ibkr"


def configured_lanes(tree: Settings) -> tuple[Lane, ...]:
    """Return the lanes of every exchange with something to capture, in the order of the configuration.

    Raises:
        ConfigurationError: Nothing is configured.
    """
    found = _lanes(tree)
    if not found:
        raise ConfigurationError(
            "nothing to capture: name markets under ccxt.exchanges.<exchange>.channels or coinbase.channels, symbols "
            "under databento.datasets.<dataset>.channels, or contracts under ibkr.channels; "
            "config/config.example.yaml shows how, and `fluxforge demo` needs no configuration"
        )
    return found


def check_configured(tree: Settings, lane: Lane) -> None:
    """Refuse a lane that the configuration does not have.

    Raises:
        ConfigurationError: Names those of its exchange, or else all.
    """
    found = configured_lanes(tree)
    if lane in found:
        return
    near = [one for one in found if (one.source, one.exchange) == (lane.source, lane.exchange)] or found
    raise ConfigurationError(f"lane {lane} is not configured; configured: {', '.join(map(str, near))}")


def _lanes(tree: Settings) -> tuple[Lane, ...]:
    shards = {(CCXT, name): one.shards for name, one in tree.ccxt.exchanges.items() if any(one.channels.values())}
    if tree.coinbase and any(tree.coinbase.channels.values()):
        shards[COINBASE, COINBASE] = tree.coinbase.shards
    for name, dataset in tree.databento.datasets.items() if tree.databento else ():
        if any(dataset.channels.values()):
            shards[DATABENTO, exchange_id(name)] = 1
    if tree.ibkr and any(tree.ibkr.channels.values()):
        shards[IBKR, IBKR] = 1
    legs = {(CCXT, name): one.legs for name, one in tree.ccxt.exchanges.items()}
    return tuple(
        Lane(*venue, f"{shard}of{count}{leg}")
        for venue, count in shards.items()
        for shard in range(count)
        for leg in (Leg.A, Leg.B)[: legs.get(venue, 1)]
    )
