"""Pumps: one task per watch call, which subscribes, waits for errors, and subscribes again for ever.

The data does not come this way; the tap has it. A pump ends only by being cancelled by us: ccxt also cancels what it
hands out, and that is one more error here.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import ccxt

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.control import Event
from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.feeds import Subscription
from fluxforge_collector.ccxt_source.tap import SCOPE, IndistinctHashesError, Scope, SubscriptionRefusedError, Tap
from fluxforge_collector.source import Sink

BACKOFF: Final = Backoff(base_s=0.5, cap_s=60.0)
_BOOK_ANSWER_S: Final = 30.0
"""A book without its first update after this long was not really subscribed; other channels may well be silent."""
_HOLD: Final = (ccxt.ChecksumError, ccxt.InvalidNonce)
"""ccxt found a gap in a book and has already given up the subscription."""
_BUSY: Final = (ccxt.RateLimitExceeded, ccxt.DDoSProtection)


class Pump:
    """Keeps one subscription."""

    def __init__(
        self,
        *,
        exchange: Any,
        tap: Tap,
        sink: Sink,
        subscription: Subscription,
        chance: Callable[[], float],
        start: Callable[["Subscription"], None],
    ) -> None:
        self._exchange = exchange
        self._tap = tap
        self._sink = sink
        self._subscription = subscription
        self._chance = chance
        self._start = start
        feeds = {_market(feed): sink.feed(feed) for feed in subscription.feeds}
        self._scope = Scope(feeds)
        self._feeds = list(feeds.values())
        self._failures = 0

    async def run(self) -> None:
        """Hold the subscription; return only when others were started in its place."""
        SCOPE.set(self._scope)
        while True:
            try:
                await self._subscribe()
                await self._listen()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                await self._heal(ccxt.NetworkError("the connection was closed underneath"))
            except IndistinctHashesError:
                self._split()
                return
            except Exception as error:  # noqa: BLE001 - ccxt raises what it likes, and no feed may end by it
                if self._is_refusal(error) and len(self._feeds) > 1:
                    self._note_refusal(error)
                    self._split()
                    return
                await self._heal(error)

    async def _subscribe(self) -> None:
        self._scope.answered = False
        self._scope.asked_ns = self._sink.now()
        self._scope.silent = set(self._feeds)
        is_book = any(feed.key.channel == "orderbook" for feed in self._feeds)
        try:
            async with asyncio.timeout(_BOOK_ANSWER_S if is_book else None):
                await self._watch()
        except TimeoutError as error:
            raise ccxt.RequestTimeout(f"no book within {_BOOK_ANSWER_S:.0f} s of subscribing") from error
        self._scope.answered = True
        self._failures = 0
        self._sink.note(Event.SUBSCRIBED, [feed for feed in self._feeds if feed not in self._scope.silent])

    async def _listen(self) -> None:
        while self._scope.answered:
            await self._watch()

    async def _watch(self) -> None:
        call = getattr(self._exchange, self._exchange.un_camel_case(self._subscription.method))
        markets = list(self._scope.feeds)
        await call(markets if self._subscription.takes_list else markets[0])

    def _is_refusal(self, error: Exception) -> bool:
        """Return whether the venue or ccxt refused the subscription, rather than lost it."""
        if isinstance(error, SubscriptionRefusedError):
            return True
        return not self._scope.answered and isinstance(error, ccxt.ExchangeError) and not isinstance(error, _HOLD)

    async def _heal(self, error: Exception) -> None:
        was_answered = self._scope.answered
        self._failures += 1
        if isinstance(error, _HOLD):
            self._sink.note(Event.GAP, self._feeds, reason=_reason(error))
            if self._failures == 1:
                return
        elif self._is_refusal(error) or isinstance(error, _BUSY):
            self._note_refusal(error)
            self._tap.forget(self._scope)
        elif not (was_answered and self._tap.is_subscribed(self._scope)):
            self._tap.forget(self._scope)
        await asyncio.sleep(BACKOFF.delay_s(self._failures, self._chance, retry_after_s=self._retry_after_s(error)))

    def _note_refusal(self, error: Exception) -> None:
        feeds = self._feeds
        if isinstance(error, SubscriptionRefusedError):
            feeds = [feed for feed in feeds if feed.market in error.markets]
        self._sink.note(Event.REJECTED, feeds, reason=f"subscription refused: {_reason(error)}")

    def _split(self) -> None:
        self._tap.forget(self._scope)
        self._tap.drop(self._scope)
        for part in self._subscription.split():
            self._start(part)

    def _retry_after_s(self, error: Exception) -> float:
        if not isinstance(error, _BUSY):
            return 0.0
        headers = self._exchange.last_response_headers or {}
        text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
        return float(text) if text.isdigit() else 0.0


def _market(feed: Feed) -> str:
    if feed.market is None:
        raise ValueError(f"a subscription brings feeds of markets, was {feed!r}")
    return feed.market


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
