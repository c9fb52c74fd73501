"""The task of one lane: hold it, put it right, then read and seal until the drain.

The stream is the write-ahead log: what is not sealed is only ever a copy of what stands there, and may be dropped and
read again at any time. One block after another enters, each behind the block it names.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from fluxforge.domain.errors import LaneBrokenError
from fluxforge.domain.lane_state import RECENT_MAX
from fluxforge.domain.segment import SealPolicy, SegmentName
from fluxforge.domain.status import LaneStatus
from fluxforge.ports.bus import Backlog
from fluxforge.ports.lanes import StoredBlock
from fluxforge_segmenter.contents import Contents, Tail
from fluxforge_segmenter.open_segment import Finished, OpenSegment, keep_manifest, remove
from fluxforge_segmenter.reconcile import publish_missing
from fluxforge_segmenter.recover import recover, restore_recent
from fluxforge_segmenter.seal import LaneTools, purge, seal
from fluxforge_segmenter.stream import BLOCKS_MAX, SOFTWARE, WRITE_BYTES, check_stream
from fluxforge_segmenter.workspace import Workspace

_WAIT_S: Final = 0.5
_CHECK_NS: Final = 30_000_000_000
_TEND_NS: Final = 60_000_000_000
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a lane's task does what. `flush_interval_ns`: blocks reach the open file at least this often."""

    policy: SealPolicy
    flush_interval_ns: int


class LaneTask:
    """One held lane on its way from stream to storage."""

    def __init__(
        self,
        tools: LaneTools,
        workspace: Workspace,
        rhythm: Rhythm,
        is_draining: Callable[[], bool],
        backlog: Callable[[], Awaitable[Backlog]],
    ) -> None:
        self._tools = tools
        self._workspace = workspace
        self._rhythm = rhythm
        self._is_draining = is_draining
        self._backlog = backlog
        self._tail = Tail()
        self._open: OpenSegment | None = None
        self._opened_ns = 0
        self._written_ns = 0
        self._checked_ns = 0
        self._tended_ns = 0
        self._drain_to: int | None = None
        self._broken_at: int | None = None
        self._is_reading = False
        self._segments = self._records = self._sealed_bytes = 0

    @property
    def is_ready(self) -> bool:
        """Whether the lane was put right and is being read."""
        return self._is_reading

    def status(self) -> LaneStatus:
        """Return where the lane stands now."""
        state = self._tools.hold.state
        return LaneStatus(
            lane=str(self._tools.lane),
            epoch=state.epoch,
            stream_seq=self._last_read,
            sealed_seq=state.sealed_seq,
            segments=self._segments,
            records=self._records,
            sealed_bytes=self._sealed_bytes,
            open_bytes=self._open.contents.size_bytes if self._open else 0,
        )

    async def run(self) -> None:
        """Serve the lane until it is drained.

        Raises:
            FatalError: The lane is somebody else's, cannot go on, or its disk cannot be trusted; nothing was dropped.
        """
        self._tail = await recover(self._tools, self._workspace)
        await self._tend()
        self._is_reading = True
        try:
            while not await self._read():
                pass
        finally:
            self._is_reading = False
            if self._open is not None:
                self._open.close()
        self._tools.events.lane_drained(self._tools.lane, sealed_seq=self._tools.hold.state.sealed_seq)

    @property
    def _last_read(self) -> int:
        return self._open.contents.last if self._open else self._tools.hold.state.sealed_seq

    async def _read(self) -> bool:
        """Read until the drain's end and return true, or until what was read had to be dropped, and return false."""
        epoch = self._tools.hold.state.epoch
        reader = self._tools.bus.reader(self._tools.lane, epoch, from_seq=self._tools.hold.state.sealed_seq + 1)
        try:
            while not await self._is_drained():
                blocks = await self._tools.patience.bus(partial(reader.fetch, blocks_max=BLOCKS_MAX, wait_s=_WAIT_S))
                for stored in blocks:
                    await self._take(stored)
                await self._keep_time()
        except LaneBrokenError as error:
            self._drop(error)
            return False
        finally:
            await reader.close()
        if self._open is not None and self._open.contents.records:
            await self._seal(self._open)
        return True

    async def _take(self, stored: StoredBlock) -> None:
        if self._open is None:
            state = self._tools.hold.state
            self._open = self._workspace.open(Contents(self._tail, epoch=state.epoch, first=state.sealed_seq + 1))
            self._opened_ns = self._written_ns = self._tools.clock.monotonic_ns()
        self._open.contents.check(self._tools.lane, stored)
        self._open.add(stored)
        if self._open.contents.size_bytes >= self._rhythm.policy.size_bytes_max:
            await self._seal(self._open)
        elif self._open.buffered_bytes >= WRITE_BYTES:
            await self._write(self._open)

    async def _keep_time(self) -> None:
        """Do what is due by the clock: seal by age, write what is buffered, look after stream and storage."""
        now_ns = self._tools.clock.monotonic_ns()
        if self._open is not None and self._open.contents.records:
            age_ns = now_ns - self._opened_ns
            if self._rhythm.policy.is_due(size_bytes=self._open.contents.size_bytes, age_ns=age_ns):
                await self._seal(self._open)
            elif now_ns - self._written_ns >= self._rhythm.flush_interval_ns:
                await self._write(self._open)
        if now_ns - self._checked_ns >= _CHECK_NS:
            await self._check()
        if now_ns - self._tended_ns >= _TEND_NS:
            await self._tend()

    async def _write(self, segment: OpenSegment) -> None:
        await self._tools.patience.disk(segment.write)
        self._written_ns = self._tools.clock.monotonic_ns()

    async def _seal(self, segment: OpenSegment) -> None:
        tools = self._tools
        begin_ns = tools.clock.monotonic_ns()
        if len(tools.hold.state.recent) >= RECENT_MAX:
            await restore_recent(tools, self._workspace)
        finished = await self._finish(segment)
        manifest = await seal(tools, finished)
        self._open = None
        self._tail = Tail.of(manifest)
        self._segments += 1
        self._records += manifest.records
        self._sealed_bytes += manifest.size_bytes
        await asyncio.to_thread(remove, finished)
        duration_s = (tools.clock.monotonic_ns() - begin_ns) / _NS
        tools.events.segment_sealed(tools.lane, manifest, duration_s=duration_s)
        await purge(tools)

    async def _finish(self, segment: OpenSegment) -> Finished:
        """Bring the open file and its manifest to disk."""
        tools, state = self._tools, self._tools.hold.state
        digest = await tools.patience.disk(segment.finish)
        segment.close()
        first_capture_ns = segment.contents.first_capture_ns
        assert first_capture_ns is not None, "a segment holds records"
        name = SegmentName.next(hour=state.hour, counter=state.counter, first_capture_ns=first_capture_ns)
        manifest = segment.contents.manifest(
            tools.lane,
            name,
            digest,
            suffix=self._workspace.compression.suffix,
            created_ns=tools.clock.wall_ns(),
            software=SOFTWARE,
        )
        finished = Finished(segment.path, manifest)
        await tools.patience.disk(partial(keep_manifest, finished, self._workspace.sync))
        return finished

    async def _check(self) -> None:
        info = await check_stream(self._tools, at_least=self._last_read)
        self._checked_ns = self._tools.clock.monotonic_ns()
        self._tools.events.backlog_seen(self._tools.lane, info.last_seq - self._last_read)

    async def _tend(self) -> None:
        await restore_recent(self._tools, self._workspace)
        await publish_missing(self._tools, self._backlog)
        await purge(self._tools)
        self._tended_ns = self._tools.clock.monotonic_ns()

    async def _is_drained(self) -> bool:
        """Return whether a drain was asked for and everything that stood in the stream then was read."""
        if not self._is_draining():
            return False
        if self._drain_to is None:
            self._drain_to = (await check_stream(self._tools, at_least=self._last_read)).last_seq
        return self._last_read >= self._drain_to

    def _drop(self, error: LaneBrokenError) -> None:
        """Drop the open file, to read again from the last seal on; what breaks there twice is broken."""
        sealed_seq = self._tools.hold.state.sealed_seq
        if self._broken_at == sealed_seq:
            raise error
        self._broken_at = sealed_seq
        self._tools.events.lane_reread(self._tools.lane, error)
        if self._open is not None:
            self._open.discard()
            self._open = None
