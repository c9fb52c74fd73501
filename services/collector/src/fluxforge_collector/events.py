"""Events of a collector: each is logged and counted here and nowhere else.

What happens per record is counted in plain integers by the lane and read when somebody scrapes; of a block one time
is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from fluxforge.domain.block import Block
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.errors import FluxForgeError, LaneMovedError, TransientError
from fluxforge.domain.status import CollectorStatus
from fluxforge.ports.clock import Clock
from fluxforge.runtime.metrics import ErrorCount, Guarded
from fluxforge_collector.lane_counts import LaneCounts
from fluxforge_collector.spool import SpoolFullError

_LOG_NAMES: Final = {
    Event.STARTED: "lane.started",
    Event.STOPPED: "lane.stopped",
    Event.CONNECTED: "connection.opened",
    Event.DISCONNECTED: "connection.lost",
    Event.SUBSCRIBED: "feed.subscribed",
    Event.GAP: "feed.gap_found",
    Event.RESYNCED: "feed.resynced",
    Event.STALLED: "feed.stalled",
    Event.RECOVERED: "feed.recovered",
    Event.DROPPED: "feed.records_dropped",
    Event.SPOOLED: "lane.spooled",
    Event.CLOCK_STEP: "clock.stepped",
    Event.REJECTED: "message.rejected",
    Event.LANE_CLOSED: "lane.closed",
}
_ERRORS: Final = frozenset({Event.DROPPED})
_BUS_BUCKETS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_NS: Final = 1_000_000_000
_WARNINGS: Final = frozenset({Event.DISCONNECTED, Event.GAP, Event.STALLED, Event.CLOCK_STEP, Event.REJECTED})


class CollectorEvents:
    """What a collector reports; metrics go to the injected registry."""

    def __init__(self, registry: CollectorRegistry, lane: str, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._counts: Guarded | None = None
        self._errors = ErrorCount(registry)
        self._log = structlog.get_logger().bind(lane=lane)
        self._controls = Counter(
            "fluxforge_collector_control_records",
            "Control records entered into the lane, repeats of open holes left out.",
            ["event"],
            registry=registry,
        )
        for event in Event:
            self._controls.labels(event=event.value)  # from 0, so that the first one is seen as a rise
        self._to_bus = Histogram(
            "fluxforge_collector_capture_to_bus_seconds",
            "From the capture of a block's first record to the bus' acknowledgement.",
            registry=registry,
            buckets=_BUS_BUCKETS_S,
        )
        self._spool_begins = Counter(
            "fluxforge_collector_spool_begins", "Times that the spool took over from memory.", registry=registry
        )
        self._load_failures = Counter(
            "fluxforge_collector_market_load_failures", "Failed tries to load the markets.", registry=registry
        )

    def count_from(self, status: Callable[[], CollectorStatus], *, stale_s: float) -> None:
        """Export a lane's counts, read from its status when somebody scrapes; see `LaneCounts`.

        A later status takes the place of an earlier one.
        """
        if self._counts is not None:
            self._registry.unregister(self._counts)
        self._counts = Guarded(LaneCounts(status, stale_s))
        self._registry.register(self._counts)

    def block_stored(self, block: Block) -> None:
        """The bus acknowledged a block."""
        self._to_bus.observe(max(0, self._clock.wall_ns() - block.first_capture_ns) / _NS)

    def bus_awaited(self, error: TransientError) -> None:
        """The bus does not answer yet; it is asked again."""
        self._errors.add(error)
        self.lane_awaited(str(error))

    def control_entered(self, control: Control) -> None:
        """A control record stands in the lane."""
        if control.repeat:
            return
        self._controls.labels(event=control.event.value).inc()
        say = self._log.info
        if control.event in _WARNINGS:
            say = self._log.warning
        if control.event in _ERRORS:
            say = self._log.error
        say(
            _LOG_NAMES[control.event],
            feeds=[f"{feed.channel}:{feed.symbol}" for feed in control.concerned()],
            hole=control.hole,
            reason=control.reason,
            count=control.count,
        )

    def markets_load_failed(self, error: Exception, *, retry_s: float) -> None:
        """The exchange did not answer with its markets; it is asked again."""
        self._load_failures.inc()
        self._errors.add(error)
        self._log.warning("markets.load_failed", error=f"{type(error).__name__}: {error}", retry_s=round(retry_s, 1))

    def connection_failed(self, error: Exception, *, retry_s: float) -> None:
        """A connection of the exchange could not be made or was lost; it is made anew."""
        self._log.warning("connection.failed", error=f"{type(error).__name__}: {error}", retry_s=round(retry_s, 1))

    def markets_left_out(self, refused: Mapping[str, str]) -> None:
        """Markets that a list of all would bring cannot be stored; everything else is captured."""
        self._log.warning("markets.left_out", markets=dict(refused))

    def backfilled(self, feed: FeedKey, *, items: int, is_whole: bool) -> None:
        """What a hole lacks was fetched by REST; all of it, or what the venue still had."""
        self._log.info("feed.backfilled", channel=feed.channel, symbol=feed.symbol, items=items, whole=is_whole)

    def backfill_failed(self, feed: FeedKey, reason: str) -> None:
        """A hole stays as it is: nothing that fits it could be fetched."""
        self._log.warning("feed.backfill_failed", channel=feed.channel, symbol=feed.symbol, reason=reason)

    def gateway_awaited(self, error: TransientError, *, retry_s: float) -> None:
        """TWS or the Gateway takes no session; it is asked again."""
        self._errors.add(error)
        self._log.warning("gateway.awaited", error=str(error), retry_s=round(retry_s, 1))

    def gateway_said(self, code: int, text: str) -> None:
        """TWS or the Gateway said something that nothing follows from."""
        self._log.info("gateway.said", code=code, text=text)

    def feeds_changed(self, *, added: int, removed: int) -> None:
        """What is captured was brought in line with the configuration and the listings of the exchange."""
        self._log.info("feeds.changed", added=added, removed=removed)

    def unwatch_failed(self, markets: Sequence[str], error: Exception) -> None:
        """The exchange could not be told that markets are not wanted any more; what comes of them makes no records."""
        self._log.warning("feeds.unwatch_failed", markets=list(markets), error=f"{type(error).__name__}: {error}"[:500])

    def configuration_refused(self, error: FluxForgeError) -> None:
        """The configuration was read again and cannot be had: everything stays as it was."""
        self._log.error("configuration.refused", error=str(error))

    def configuration_reloaded(self) -> None:
        """The configuration was read again and is in force, as far as it can change while the collector runs."""
        self._log.info("configuration.reloaded")

    def restart_needed(self, keys: Sequence[str]) -> None:
        """Settings that are read at the start alone have changed; the old ones stay in force."""
        self._log.warning("configuration.restart_needed", keys=list(keys))

    def lane_awaited(self, what: str) -> None:
        """Nothing is subscribed before the lane can be written."""
        self._log.info("lane.awaited", what=what)

    def lane_joined(self, *, epoch: int, after: str | None, spooled: int) -> None:
        """The lane's stream stands and can be written."""
        self._log.info("lane.joined", epoch=epoch, after=after, spooled=spooled)

    def lane_left(self, found: str) -> None:
        """The lane's stream takes no more blocks of ours; what is held waits for the next."""
        self._errors.add(LaneMovedError)
        self._log.warning("lane.left", found=found)

    def lease_awaited(self, holder: str) -> None:
        """Another collector of the lane is at work; this one stands by."""
        self._log.info("lease.awaited", lease=holder)

    def spool_undecided(self, folder: str, *, records: int) -> None:
        """Nobody can tell any more what of a spool stands in the lane: it was put aside for a person to look at."""
        self._log.error("spool.undecided", folder=folder, records=records)

    def spool_saved(self, lane: str, *, records: int, dropped: int) -> None:
        """What a fenced collector left in its spool stands in a lane of its own."""
        self._log.warning("spool.saved", rescue_lane=lane, records=records, dropped=dropped)

    def spool_refused(self, error: SpoolFullError) -> None:
        """The disk of the spool is full: memory holds what it can, and what it cannot is dropped and named."""
        self._errors.add(error)
        self._log.error("spool.refused", reason=str(error))

    def spool_begun(self, *, records: int) -> None:
        """Memory is full: blocks go to the spool from now on."""
        self._spool_begins.inc()
        self._log.warning("spool.begun", records=records)

    def spool_drained(self) -> None:
        """Everything that was in the spool is stored on the bus."""
        self._log.info("spool.drained")

    def lane_rescued(self, *, records: int) -> None:
        """What could not be sent stands in the spool."""
        self._log.warning("lane.rescued", records=records)
