"""Hostile symbols: what a venue could list to get out of a path, a subject, a header, a log line or a query.

Every name is a base currency. Whoever stores them must refuse those it cannot store, and let nothing else suffer.
"""

from dataclasses import replace
from typing import Final

from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.venues.binance import BinanceVenue
from fluxforge_simulator.venues.venue import Venue

HOSTILE: Final = (
    "../../x",
    "/etc/passwd",
    "..",
    ".hidden",
    "a.b",
    "*",
    ">",
    "crlf\r\nPUB md.evil 1\r\nx",
    "nul\x00byte",
    "%2E%2E%2F",
    "100%",
    "__HIVE_DEFAULT_PARTITION__",
    "币安人生",
    "'; DROP TABLE books; --",
    'quo"te\\',
    "tab\tand space",
    "\N{PILE OF POO}",
    "a/b",
)
COLLIDING: Final = "a-b"
"""Its symbol reads like that of `a/b` wherever `/` is written `-`."""
TOO_LONG: Final = "y" * 300


def with_hostile(venue: Venue) -> Venue:
    """Return the venue with every hostile symbol listed beside its own.

    Raises:
        OptionError: Its protocol is not one that lists them.
    """
    if not isinstance(venue, BinanceVenue):
        raise OptionError("--hostile-symbols", venue.exchange, "--exchange binance or binanceus", "another one")
    quote = venue.instruments[0].quote
    listed = (Instrument(base, quote, 10.0, 2, 3) for base in (*HOSTILE, COLLIDING, TOO_LONG))
    return replace(venue, instruments=(*venue.instruments, *listed))
