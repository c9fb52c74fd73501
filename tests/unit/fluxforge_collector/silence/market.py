"""Made-up arrivals, told to a judge as a collector would: it is asked right before each, when silence is longest."""

import math
import random
from collections.abc import Callable, Iterator
from heapq import merge
from operator import itemgetter

from fluxforge.domain.control import FeedKey
from fluxforge_collector.silence.judge import Judge
from fluxforge_collector.silence.limits import NS_PER_S, Finding, Link

BOOK = FeedKey("orderbook", "BTC-USDT")
TRADES = FeedKey("trades", "BTC-USDT")
TICKER = FeedKey("ticker", "BTC-USDT")
OTHER = FeedKey("orderbook", "DOGE-USDT")
Arrivals = Iterator[tuple[float, FeedKey]]


def poisson(feed: FeedKey, rate_hz: Callable[[float], float], rate_max_hz: float, seed: int) -> Arrivals:
    """Yield arrivals, s, of a rate that may change with time and is at most `rate_max_hz`, without an end."""
    chance, at_s = random.Random(seed), 0.0
    while True:
        at_s += chance.expovariate(rate_max_hz)
        if chance.random() * rate_max_hz < rate_hz(at_s):
            yield at_s, feed


def constant(feed: FeedKey, rate_hz: float, seed: int = 1) -> Arrivals:
    """Yield Poisson arrivals of one rate."""
    return poisson(feed, lambda _: rate_hz, rate_hz, seed)


def regular(feed: FeedKey, every_s: float) -> Arrivals:
    """Yield arrivals at one distance."""
    count = 0
    while True:
        count += 1
        yield count * every_s, feed


def day(mean_hz: float, swing: float) -> Callable[[float], float]:
    """Return a rate that goes up and down once a day, by `swing` times between night and noon."""
    depth = (swing - 1) / (swing + 1)
    return lambda at_s: mean_hz * (1 + depth * math.sin(2 * math.pi * at_s / 86_400))


def ns(at_s: float) -> int:
    return round(at_s * NS_PER_S)


def play(judge: Judge, links: list[Link], *arrivals: Arrivals, count: int) -> tuple[list[Finding], float]:
    """Play so many arrivals of all feeds; return what was found, and when the last one was, s."""
    found, at_s = judge.findings(links, 0), 0.0
    for _, (at_s, feed) in zip(range(count), merge(*arrivals, key=itemgetter(0)), strict=False):
        found += judge.findings(links, ns(at_s) - 1)
        judge.heard(feed, ns(at_s))
    return found, at_s


def first_finding(judge: Judge, links: list[Link], *arrivals: Arrivals, from_s: float, until_s: float) -> Finding:
    """Go on at a collector's pace until something is found."""
    coming = merge(*arrivals, key=itemgetter(0))
    next_s, feed = next(coming, (math.inf, None))
    at_s = from_s
    while at_s < until_s:
        at_s += 0.25
        while next_s <= at_s:
            if feed is not None and next_s > from_s:
                judge.heard(feed, ns(next_s))
            next_s, feed = next(coming, (math.inf, None))
        found = judge.findings(links, ns(at_s))
        if found:
            return found[0]
    raise AssertionError(f"nothing found within {until_s - from_s:.0f} s")
