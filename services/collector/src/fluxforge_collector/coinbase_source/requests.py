"""Requests: what one connection asks of Coinbase, one message at a time, so that answers can be told apart. Pure.

The venue's answers bear no name of what they answer. A message that is refused without a product's name is asked again
product by product; only what is then refused is left out, and asked for again later. Times are seconds of one clock.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fluxforge.domain.backoff import Backoff

_REFUSED_BACKOFF: Final = Backoff(base_s=5.0, cap_s=300.0)
_REFUSED_S_MIN: Final = 1.0
_BUSY_BACKOFF: Final = Backoff(base_s=1.0, cap_s=30.0)
_BUSY: Final = re.compile(r"rate.?limit|too many", re.IGNORECASE)
HEARTBEATS: Final = "heartbeats"


@dataclass(frozen=True, slots=True)
class Request:
    """One message: `subscribe` or `unsubscribe`, of products of one channel; heartbeats have none."""

    type: str
    channel: str
    products: tuple[str, ...] = ()

    def split(self) -> tuple["Request", ...]:
        """Return one request per product; itself where it has none."""
        return tuple(Request(self.type, self.channel, (product,)) for product in self.products) or (self,)


@dataclass(frozen=True, slots=True)
class _Due:
    at_s: float
    request: Request


class Requests:
    """What is to be asked, what was asked last, and what of it was refused."""

    def __init__(self, first: Iterable[Request], chance: Callable[[], float]) -> None:
        self._queue = [_Due(0.0, request) for request in first]
        self._chance = chance
        self._refusals: dict[Request, int] = {}
        self._busy = 0
        self._quiet_until_s = 0.0
        self._asked_s = 0.0
        self.asked: Request | None = None
        """What has been asked and not answered."""

    def is_due(self, now_s: float) -> bool:
        """Return whether there is something to ask now."""
        return self._next(now_s) is not None

    def take(self, now_s: float) -> Request | None:
        """Return what to ask now; None while an answer is awaited, or nothing is due."""
        due = self._next(now_s)
        if due is None:
            return None
        self._queue.remove(due)
        self.asked, self._asked_s = due.request, now_s
        return due.request

    def waited_s(self, now_s: float) -> float:
        """Return how long an answer has been awaited, s; 0 where none is."""
        return now_s - self._asked_s if self.asked else 0.0

    def granted(self) -> Request | None:
        """Take note that the venue granted what was asked, and return it; None where nothing was."""
        request, self.asked = self.asked, None
        if request is not None:
            self._busy = 0
            for part in request.split():
                self._refusals.pop(part, None)
        return request

    def refused(self, reason: str, now_s: float) -> Request | None:
        """Take note that the venue refused what was asked; return what of it is left out for now, None if not known."""
        request, self.asked = self.asked, None
        if request is None:
            return None
        named = tuple(product for product in request.products if _names(reason, product))
        if not named and _BUSY.search(reason):
            self._busy += 1
            self._quiet_until_s = now_s + _BUSY_BACKOFF.delay_s(self._busy, self._chance)
            self._put_first(request)
            return Request(request.type, request.channel)
        if not named and len(request.products) > 1:
            self._put_first(*request.split())
            return None
        rest = tuple(product for product in request.products if named and product not in named)
        if rest:
            self._put_first(Request(request.type, request.channel, rest))
        refused = Request(request.type, request.channel, named or request.products)
        for part in refused.split() if request.type == "subscribe" else ():
            self._refusals[part] = failures = self._refusals.get(part, 0) + 1
            self._put(now_s + _REFUSED_BACKOFF.delay_s(failures, self._chance, retry_after_s=_REFUSED_S_MIN), part)
        return refused

    def renew(self, channel: str, products: Sequence[str], at_s: float) -> None:
        """Leave and subscribe products anew at a time, unless that is about to happen anyway."""
        coming = {product for due in self._queue if due.request.channel == channel for product in due.request.products}
        anew = tuple(product for product in products if product not in coming)
        if anew:
            self._put(at_s, Request("unsubscribe", channel, anew))
            self._put(at_s, Request("subscribe", channel, anew))

    def _next(self, now_s: float) -> _Due | None:
        if self.asked is not None or now_s < self._quiet_until_s:
            return None
        return next((due for due in self._queue if due.at_s <= now_s), None)

    def _put_first(self, *requests: Request) -> None:
        # Before all others: to leave a product after it was subscribed anew would be to lose it.
        self._queue[:0] = [_Due(0.0, request) for request in requests]

    def _put(self, at_s: float, request: Request) -> None:
        self._queue.append(_Due(at_s, request))


def _names(text: str, product: str) -> bool:
    return re.search(rf"(?<![A-Z0-9-]){re.escape(product)}(?![A-Z0-9-])", text) is not None
