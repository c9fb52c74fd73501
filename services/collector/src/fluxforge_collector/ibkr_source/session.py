"""A session: one connection to TWS or the Gateway, the requests that stand on it, and what follows from its codes.

Whatever ends, is refused or is no longer what the venue has is asked for anew, each by itself and in its own time.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.control import Event
from fluxforge.runtime.settings.ibkr import IbkrChannel, IbkrSettings
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.ibkr_source.codes import Meaning, farm_of, meaning
from fluxforge_collector.ibkr_source.contracts import Subscription
from fluxforge_collector.ibkr_source.link import Link
from fluxforge_collector.ibkr_source.pace import Keepalive, Pace, Waits
from fluxforge_collector.ibkr_source.receiver import Receiver, Request
from fluxforge_collector.ibkr_source.requests import cancel, request
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink

_BROKEN_BACKOFF: Final = Backoff(base_s=0.5, cap_s=60.0)
_REFUSED_BACKOFF: Final = Backoff(base_s=15.0, cap_s=600.0)
"""An entitlement may be bought, and another session of the same user may end, but neither within seconds."""
_STEADY_S: Final = 60.0
"""A request that stood for so long fails for the first time when it fails."""
_OF_LINK: Final = frozenset({Meaning.LINK_LOST, Meaning.LINK_EMPTY, Meaning.LINK_KEPT})
_OF_FARMS: Final = frozenset({Meaning.FARM_BROKEN, Meaning.FARM_BACK, Meaning.BARS_FARM_BROKEN})
_BY_TICK: Final = frozenset({IbkrChannel.TRADES, IbkrChannel.BIDSASKS})
_OF_STATE: Final = frozenset({IbkrChannel.ORDERBOOK, IbkrChannel.TICKER})
"""Channels whose records add up what was told: after an interruption that sum may be none of the venue's."""
_DATA_TYPES: Final = {"live": 1, "frozen": 2, "delayed": 3, "delayed_frozen": 4}


class Session:
    """One session; `run` holds it until its end. It is what the watchdog restarts, or restarts feeds of.

    `numbers` counts connections: a session is one, and one more each time that TWS has Interactive Brokers back.
    """

    def __init__(
        self,
        settings: IbkrSettings,
        subscriptions: Sequence[Subscription],
        *,
        sink: Sink,
        events: CollectorEvents,
        chance: Callable[[], float],
        pace: Pace,
        waits: Waits,
        numbers: Iterator[int],
    ) -> None:
        self._settings = settings
        # What TWS times is asked for first: behind a long queue, what was meant to be 15 s later would be sooner.
        self._subscriptions = sorted(subscriptions, key=lambda each: each.channel not in _BY_TICK)
        self._sink = sink
        self._events = events
        self._chance = chance
        self._pace = pace
        self._waits = waits
        self._numbers = numbers
        self._receiver = Receiver(sink, self)
        self._link = Link(self._receiver)
        self._wake = asyncio.Event()
        self._link.ended.add_done_callback(lambda _: self._wake.set())
        self._due_s: dict[Subscription, float] = {}
        self._asked_s: dict[Subscription, float] = {}
        self._standing: dict[Subscription, int] = {}
        self._failures: dict[Subscription, int] = {}
        self._is_lost = False
        self._farms: set[str] = set()
        """Farms of market data that are gone."""

    async def open(self) -> None:
        """Connect.

        Raises:
            GatewayUnavailableError: Nobody listens, or the session was refused.
        """
        await self._link.open(self._settings)
        self._note_connected(self.name)

    @property
    def name(self) -> str:
        """The address of TWS or the Gateway."""
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def number(self) -> int:
        """The connection's number within the boot."""
        return self._receiver.conn

    @property
    def carried(self) -> Sequence[LaneFeed]:
        """The feeds that were asked for and are to be heard: none while TWS itself hears nothing."""
        asked = [] if self._is_lost else [each for each in self._standing if each not in self._due_s]
        return self._feeds(asked)

    def reconnect(self, reason: str) -> None:
        """End the session; another takes its place."""
        self._link.end(reason)

    def resubscribe(self, feeds: Collection[LaneFeed], reason: str) -> None:  # noqa: ARG002 - the watchdog noted it
        """Have these feeds asked for anew."""
        self.ask_again([each for each in self._subscriptions if self._sink.feed(each.feed) in feeds])

    async def run(self) -> str:
        """Make every request and keep it; return why the session ended.

        Whatever of ours failed where a message was heard is raised here.
        """
        loop = asyncio.get_running_loop()
        client = self._link.client
        client.reqMarketDataType(_DATA_TYPES[self._settings.market_data_type])
        keepalive = Keepalive(self._waits, loop.time())
        self.ask_again(self._subscriptions)
        while not self._link.ended.done():
            self._wake.clear()
            now_s = loop.time()
            for subscription in [each for each, due_s in self._due_s.items() if due_s <= now_s]:
                self._ask(subscription, now_s)
            if keepalive.is_due(self._receiver.reads, now_s):
                client.reqCurrentTime()
            elif keepalive.is_dead(now_s):
                return f"nothing came for {self._waits.answer_s:g} s after it was asked for the time"
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(keepalive.next_s(), *self._due_s.values(), now_s + 1.0)):
                    await self._wake.wait()
        return self._link.ended.result()

    def close(self) -> None:
        """Close the connection; nothing enters the lane after this."""
        self._receiver.forget_all()
        self._link.close()

    def ask_again(self, subscriptions: Collection[Subscription], *, delay_s: float = 0.0) -> None:
        """Have these asked for, or asked for anew, in `delay_s`."""
        due_s = asyncio.get_running_loop().time() + delay_s
        for subscription in subscriptions:
            self._due_s[subscription] = due_s
        self._wake.set()

    def answered(self, request: Request) -> None:
        """Note that a subscription stands."""
        self._sink.note(Event.SUBSCRIBED, [request.feed], conn=self.number)

    def broken(self, request: Request, reason: str) -> None:
        """Name a book that cannot be kept, and ask for it anew."""
        self._sink.note(Event.GAP, [request.feed], reason=reason, conn=self.number)
        self._forget([request.subscription])
        self._retry(request.subscription, _BROKEN_BACKOFF)

    def torn(self, requests: Sequence[Request], reason: str) -> None:
        """Name what a message that could not be read may have been of; ask anew for what adds up what is told."""
        whole = [request.feed for request in requests if not request.feed.unsound]
        if whole:
            self._sink.note(Event.GAP, whole, reason=reason, conn=self.number)
        for subscription in [each.subscription for each in requests]:
            if subscription.channel in _OF_STATE:
                self._forget([subscription])
                self._retry(subscription, _BROKEN_BACKOFF)

    def failed(self, error: Exception) -> None:
        """End the session by an error of our own."""
        self._link.fail(error)

    def told(self, request: Request | None, code: int, text: str) -> None:
        """Do what a code asks for."""
        said = meaning(code, of_request=request is not None)
        reason = f"{code}: {text}"
        if said is Meaning.NOTICE:
            self._events.gateway_said(code, text)
        elif said in _OF_LINK:
            self._link_told(said, reason)
        elif said in _OF_FARMS:
            self._farm_told(said, reason)
        elif request is not None:
            self._request_told(request, said, reason)

    def _link_told(self, said: Meaning, reason: str) -> None:
        if said is Meaning.LINK_LOST:
            if not self._is_lost:
                self._is_lost = True
                self._note_lost(self._subscriptions, reason)
                for feed in self._feeds(self._subscriptions):
                    self._sink.hold(feed)  # what TWS still had on its way is no sign of the venue's
            return
        self._is_lost = False
        self._note_connected(reason)
        self._replace(self._subscriptions if said is Meaning.LINK_EMPTY else self._of_state())

    def _farm_told(self, said: Meaning, reason: str) -> None:
        farm = farm_of(reason)
        if said is Meaning.FARM_BACK:
            if farm in self._farms:
                self._farms.discard(farm)
                self._replace(self._of_state())
            return
        are_bars = said is Meaning.BARS_FARM_BROKEN
        if not are_bars:
            self._farms.add(farm)
        # Which contracts a farm serves nobody says: those it does not serve recover with their next record.
        concerned = [each for each in self._subscriptions if (each.channel is IbkrChannel.BARS) is are_bars]
        self._note_lost(concerned, reason)

    def _request_told(self, request: Request, said: Meaning, reason: str) -> None:
        feeds = [request.feed]
        if said is Meaning.BOOK_RESET:
            self._receiver.clear_book(request)
            self._sink.note(Event.GAP, feeds, reason=reason, conn=self.number)
        elif said is Meaning.ENDED:
            self._sink.note(Event.GAP, feeds, reason=reason, conn=self.number)
            self.ask_again([request.subscription])
        elif said is Meaning.REFUSED:
            self._sink.note(Event.REJECTED, feeds, reason=f"subscription refused: {reason}", conn=self.number)
            if not request.feed.unsound:
                self._sink.note(Event.GAP, feeds, reason=reason, conn=self.number)
            if request.subscription.channel in _OF_STATE:
                self._forget([request.subscription])
            self._retry(request.subscription, _REFUSED_BACKOFF)

    def _replace(self, subscriptions: Collection[Subscription]) -> None:
        self._forget(subscriptions)
        self.ask_again(subscriptions)

    def _forget(self, subscriptions: Collection[Subscription]) -> None:
        """Hear no more of these as they were asked for: what adds up there is not the venue's any more.

        Those that were whole until now have a hole from here to what comes of their next requests.
        """
        forgotten = [self._receiver.forget(self._standing.get(subscription)) for subscription in subscriptions]
        whole = [request.feed for request in forgotten if request is not None and not request.feed.unsound]
        if whole:
            self._sink.note(Event.GAP, whole, reason="asked for anew", conn=self.number)

    def _retry(self, subscription: Subscription, backoff: Backoff) -> None:
        now_s = asyncio.get_running_loop().time()
        is_steady = now_s - self._asked_s[subscription] > _STEADY_S
        failures = self._failures[subscription] = 1 if is_steady else self._failures.get(subscription, 0) + 1
        self.ask_again([subscription], delay_s=backoff.delay_s(failures, self._chance))

    def _ask(self, subscription: Subscription, now_s: float) -> None:
        if subscription.channel in _BY_TICK:
            wait_s = self._pace.ask(subscription.contract.conId, now_s)
            if wait_s:
                self._due_s[subscription] = now_s + wait_s
                return
        del self._due_s[subscription]
        client: Any = self._link.client
        self._forget([subscription])
        before = self._standing.pop(subscription, None)
        if before is not None:
            cancel(client, before, subscription)
        number = self._standing[subscription] = client.getReqId()
        self._asked_s[subscription] = now_s
        rows_max = self._settings.max_orderbook_depth
        self._receiver.requests[number] = Request(subscription, self._sink.feed(subscription.feed), rows_max)
        request(client, number, subscription, rows_max=rows_max)

    def _of_state(self) -> list[Subscription]:
        return [each for each in self._subscriptions if each.channel in _OF_STATE]

    def _feeds(self, subscriptions: Collection[Subscription]) -> list[LaneFeed]:
        return [self._sink.feed(each.feed) for each in subscriptions]

    def _note_connected(self, reason: str) -> None:
        self._receiver.conn = next(self._numbers)
        feeds = self._feeds(self._subscriptions)
        self._sink.note(Event.CONNECTED, feeds, reason=reason, conn=self.number)
        for feed in feeds:
            self._sink.release(feed)

    def _note_lost(self, subscriptions: Collection[Subscription], reason: str) -> None:
        feeds = self._feeds(subscriptions)
        if feeds:
            self._sink.note(Event.DISCONNECTED, feeds, reason=reason, conn=self.number)
            self._receiver.pass_over_changes(feeds)
