"""Connections: ccxt's sockets, the watch calls they carry, and what the tap has learned of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import ccxt

from fluxforge_collector.ccxt_source.sequences import Sequences
from fluxforge_collector.ccxt_source.unify import Encoder
from fluxforge_collector.lane_feed import LaneFeed

_OF_ONE: Final = frozenset({"token"})
"""Parameters that a venue gives out anew for each connection; what else stands in a query may say what it brings."""


class RenewalError(ccxt.NetworkError):  # type: ignore[misc] # ccxt has no types
    """Feeds of these markets are stalled or broken, though their connection lives: subscribe them anew."""

    def __init__(self, reason: str, markets: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.markets = markets


class Scope:
    """One watch call: its feeds by market, and what the tap learned of it."""

    def __init__(self, feeds: dict[str, LaneFeed]) -> None:
        self.feeds = feeds
        self.asked = tuple(feeds)
        """The markets the call was made with; feeds may have left since."""
        self.answered = False
        """Whether an update came since the last call; from then on updates pass the call by."""
        self.asked_ns = 0
        """When the subscription was asked for, ns UTC."""
        self.silent: set[LaneFeed] = set()
        """The feeds that brought nothing since then."""
        self.hashes: dict[str, str] = {}
        """Message hashes, each with its market."""
        self.subscribe_hashes: dict[str, str | None] = {}
        """Hashes ccxt knows the subscriptions by, each with its market where it is of one alone."""
        self.messages: list[tuple[frozenset[str], Any]] = []
        """What was sent to subscribe, each with the markets it is of."""
        self.connections: set[Connection] = set()

    def part(self, markets: Collection[str]) -> None:
        """Forget these markets."""
        self.feeds = {market: feed for market, feed in self.feeds.items() if market not in markets}
        self.silent = {feed for feed in self.silent if feed.market not in markets}
        self.hashes = {name: market for name, market in self.hashes.items() if market not in markets}
        self.subscribe_hashes = {
            name: market for name, market in self.subscribe_hashes.items() if market is None or market not in markets
        }


@dataclass(frozen=True, slots=True)
class Released:
    """A market that a watch call let go: its message hashes, and what ccxt knows its subscription by."""

    hashes: list[str]
    subscribe_hashes: list[str]


class Claim:
    """A message hash that is known to be a feed's."""

    __slots__ = ("encode", "feed", "is_trades", "scope")

    def __init__(self, scope: Scope, feed: LaneFeed, encode: Encoder) -> None:
        self.scope = scope
        self.feed = feed
        self.encode = encode
        self.is_trades = feed.key.channel == "trades"


class Connection:
    """One of ccxt's connections. `at_ns` and `frame` are of the frame being handled, 0 and None between frames.

    `heard_ns`: when its peer last said anything, a pong or that it stands included; ns UTC.
    """

    __slots__ = (
        "at_ns",
        "client",
        "feeds",
        "frame",
        "has_update",
        "heard_ns",
        "is_lost",
        "name",
        "number",
        "scopes",
        "sequences",
    )

    def __init__(self, client: Any) -> None:
        self.client = client
        self.name = _lasting(str(client.url))
        """Its URL, less what the next one in its place would have otherwise."""
        self.number = 0
        self.at_ns = 0
        self.heard_ns = 0
        self.frame: Any = None
        self.has_update = False
        self.is_lost = False
        self.feeds: dict[LaneFeed, None] = {}
        self.scopes: set[Scope] = set()
        self.sequences: Sequences | None = None

    @property
    def carried(self) -> Sequence[LaneFeed]:
        """The feeds of the watch calls it carries now."""
        watched = {feed for scope in self.scopes for feed in scope.feeds.values()}
        return tuple(feed for feed in self.feeds if feed in watched)

    def take(self, feeds: Collection[LaneFeed]) -> None:
        """Take note of feeds that it carries from now on."""
        self.feeds.update(dict.fromkeys(feeds))
        if self.sequences:
            self.sequences.cover(feeds)

    def leave(self, feeds: Collection[LaneFeed]) -> None:
        """Have nothing more to do with feeds that are not captured any more."""
        for feed in feeds:
            self.feeds.pop(feed, None)
        if self.sequences:
            self.sequences.leave(feeds)

    def reconnect(self, reason: str) -> None:
        """End it; the pumps whose feeds it carried make ccxt dial anew."""
        self.client.on_error(ccxt.RequestTimeout(reason))

    def resubscribe(self, feeds: Collection[LaneFeed], reason: str) -> None:
        """Wake the watch calls of these feeds with an error; their pumps subscribe anew."""
        self._wake(feeds, reason)

    def renew(self, feeds: Collection[LaneFeed], reason: str) -> set[LaneFeed]:
        """Likewise, but for those that are being subscribed already.

        Return these and those whose calls were woken; of any other the call is not waiting just now.
        """
        asked = {feed for scope in self.scopes for feed in scope.silent.intersection(feeds)}
        return asked | self._wake([feed for feed in feeds if feed not in asked], reason)

    def _wake(self, feeds: Collection[LaneFeed], reason: str) -> set[LaneFeed]:
        woken: set[LaneFeed] = set()
        for scope in list(self.scopes):
            markets = tuple(market for market, feed in scope.feeds.items() if feed in feeds)
            for name, market in scope.hashes.items():
                if market in markets and name in self.client.futures:
                    self.client.reject(RenewalError(reason, markets), name)
                    woken |= {scope.feeds[market] for market in markets}
        return woken


def _lasting(url: str) -> str:
    parts = urlsplit(url)
    kept = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key not in _OF_ONE]
    return urlunsplit(parts._replace(query=urlencode(kept)))
