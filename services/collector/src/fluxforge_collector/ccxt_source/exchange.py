"""The exchange: a ccxt.pro instance with the tap in it, led via a stand-in if asked, and its markets."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import ccxt.pro

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.errors import ConfigurationError
from fluxforge_collector.ccxt_source.feeds import check_exchange
from fluxforge_collector.ccxt_source.mixin import TapMixin
from fluxforge_collector.ccxt_source.settings import VenueSettings
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.via import lead_via

_TIMEOUT_LIVE_MS: Final = 10_000
_TIMEOUT_VIA_MS: Final = 3_000
_KEEP_ALIVE_MS_MAX: Final = 30_000
"""A frozen peer is noticed after three times this; some of ccxt's own values make it nine minutes."""
_LOAD_BACKOFF: Final = Backoff(base_s=0.5, cap_s=30.0)
_CONTRACT_MARK: Final = ":"
_SPOT: Final = "spot"


def open_exchange(venue: VenueSettings) -> Any:
    """Return an exchange that is not connected to anything yet. Call it on a running event loop.

    Raises:
        ConfigurationError: ccxt.pro has no such exchange, or it refuses its options.
    """
    check_exchange(venue.exchange, ccxt.pro.exchanges)
    kind = type(venue.exchange, (TapMixin, getattr(ccxt.pro, venue.exchange)), {})
    try:
        exchange = kind(
            {
                "apiKey": venue.api_key,
                "secret": venue.api_secret,
                "enableRateLimit": venue.via is None,
                "timeout": _TIMEOUT_LIVE_MS if venue.via is None else _TIMEOUT_VIA_MS,
                "options": dict(venue.options or {}),
            }
        )
    except (TypeError, ValueError, ccxt.BaseError) as error:
        raise ConfigurationError(f"ccxt.exchanges.{venue.exchange}.options refused by ccxt: {error}") from error
    if venue.via is not None:
        exchange.urls = lead_via(exchange.urls, venue.via)
    exchange.has["fetchCurrencies"] = False  # not needed, and several more requests at every start
    if "fetchMargins" not in (venue.options or {}):
        exchange.options["fetchMargins"] = False  # signed requests, where keys are given, for what nobody asks
    exchange.streaming = {**(exchange.streaming or {}), "keepAlive": _keep_alive_ms(exchange)}
    narrow_markets(exchange, venue)
    return exchange


async def load_markets(exchange: Any, chance: Callable[[], float], events: CollectorEvents) -> None:
    """Load the markets; an exchange that does not answer is asked until it does.

    Raises:
        ConfigurationError: The exchange refuses the credentials.
    """
    failures = 0
    while True:
        try:
            await exchange.load_markets()
        except (ccxt.AuthenticationError, ccxt.NotSupported) as error:
            raise ConfigurationError(f"{exchange.id}: markets cannot be loaded: {error}") from error
        except ccxt.BaseError as error:
            failures += 1
            delay_s = _LOAD_BACKOFF.delay_s(failures, chance)
            events.markets_load_failed(error, retry_s=delay_s)
            await asyncio.sleep(delay_s)
        else:
            return


async def fetch_listing(exchange: Any) -> list[dict[str, Any]]:
    """Ask for the markets anew, and leave those that ccxt reads frames by as they are.

    Raises:
        ccxt.BaseError: The exchange does not answer, or does not say.
    """
    try:
        listing: list[dict[str, Any]] = await exchange.fetch_markets()
    except ccxt.BaseError:
        raise
    except Exception as error:
        raise ccxt.ExchangeError(f"{exchange.id}: {type(error).__name__}: {error}") from error
    return listing


async def install_listing(exchange: Any, listing: list[dict[str, Any]]) -> None:
    """Have ccxt read frames by these markets from now on.

    Raises:
        ccxt.BaseError: It cannot; it goes on by those it has.
    """
    exchange.listing = listing
    try:
        await exchange.load_markets(reload=True)
    except ccxt.BaseError:
        raise
    except Exception as error:
        raise ccxt.ExchangeError(f"{exchange.id}: {type(error).__name__}: {error}") from error
    finally:
        exchange.listing = None


def narrow_markets(exchange: Any, venue: VenueSettings) -> None:
    """Ask for spot markets alone where nothing else can be meant: it saves requests at every start and refresh."""
    if "fetchMarkets" in (venue.options or {}):
        return
    wanted = venue.channels.values()
    names = [name for markets in wanted for name in markets.names]
    kinds = exchange.describe()["options"].get("fetchMarkets")
    all_spot = not any(markets.every and markets.type != _SPOT for markets in wanted)
    if isinstance(kinds, dict) and "types" in kinds:
        is_narrow = all_spot and not any(_CONTRACT_MARK in name for name in names)
        exchange.options["fetchMarkets"] = {**kinds, "types": [_SPOT]} if is_narrow else kinds


def _keep_alive_ms(exchange: Any) -> int:
    own = (exchange.streaming or {}).get("keepAlive") or _KEEP_ALIVE_MS_MAX
    return min(int(own), _KEEP_ALIVE_MS_MAX)
