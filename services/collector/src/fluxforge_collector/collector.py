"""The collector: joins its lane, captures a source into it, and leaves it in order.

Nothing is subscribed before the lane can be written, and the process does not end before everything that was captured
is stored on the bus or stands in the spool.
"""

import asyncio
from typing import Final

from fluxforge.domain.control import After
from fluxforge.domain.errors import BusUnavailableError
from fluxforge.domain.status import CollectorStatus, FeedStatus, status_subject, status_to_json
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.ccxt_source.unify import last_price
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.join import Joined, join
from fluxforge_collector.lane_writer import LaneFeed, LaneWriter
from fluxforge_collector.outbox import Outbox
from fluxforge_collector.settings import CollectorSettings
from fluxforge_collector.source import Source
from fluxforge_collector.spool import Spool

DRAIN_S: Final = 10.0
_STATUS_S: Final = 1.0
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
        events.count_from(self.status)

    @property
    def is_ready(self) -> bool:
        """Whether the lane is joined and everything is being subscribed."""
        return self._writer is not None

    async def run(self, shutdown: Shutdown) -> None:
        """Capture until the end is asked for, then drain.

        Raises:
            FatalError: The lane cannot be written any more. What was not stored stands in the spool.
            BusUnavailableError: Draining took too long. What was not stored stands in the spool.
        """
        spool = Spool(self._settings.spool)
        joined = await join(self._settings.lane, self._bus, spool, self._clock, shutdown, self._events)
        if joined is None:
            return
        publisher = await self._bus.publisher(
            self._settings.lane,
            joined.epoch,
            after=joined.stream_last,
            window_blocks=self._settings.limits.window_blocks,
        )
        after = str(joined.stream_last) if joined.stream_last else None
        self._events.lane_joined(epoch=joined.epoch, after=after, spooled=spool.records)
        buffer = BlockBuffer(self._boot, self._settings.limits, after=joined.last)
        writer = self._writer = self._open_writer(buffer, joined)
        outbox = self._outbox = Outbox(
            buffer=buffer,
            publisher=publisher,
            spool=spool,
            linger_s=self._settings.limits.linger_s,
            events=self._events,
        )
        rescued = 0
        try:
            await self._capture(writer, outbox, shutdown)
        finally:
            await publisher.close()
            if outbox.unstored:
                rescued = await outbox.rescue()
                self._events.lane_rescued(records=rescued)
        if rescued:
            raise BusUnavailableError(
                f"drain of lane {self._settings.lane}",
                f"{rescued} records are not stored after {self._drain_s:g} s; they stand in the spool "
                f"{str(self._settings.spool.directory)!r} and are sent at the next start",
            )

    def status(self) -> CollectorStatus:
        """Return what the collector says of itself now."""
        writer, outbox = self._writer, self._outbox
        if writer is None or outbox is None:
            return CollectorStatus(
                lane=str(self._settings.lane),
                at_ns=self._clock.wall_ns(),
                ready=False,
                captured=0,
                stored=0,
                waiting=0,
                spooled=0,
                dropped=0,
                connections=0,
                feeds=(),
                boot=self._boot,
            )
        unstored, spooled = outbox.unstored, outbox.spooled
        return CollectorStatus(
            lane=str(self._settings.lane),
            at_ns=self._clock.wall_ns(),
            ready=True,
            captured=writer.captured,
            # What an earlier boot left in the spool is unstored, too, but was not captured by this one.
            stored=max(0, writer.captured - writer.dropped - unstored),
            waiting=unstored - spooled,
            spooled=spooled,
            dropped=writer.dropped,
            connections=self._source.connections,
            feeds=tuple(_feed_status(feed) for feed in writer.feeds),
            boot=self._boot,
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

    async def _capture(self, writer: LaneWriter, outbox: Outbox, shutdown: Shutdown) -> None:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(shutdown.watched(outbox.run()))
            failed = shutdown.watched(self._bus.failed())
            beside = [tasks.create_task(self._announce(writer)), tasks.create_task(failed)]
            capturing = tasks.create_task(shutdown.watched(self._source.run(writer)))
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


def _feed_status(feed: LaneFeed) -> FeedStatus:
    lag_ms = None if feed.last_ms is None else feed.last_ns // _NS_PER_MS - feed.last_ms
    return FeedStatus(
        channel=feed.key.channel,
        symbol=feed.key.symbol,
        records=feed.seq,
        last_price=last_price(feed.key.channel, feed.last_data),
        lag_ms=lag_ms,
        sound=not feed.unsound,
    )
