"""The sources: what a lane's source name stands for.

Each is imported only where it is wanted: ccxt alone takes a second and 100 MB, Databento's client as much.
"""

from collections.abc import Callable

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.settings import CollectorSettings
from fluxforge_collector.source import Source


async def open_source(
    tree: Settings, settings: CollectorSettings, *, chance: Callable[[], float], events: CollectorEvents
) -> Source:
    """Return the source of a collector's lane, planned and not yet subscribed to anything.

    Raises:
        ConfigurationError: What is configured does not exist at the venue; the nearest that does is named.
    """
    match settings.lane.source:
        case "ccxt":
            from fluxforge_collector.ccxt_source.source import CcxtSource  # noqa: PLC0415 - heavy

            return await CcxtSource.prepare(tree, settings, chance=chance, events=events)
        case "coinbase":
            from fluxforge_collector.coinbase_source.source import CoinbaseSource  # noqa: PLC0415 - aiohttp, keys

            return await CoinbaseSource.prepare(tree, settings, chance=chance, events=events)
        case "databento":
            from fluxforge_collector.databento_source.source import DatabentoSource  # noqa: PLC0415 - heavy

            return await DatabentoSource.prepare(tree, settings, chance=chance, events=events)
        case "ibkr" if tree.ibkr:
            from fluxforge_collector.ibkr_source.source import IbkrSource  # noqa: PLC0415 - heavy

            return await IbkrSource.prepare(tree.ibkr, silence=settings.silence, chance=chance, events=events)
        case unknown:
            raise ConfigurationError(f"source {unknown!r}: expected ccxt, coinbase, databento or ibkr")
