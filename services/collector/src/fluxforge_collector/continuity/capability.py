"""Capabilities: of which channels a lost frame shows by the venue's own numbers or checksums, by ccxt's ids. Pure.

Of what is captured through ccxt as it subscribes. Everything else is unverifiable, whether or not something was lost.
"""

from types import MappingProxyType
from typing import Final

from fluxforge_collector.continuity.finding import BOOK, TRADES

EVERY_CHANNEL: Final = "*"

VERIFIED_CHANNELS: Final = MappingProxyType(
    {
        "binance": frozenset({BOOK, TRADES}),
        "binancecoinm": frozenset({BOOK, TRADES}),
        "binanceus": frozenset({BOOK, TRADES}),
        "binanceusdm": frozenset({BOOK, TRADES}),
        "bitget": frozenset({BOOK}),
        "bitstamp": frozenset[str](),
        "bybit": frozenset({BOOK}),
        "coinbase": frozenset({EVERY_CHANNEL}),
        "deribit": frozenset({BOOK}),
        "gate": frozenset({BOOK}),
        "gemini": frozenset[str](),  # ccxt asks for several markets by /v1/, whose frames are numbered, for one by /v2/
        "kraken": frozenset({BOOK}),
        "kucoin": frozenset({BOOK}),
        "okx": frozenset({BOOK}),
    }
)
"""Of each exchange with a detector."""


def is_verified(exchange: str, channel: str) -> bool:
    """Return whether a loss in a channel of an exchange shows, so that what shows none can be called whole."""
    return not VERIFIED_CHANNELS.get(exchange, frozenset()).isdisjoint({channel, EVERY_CHANNEL})
