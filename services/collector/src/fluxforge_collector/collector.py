"""The collector: joins its lane, captures a source into it, and leaves it in order.

Nothing is subscribed before the lane can be written, and the process does not end before everything that was captured
is stored on the bus or stands in the spool.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from fluxforge.domain.control import After
from fluxforge.domain.errors import BlocksLostError, BusUnavailableError, LaneMovedError
from fluxforge.domain.status import CollectorStatus, FeedStatus, status_subject, status_to_json
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.ports.lanes import LanePublisher
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.berth import Berth
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.ccxt_source.unify import last_price
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.join import Joined, join
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.lane_lease import LaneLease
from fluxforge_collector.lane_link import LaneLink
from fluxforge_collector.lane_log import LaneLog
from fluxforge_collector.lane_writer import LaneWriter
from fluxforge_collector.outbox import Outbox
from fluxforge_collector.settings import CollectorSettings
from fluxforge_collector.source import Source
from fluxforge_collector.spool import Spool, SpoolFullError

DRAIN_S: Final = 10.0
_STATUS_S: Final = 1.0
_RETRY_S: Final = 0.2
_NS_PER_MS: Final = 1_000_000


class Collector:
    """One collector process' work, without the adapters it runs on."""

    def __init__(
        self,
        settings: CollectorSettings,
        *,
        source: Source,
        bus: Bus,
        clock: Clock,
        events: CollectorEvents,
        boot: str,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._settings = settings
        self._source = source
        self._bus = bus
        self._clock = clock
        self._events = events
        self._boot = boot
        self._drain_s = drain_s
        self._writer: LaneWriter | None = None
        self._outbox: Outbox | None = None
        self._holds_lane = False
        self._began_ns = 0
        events.count_from(self.status, stale_s=settings.stale_s)

    @property
    def is_ready(self) -> bool:
        """Whether the lane is joined and everything is being subscribed."""
        return self._writer is not None

    async def run(self, shutdown: Shutdown) -> None:
        """Wait for the lane's lease, capture until the end is asked for, then drain.

        Raises:
            FatalError: The lane cannot be written any more. What was not stored stands in the spool.
            BusUnavailableError: Draining took too long. What was not stored stands in the spool.
        """
        berth = Berth(self._settings.spool)
        lease = LaneLease(
            self._bus, self._settings.lane, berth.name, ttl_s=self._settings.lease_ttl_s, clock=self._clock
        )
        try:
            if not await shutdown.unless_requested(lease.take(self._events)):
                return
            self._holds_lane = True
            try:
                async with asyncio.TaskGroup() as tasks:
                    keeping = tasks.create_task(shutdown.watched(lease.keep))
                    await self._work(berth, shutdown)
                    keeping.cancel()
            finally:
                self._holds_lane = False
                await lease.release()
        finally:
            berth.leave()

    async def _work(self, berth: Berth, shutdown: Shutdown) -> None:
        spools = [Spool(replace(self._settings.spool, directory=directory)) for directory in berth.directories]
        spool = max(spools, key=_newest_ns)
        found = await self._join(spool, [other for other in spools if other is not spool], shutdown)
        if found is None:
            return
        joined, publisher = found
        buffer = BlockBuffer(self._boot, self._settings.limits, after=joined.last)
        writer = self._writer = self._open_writer(buffer, joined)
        self._began_ns = self._clock.wall_ns()
        if joined.lost:
            writer.name_lost_before(joined.lost.from_ns, joined.lost.to_ns)
            await _keep(buffer, spool)
        link = LaneLink(
            self._settings.lane,
            self._bus,
            publisher,
            log=LaneLog(self._boot, joined.stream_last, joined.stream_last_ns),
            window_blocks=self._settings.limits.window_blocks,
            writer=writer,
            events=self._events,
            relink=joined.lost.relink if joined.lost else None,
        )
        outbox = self._outbox = Outbox(
            buffer=buffer,
            publisher=link,
            spool=spool,
            linger_s=self._settings.limits.linger_s,
            events=self._events,
        )
        rescued = 0
        try:
            await self._capture(writer, link, outbox, shutdown)
        finally:
            await link.close()
            if outbox.unstored:
                rescued = await outbox.rescue()
                self._events.lane_rescued(records=rescued)
        if rescued:
            raise BusUnavailableError(
                f"drain of lane {self._settings.lane}",
                f"{rescued} records could not be stored in time; they stand in the spool "
                f"{str(self._settings.spool.directory)!r} and are sent at the next start",
            )

    async def _join(
        self, spool: Spool, beside: Sequence[Spool], shutdown: Shutdown
    ) -> tuple[Joined, LanePublisher] | None:
        """Join the lane, as often as its stream ends meanwhile; None when asked to end first."""
        lane = self._settings.lane
        while True:
            joined = await join(lane, self._bus, spool, self._clock, shutdown, self._events, beside)
            if joined is None:
                return None
            try:
                publisher = await self._bus.publisher(
                    lane,
                    joined.epoch,
                    after=joined.stream_last,
                    window_blocks=self._settings.limits.window_blocks,
                    on_stored=self._events.block_stored,
                )
            except (LaneMovedError, BlocksLostError, BusUnavailableError) as error:
                self._events.lane_awaited(str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            after = str(joined.stream_last) if joined.stream_last else None
            self._events.lane_joined(epoch=joined.epoch, after=after, spooled=spool.records)
            return joined, publisher

    def status(self) -> CollectorStatus:
        """Return what the collector says of itself now."""
        writer, outbox = self._writer, self._outbox
        if writer is None or outbox is None:
            return idle_status(self._settings, self._boot, self._clock.wall_ns(), held=self._holds_lane)
        at_ns, unstored, spooled = self._clock.wall_ns(), outbox.unstored, outbox.spooled
        return CollectorStatus(
            lane=str(self._settings.lane),
            at_ns=at_ns,
            ready=True,
            captured=writer.captured,
            # What an earlier boot left in the spool is unstored, too, but was not captured by this one.
            stored=max(0, writer.captured - writer.dropped - unstored),
            waiting=unstored - spooled,
            spooled=spooled,
            dropped=writer.dropped,
            connections=self._source.connections,
            feeds=tuple(_feed_status(feed, writer.spent_ns(feed, at_ns)) for feed in writer.feeds),
            boot=self._boot,
            held=self._holds_lane,
            began_ns=self._began_ns,
            spool_bytes=outbox.spool_bytes,
        )

    def _open_writer(self, buffer: BlockBuffer, joined: Joined) -> LaneWriter:
        writer = LaneWriter(
            lane=self._settings.lane,
            boot=self._boot,
            feeds=self._source.feeds,
            buffer=buffer,
            clock=self._clock,
            last_ns=joined.last_capture_ns,
            record_bytes_max=self._settings.limits.record_bytes_max,
            on_control=self._events.control_entered,
        )
        after = After(joined.last.boot, joined.last.n, joined.last_capture_ns) if joined.last else None
        writer.start(after)
        return writer

    async def _capture(self, writer: LaneWriter, link: LaneLink, outbox: Outbox, shutdown: Shutdown) -> None:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(shutdown.watched(outbox.run))
            failed = shutdown.watched(self._bus.failed)
            following = shutdown.watched(link.run)
            beside = [tasks.create_task(each) for each in (self._announce(writer), failed, following)]
            capturing = tasks.create_task(shutdown.watched(partial(self._source.run, writer)))
            try:
                await shutdown.wait()
            finally:
                capturing.cancel()
                await asyncio.wait([capturing])
                await self._source.close()
                writer.stop("shutdown" if shutdown.requested else "failure")
            await shutdown.unless_hurried(outbox.drain(self._drain_s))
            for task in (sending, *beside):
                task.cancel()

    async def _announce(self, writer: LaneWriter) -> None:
        subject = status_subject("collector", str(self._settings.lane))
        while True:
            await self._bus.events.announce(subject, status_to_json(self.status()))
            writer.follow_clock()
            await asyncio.sleep(_STATUS_S)


def idle_status(settings: CollectorSettings, boot: str, at_ns: int, *, held: bool = False) -> CollectorStatus:
    """Return what a collector says of itself before it captures."""
    return CollectorStatus(
        lane=str(settings.lane),
        at_ns=at_ns,
        ready=False,
        captured=0,
        stored=0,
        waiting=0,
        spooled=0,
        dropped=0,
        connections=0,
        feeds=(),
        boot=boot,
        held=held,
    )


def _feed_status(feed: LaneFeed, hole_ns: int) -> FeedStatus:
    lag_ms = None if feed.last_ms is None else feed.last_ns // _NS_PER_MS - feed.last_ms
    return FeedStatus(
        channel=feed.key.channel,
        symbol=feed.key.symbol,
        records=feed.seq,
        last_price=last_price(feed.key.channel, feed.last_data),
        lag_ms=lag_ms,
        sound=not feed.unsound,
        last_ns=feed.last_ns,
        hole_ns=hole_ns,
    )


async def _keep(buffer: BlockBuffer, spool: Spool) -> None:
    """Put what names a loss behind what was spooled before the latter is sent: a kill must not leave it unnamed."""
    blocks = buffer.take_all()
    try:
        await asyncio.to_thread(spool.append, blocks)
    except SpoolFullError:
        buffer.put_back(blocks)  # it is still sent, and named again by the next boot if this one is killed before


def _newest_ns(spool: Spool) -> int:
    last = spool.last()
    return last.last_capture_ns if last else -1
