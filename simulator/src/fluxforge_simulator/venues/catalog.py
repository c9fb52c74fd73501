"""The catalog: the venues of market mode by their ccxt ids."""

from fluxforge_simulator.venues.binance import BINANCE, BINANCEUS
from fluxforge_simulator.venues.coinbase import COINBASE
from fluxforge_simulator.venues.kraken import KRAKEN
from fluxforge_simulator.venues.venue import Venue

VENUES: dict[str, Venue] = {venue.exchange: venue for venue in (BINANCE, BINANCEUS, COINBASE, KRAKEN)}
