"""The catalog: the venues of market mode by their ccxt ids.

Of two venues that serve a host, the first one here has it: the USD-M futures stand at two hosts of Binance's domain.
"""

from fluxforge_simulator.venues.binance import BINANCE, BINANCEUS, BINANCEUSDM
from fluxforge_simulator.venues.bybit import BYBIT
from fluxforge_simulator.venues.coinbase import COINBASE
from fluxforge_simulator.venues.kraken import KRAKEN
from fluxforge_simulator.venues.okx import OKX
from fluxforge_simulator.venues.venue import Venue

VENUES: dict[str, Venue] = {
    venue.exchange: venue for venue in (BINANCEUSDM, BINANCE, BINANCEUS, BYBIT, COINBASE, KRAKEN, OKX)
}
