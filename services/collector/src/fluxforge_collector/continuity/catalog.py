"""The catalog: which detector follows a connection of which exchange, by ccxt's ids. Pure."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from fluxforge_collector.continuity.binance import BinanceDetector
from fluxforge_collector.continuity.bitstamp import BitstampDetector
from fluxforge_collector.continuity.bybit import BybitDetector
from fluxforge_collector.continuity.connection_counter import CoinbaseDetector, GeminiDetector
from fluxforge_collector.continuity.deribit import DeribitDetector
from fluxforge_collector.continuity.finding import Detector
from fluxforge_collector.continuity.kraken import KrakenDetector
from fluxforge_collector.continuity.okx import OkxDetector
from fluxforge_collector.continuity.ranges import GateDetector, KucoinDetector

DETECTORS: Final = MappingProxyType[str, Callable[[], Detector]](
    {
        "binance": BinanceDetector,
        "binancecoinm": BinanceDetector,
        "binanceus": BinanceDetector,
        "binanceusdm": BinanceDetector,
        "bitget": OkxDetector,
        "bitstamp": BitstampDetector,
        "bybit": BybitDetector,
        "coinbase": CoinbaseDetector,
        "deribit": DeribitDetector,
        "gate": GateDetector,
        "gemini": GeminiDetector,
        "kraken": KrakenDetector,
        "kucoin": KucoinDetector,
        "okx": OkxDetector,
    }
)


def detector_of(exchange: str) -> Detector | None:
    """Return a new detector for one connection of an exchange; None where there is none."""
    make = DETECTORS.get(exchange)
    return None if make is None else make()
