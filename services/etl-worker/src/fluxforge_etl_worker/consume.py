"""The service: claims sealed segments from the bus one at a time, has them processed, and says the verb.

The only place that maps errors to verbs: done -> ack; transient -> tried again while the claim is held; permanent ->
dead mark, event, term; anything else ends the process, and the bus delivers again. Work runs in a thread, of a segment
that was delivered often in a process of its own; the loop keeps the claim alive meanwhile. Nothing is worked on that
was not claimed.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import orjson

from fluxforge.domain.errors import (
    FatalError,
    ManifestError,
    NameRefusedError,
    ObjectNotFoundError,
    PermanentError,
    TransientError,
)
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import SealedEvent
from fluxforge.domain.status import EtlStatus, status_subject, status_to_json
from fluxforge.ports.bus import Bus, Claim, WorkQueue
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.patience import Patience
from fluxforge_etl_worker.alone import process_alone
from fluxforge_etl_worker.dead import given_up_count
from fluxforge_etl_worker.events import EtlEvents
from fluxforge_etl_worker.listing import checked_name
from fluxforge_etl_worker.reconcile import is_settled, missing_events
from fluxforge_etl_worker.work import Outcome, Worker

T = TypeVar("T")

_CLAIM_WAIT_S: Final = 1.0
_VERB_S: Final = 30.0
_CLOSE_S: Final = 1.0
_ALONE_FROM_DELIVERY: Final = 6
_HEARTBEAT_S: Final = 5.0
_STATUS_S: Final = 1.0
_RECONCILE_S: Final = 60.0
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class _Target:
    """The segment a claim speaks of."""

    lane: Lane
    segment: str


class EtlService:
    """One worker on the queue. A drain finishes what waits, then ends."""

    def __init__(
        self, worker: Worker, bus: Bus, events: EtlEvents, shutdown: Shutdown, *, instance: str, verb_s: float = _VERB_S
    ) -> None:
        self._worker = worker
        self._bus = bus
        self._events = events
        self._patience = Patience(events)
        self._shutdown = shutdown
        self._instance = instance
        self._verb_s = verb_s
        self._work: WorkQueue | None = None
        self._backlog = 0
        self._oldest_ns = 0
        self._segments = 0
        self._records = 0
        self._quarantined = 0
        self._rows: Counter[str] = Counter()
        events.age_from(self.status)

    @property
    def is_ready(self) -> bool:
        """Whether work can be claimed."""
        return self._work is not None and self._bus.connected

    def status(self) -> EtlStatus:
        """Return what the service says of itself."""
        return EtlStatus(
            at_ns=self._worker.clock.wall_ns(),
            ready=self.is_ready,
            backlog=self._backlog,
            segments=self._segments,
            records=self._records,
            quarantined=self._quarantined,
            rows=dict(self._rows),
            oldest_ns=self._oldest_ns,
        )

    async def run(self) -> None:
        """Work until a drain is asked for and nothing waits, or its time is over: what is in hand is given back.

        Raises:
            BaseExceptionGroup: Of the errors that ended the service.
        """
        self._work = await self._patience.bus(self._bus.work)
        try:
            async with asyncio.TaskGroup() as group:
                watches = [
                    group.create_task(self._shutdown.watched(self._bus.failed)),
                    group.create_task(self._announce(self._work)),
                    group.create_task(self._shutdown.watched(partial(self._reconcile, self._work))),
                ]
                if not await self._shutdown.unless_hurried(
                    self._shutdown.watched(partial(self._claim_all, self._work))
                ):
                    self._events.drain_cut_short()
                for watch in watches:
                    watch.cancel()
        finally:
            with contextlib.suppress(TimeoutError):  # what was delivered to us comes again after its deadline
                async with asyncio.timeout(_CLOSE_S):
                    await self._work.close()

    async def _claim_all(self, work: WorkQueue) -> None:
        while True:
            claim = await self._patience.bus(partial(work.claim, wait_s=_CLAIM_WAIT_S))
            if claim is not None:
                await self._settle_or_return(claim)
            elif self._shutdown.requested and (await self._patience.bus(work.backlog)).num_pending == 0:
                return

    async def _settle_or_return(self, claim: Claim) -> None:
        try:
            await self._settle(claim)
        except asyncio.CancelledError:
            # As good as the bus allows: else it comes again after its deadline.
            with contextlib.suppress(TransientError, FatalError):
                await claim.nak(0)
            raise

    async def _settle(self, claim: Claim) -> None:
        started_ns = self._worker.clock.monotonic_ns()
        try:
            event = SealedEvent.from_json(claim.payload)
            target = _Target(Lane.parse(event.lane), checked_name(event.segment))
        except (ManifestError, NameRefusedError) as error:
            self._events.claim_refused(claim.subject, str(error))
            await self._say(claim, claim.term)
            return
        try:
            mark = await self._held(claim, partial(self._worker.mark, target.lane, target.segment))
            if mark is not None:  # condemned, and its worker ended before it could say so
                await self._bury(claim, target, mark)
                return
            outcome = await self._held(claim, self._task(claim, target))
        except (PermanentError, ObjectNotFoundError) as error:
            await self._condemn(claim, target, error)
            return
        await self._committed(claim, outcome, started_ns)

    def _task(self, claim: Claim, target: _Target) -> Callable[[], Outcome]:
        """Return the work of a claim. A segment that may have killed workers is not given another one to kill."""
        if claim.num_delivered < _ALONE_FROM_DELIVERY:
            return partial(self._worker.process, target.lane, target.segment)
        self._events.segment_isolated(str(target.lane), target.segment, num_delivered=claim.num_delivered)
        return partial(process_alone, self._worker, target.lane, target.segment)

    async def _committed(self, claim: Claim, outcome: Outcome, started_ns: int) -> None:
        placed_ns = self._worker.clock.wall_ns()
        name = f"{outcome.lane}.{outcome.segment}"
        payload = orjson.dumps(
            {
                "lane": outcome.lane,
                "segment": outcome.segment,
                "records": outcome.records,
                "quarantined": outcome.quarantined,
                "rows": outcome.rows,
            }
        )
        await self._publish(f"parts.committed.{name}", payload, f"{name}.parts")
        await self._say(claim, claim.ack)
        if outcome.forged:
            self._segments += 1
            self._records += outcome.records
            self._quarantined += outcome.quarantined
            self._rows.update(outcome.rows)
        duration_s = (self._worker.clock.monotonic_ns() - started_ns) / _NS_PER_S
        self._events.segment_committed(outcome, duration_s=duration_s, placed_ns=placed_ns)

    async def _condemn(self, claim: Claim, target: _Target, error: PermanentError | ObjectNotFoundError) -> None:
        mark = await self._held(claim, partial(self._worker.mark_dead, target.lane, target.segment, error))
        await self._bury(claim, target, mark)
        self._events.segment_condemned(str(target.lane), target.segment, error)

    async def _bury(self, claim: Claim, target: _Target, mark: bytes) -> None:
        """Tell of a mark that stands and take its segment out of the queue; of each mark one event is stored."""
        name = f"{target.lane}.{target.segment}"
        await self._publish(f"dead.{name}", mark, f"{name}.dead.{hashlib.sha256(mark).hexdigest()[:16]}")
        await self._say(claim, claim.term)

    async def _say(self, claim: Claim, verb: Callable[[], Awaitable[None]]) -> None:
        """Say the verb that ends a claim; one of which the bus knows nothing any more answers to none.

        What is delivered again all the same is found settled.
        """
        try:
            async with asyncio.timeout(self._verb_s):
                await self._patience.bus(verb)
        except TimeoutError:
            self._events.claim_left(claim.subject)

    async def _held(self, claim: Claim, work: Callable[[], T]) -> T:
        """Run work in a thread, again while it fails for a time, and keep the claim alive meanwhile."""
        async with asyncio.TaskGroup() as group:
            heartbeat = group.create_task(self._keep(claim))
            try:
                return await self._patience.disk(work)
            except (PermanentError, ObjectNotFoundError) as error:
                failure = error
            finally:
                heartbeat.cancel()
        raise failure  # outside the group, which would wrap it

    async def _keep(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            # Missed: at worst another worker does the same, and one commit wins.
            with contextlib.suppress(TransientError):
                await claim.in_progress()

    async def _publish(self, subject: str, payload: bytes, message_id: str) -> None:
        await self._patience.bus(partial(self._bus.events.publish, subject, payload, message_id=message_id))

    async def _reconcile(self, work: WorkQueue) -> None:
        while True:
            for event in await self._patience.disk(partial(missing_events, self._worker)):
                await self._announce_again(work, event)
            self._events.dead_seen(await self._patience.disk(partial(given_up_count, self._worker)))
            await asyncio.sleep(_RECONCILE_S)

    async def _announce_again(self, work: WorkQueue, event: SealedEvent) -> None:
        """Publish the event of a segment that is not settled, if none of it is left that will be delivered."""
        name = f"{event.lane}.{event.segment}"
        subject = f"segments.sealed.{name}"
        last = await self._patience.bus(partial(work.announcement, subject))
        # Looked at again after the bus: what was acknowledged since the listing is settled in storage by now.
        if last.is_due or await self._patience.disk(partial(is_settled, self._worker, event)):
            return
        # Several workers may find the same: the id makes it one message.
        await self._publish(subject, event.to_json(), f"{name}.{last.seq}")
        self._events.event_published_again(event.lane, event.segment)

    async def _announce(self, work: WorkQueue) -> None:
        while True:
            with contextlib.suppress(TransientError):  # a status is for whoever looks, when the bus is there
                backlog = await work.backlog()
                self._backlog = backlog.num_pending + backlog.num_ack_pending
                self._oldest_ns = backlog.oldest_ns or 0
                self._events.backlog_seen(self._backlog)
                status = status_to_json(self.status())
                await self._bus.events.announce(status_subject("etl-worker", self._instance), status)
            await asyncio.sleep(_STATUS_S)
