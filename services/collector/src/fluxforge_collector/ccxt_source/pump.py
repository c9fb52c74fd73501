"""Pumps: one task per watch call, which subscribes, waits for errors, and subscribes again for ever.

The data does not come this way; the tap has it. A pump ends only by being cancelled by us: ccxt also cancels what it
hands out, and that is one more error here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import ccxt

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.control import Event
from fluxforge.domain.record import Feed
from fluxforge_collector.ccxt_source.connection import Released, RenewalError, Scope
from fluxforge_collector.ccxt_source.feeds import Subscription
from fluxforge_collector.ccxt_source.tap import SCOPE, SubscriptionRefusedError, Tap
from fluxforge_collector.ccxt_source.watch_calls import IndistinctHashesError
from fluxforge_collector.lane_feed import LaneFeed
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
        turn: Callable[[], Awaitable[None]],
        start: Callable[["Subscription"], None],
    ) -> None:
        self._exchange = exchange
        self._tap = tap
        self._sink = sink
        self._subscription = subscription
        self._chance = chance
        self._turn = turn
        self._start = start
        self._scope = Scope({_market(feed): sink.feed(feed) for feed in subscription.feeds})
        self._failures = 0
        self._renewed: list[LaneFeed] = []
        """Those that alone are to be subscribed anew; none: all."""
        self._untold: dict[str, Released] = {}
        """Markets let go of which the venue was not told: they still come."""

    @property
    def feeds(self) -> list[LaneFeed]:
        """The feeds it keeps now."""
        return list(self._scope.feeds.values())

    def let_go(self, feeds: Collection[LaneFeed]) -> dict[str, Released]:
        """Keep some feeds no more; return what is to be ended of them."""
        markets = [market for market, feed in self._scope.feeds.items() if feed in feeds]
        self._subscription = self._subscription.without(markets)
        released = self._tap.release(self._scope, markets)
        self._untold |= released
        return released

    async def end(self, released: Mapping[str, Released]) -> None:
        """Tell the venue that what was let go is not wanted any more, if anybody knows how."""
        if await self._tap.end(self._scope, released):
            self._untold = {market: one for market, one in self._untold.items() if market not in released}

    def still_brings(self, method: str, market: str) -> bool:
        """Return whether a market that was let go comes all the same."""
        return self._subscription.brings(method) and bool(self._scope.connections) and market in self._untold

    def take_back(self, feed: Feed) -> None:
        """Keep a feed again whose market still comes."""
        market = _market(feed)
        self._subscription = self._subscription.including(feed)
        self._tap.reclaim(self._scope, market, self._sink.feed(feed), self._untold.pop(market))

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
                if self._is_refusal(error) and len(self.feeds) > 1:
                    self._note_refusal(error)
                    self._split()
                    return
                await self._heal(error)

    async def _subscribe(self) -> None:
        self._scope.answered = False
        await self._turn()
        self._ask_for_the_rest()
        asked = [feed for feed in self._renewed if feed in self.feeds] or self.feeds
        self._renewed = []
        self._scope.asked_ns = self._sink.now()
        self._scope.silent = set(asked)
        is_book = any(feed.key.channel == "orderbook" for feed in self.feeds)
        try:
            async with asyncio.timeout(_BOOK_ANSWER_S if is_book else None):
                await self._watch()
        except TimeoutError as error:
            raise ccxt.RequestTimeout(f"no book within {_BOOK_ANSWER_S:.0f} s of subscribing") from error
        self._scope.answered = True
        self._failures = 0
        answered = [feed for feed in asked if feed not in self._scope.silent]
        if answered:
            self._sink.note(Event.SUBSCRIBED, answered)

    async def _listen(self) -> None:
        while self._scope.answered:
            await self._watch()

    def _ask_for_the_rest(self) -> None:
        """Ask without those that left. Some venues' connections are of the exact list: then it will be a new one."""
        scope = self._scope
        if len(scope.feeds) != len(scope.asked):
            for connection in [one for one in scope.connections if one.scopes == {scope}]:
                connection.reconnect("several markets that it carried are subscribed anew without some of them")
        scope.asked = tuple(scope.feeds)
        self._untold.clear()

    async def _watch(self) -> None:
        scope = self._scope
        if len(scope.feeds) < len(scope.asked):
            # The call would be another one, and where it goes to another connection bring the rest twice.
            await self._tap.trouble(scope)
        else:
            await getattr(self._exchange, self._subscription.method)(*self._subscription.arguments(scope.asked))

    def _is_refusal(self, error: Exception) -> bool:
        """Return whether the venue or ccxt refused the subscription, rather than lost it."""
        if isinstance(error, SubscriptionRefusedError):
            return True
        return not self._scope.answered and isinstance(error, ccxt.ExchangeError) and not isinstance(error, _HOLD)

    async def _heal(self, error: Exception) -> None:
        was_answered = self._scope.answered
        self._failures += 1
        if isinstance(error, _HOLD):
            held = [feed for feed in self.feeds if feed.held]
            self._renewed = held or self._tap.given_up(self._scope)
            if not held:
                broken = self._renewed or self.feeds
                since_ns = broken[0].last_ns if len(broken) == 1 else 0
                self._sink.note(Event.GAP, broken, reason=_reason(error), from_ns=since_ns or None)
            if self._failures == 1:
                return
        elif isinstance(error, RenewalError):
            await self._end(error.markets)
            if self._failures == 1:
                return
        elif self._is_refusal(error) or isinstance(error, _BUSY):
            self._note_refusal(error)
            self._tap.forget(self._scope)
        elif not (was_answered and self._tap.is_subscribed(self._scope)):
            self._tap.forget(self._scope)
        await asyncio.sleep(BACKOFF.delay_s(self._failures, self._chance, retry_after_s=self._retry_after_s(error)))

    async def _end(self, markets: Collection[str]) -> None:
        # ccxt believes that these stand, and so does the venue: both must forget before they can be asked for anew.
        self._renewed = [feed for feed in self.feeds if feed.market in markets]
        self._scope.silent = set(self._renewed)
        self._tap.forget(self._scope)
        await self._tap.unsubscribe(self._scope, markets)

    def _note_refusal(self, error: Exception) -> None:
        feeds = self.feeds
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
