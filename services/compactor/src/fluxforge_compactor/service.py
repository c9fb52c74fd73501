"""The compactor's service: every partition is looked at on a schedule, and one that got parts as soon as it is quiet.

What the bus says is a hint: whoever misses it looks later.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final

import orjson

from fluxforge.dataset.edit import EditRefusedError
from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.errors import (
    FluxForgeError,
    NameRefusedError,
    ObjectNotFoundError,
    PartitionChangedError,
    PermanentError,
    TransientError,
)
from fluxforge.domain.lane import Lane
from fluxforge.domain.status import CompactorStatus, status_subject, status_to_json
from fluxforge.ports.bus import Bus
from fluxforge.ports.clock import Clock
from fluxforge.ports.store import Store
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge.runtime.patience import Patience
from fluxforge_compactor.compact import Compactor
from fluxforge_compactor.events import CompactorEvents
from fluxforge_compactor.retention import Retention
from fluxforge_compactor.settings import CompactorSettings

_TICK_S: Final = 1.0
_NS: Final = 1_000_000_000
_SLACK_NS: Final = 5 * _NS
_HINTS_MAX: Final = 10_000


class CompactorService:
    """Compacts one output store until the end is asked for. `raw`: the segments' store, which holds the commits."""

    def __init__(
        self, compactor: Compactor, raw: Store, settings: CompactorSettings, clock: Clock, events: CompactorEvents
    ) -> None:
        self._compactor = compactor
        self._retention = Retention(raw, compactor.output, settings.layout, settings.ages, compactor.editor)
        self._raw = raw
        self._settings = settings
        self._clock = clock
        self._events = events
        self._patience = Patience(events)
        self._due_ns: dict[str, int] = {}
        """When partitions are looked at before the schedule says so, by the monotonic clock."""
        self._cleared: dict[str, int] = {}
        """How many objects the journals of partitions have of which nothing is to be cleared any more."""
        self._round_due_ns = 0
        self._is_ready = False
        self._failing: set[str] = set()
        self._partitions = self._merges = self._files = self._failed = self._round_ns = 0
        events.rounds_from(self.status)

    @property
    def is_ready(self) -> bool:
        """Whether everything was looked at once."""
        return self._is_ready

    def status(self) -> CompactorStatus:
        """Return what the service says of itself."""
        return CompactorStatus(
            at_ns=self._clock.wall_ns(),
            ready=self._is_ready,
            partitions=self._partitions,
            merges=self._merges,
            files=self._files,
            failed=self._failed,
            failing=len(self._failing),
            round_ns=self._round_ns,
        )

    async def announce(self, bus: Bus, instance: str) -> None:
        """Say so once a second, for ever."""
        while True:
            with contextlib.suppress(TransientError):  # a status is for whoever looks, when the bus is there
                await bus.events.announce(status_subject("compactor", instance), status_to_json(self.status()))
            await asyncio.sleep(_TICK_S)

    async def run(self, shutdown: Shutdown) -> None:
        """Work until the end is asked for; a merge that is not done by then is left, and begun again by the next start.

        Raises:
            FatalError: A disk cannot be trusted.
        """
        while not shutdown.requested:
            if self._clock.monotonic_ns() >= self._round_due_ns:
                await self._round(shutdown)
            await self._compact_all(self._due(), shutdown)
            await shutdown.unless_requested(asyncio.sleep(_TICK_S))

    async def listen(self, bus: Bus) -> None:
        """Take note of what is committed, for ever."""
        while True:
            try:
                heard = await bus.commits(wait_s=_TICK_S)
            except TransientError as error:
                self._events.hints_ended(error)
                await asyncio.sleep(_TICK_S)
                continue
            for payload in heard.values():
                for partition in await self._patience.disk(partial(self._partitions_of, payload)):
                    self._note(partition, self._settings.policy.quiet_ns)

    async def _round(self, shutdown: Shutdown) -> None:
        begun_ns = self._clock.monotonic_ns()
        prefix = self._settings.layout.processed_dir
        # The first round sees to what others left anywhere; later ones to what may be worth a merge.
        at_least = self._settings.policy.merge.min_count if self._is_ready else 1
        partitions = await self._patience.disk(lambda: self._compactor.partitions(prefix, at_least=at_least))
        journaled = await self._patience.disk(lambda: self._compactor.journaled(prefix))
        changed = [partition for partition, count in journaled.items() if self._cleared.get(partition) != count]
        self._failing &= {*partitions, *journaled}  # what is gone fails no more
        self._cleared = {partition: count for partition, count in journaled.items() if partition not in changed}
        await self._compact_all(sorted({*partitions, *changed}), shutdown)
        self._cleared |= {partition: journaled[partition] for partition in changed if partition not in self._due_ns}
        if not shutdown.requested:
            await shutdown.unless_hurried(self._patience.disk(self._retain))
        now_ns = self._clock.monotonic_ns()
        self._partitions, self._round_ns = len(partitions), self._clock.wall_ns()
        self._events.round_ended(partitions=len(partitions), duration_s=(now_ns - begun_ns) / _NS)
        self._round_due_ns = now_ns + int(self._settings.interval_s * _NS)
        self._is_ready = True

    def _retain(self) -> None:
        for found in self._retention.expired(self._clock.wall_ns()):
            try:
                self._retention.delete(found)
            except (EditRefusedError, PartitionChangedError) as error:  # the next round finds it again
                self._fail(found.key, error)
            else:
                self._events.object_expired(found)

    async def _compact_all(self, partitions: Sequence[str], shutdown: Shutdown) -> None:
        for partition in partitions:
            for due in (partition, *self._due()):  # a long round must not keep what is to be cleared
                if not shutdown.requested:
                    await shutdown.unless_hurried(self._compact(due))

    async def _compact(self, partition: str) -> None:
        try:
            result = await self._patience.disk(lambda: self._compactor.compact(partition))
        except PermanentError as error:
            self._fail(partition, error)
            return
        self._failing.discard(partition)
        self._events.partition_compacted(result)
        self._merges += len(result.merges)
        self._files += sum(len(merge.parents) for merge in result.merges)
        for failure in result.failures:
            self._fail(partition, failure)
        if result.is_pending:  # what was merged is cleared when its grace is over
            self._note(partition, self._settings.policy.grace_ns)
        if not result.quiet:
            self._note(partition, self._settings.policy.quiet_ns)

    def _fail(self, partition: str, error: FluxForgeError) -> None:
        self._failed += 1
        self._failing.add(partition)
        self._events.partition_failed(partition, error)

    def _due(self) -> list[str]:
        now_ns = self._clock.monotonic_ns()
        due = [partition for partition, at_ns in self._due_ns.items() if at_ns <= now_ns]
        for partition in due:
            del self._due_ns[partition]
        return due

    def _note(self, partition: str, wait_ns: int) -> None:
        """Look at a partition after a while, or sooner where that is due already."""
        due_ns = self._clock.monotonic_ns() + wait_ns + _SLACK_NS
        if len(self._due_ns) < _HINTS_MAX or partition in self._due_ns:
            self._due_ns[partition] = min(due_ns, self._due_ns.get(partition, due_ns))

    def _partitions_of(self, payload: bytes) -> frozenset[str]:
        """Return the partitions that a committed segment has parts in; none where nobody can tell."""
        try:
            said = orjson.loads(payload)
            key = self._settings.layout.commit_key(Lane.parse(said["lane"]), said["segment"])
            commit = CommitRecord.from_json(self._raw.read(key), what=key)
        except (orjson.JSONDecodeError, KeyError, TypeError, NameRefusedError, PermanentError, ObjectNotFoundError):
            return frozenset()
        return frozenset(part.final_key.rpartition("/")[0] for part in commit.parts)
