"""The task of one lane: hold it, put it right, then read and seal until the drain.

The stream is the write-ahead log: what is not sealed is only ever a copy of what stands there, and may be dropped and
read again at any time. One block after another enters, each behind the block it names, or behind a hole: what does not
fit is read again, and what still does not fit then is named and passed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from fluxforge.domain.errors import LaneBrokenError, SequenceGoneError, StoreUnavailableError
from fluxforge.domain.lane_state import RECENT_MAX
from fluxforge.domain.segment import SealPolicy, SegmentName
from fluxforge.domain.status import LaneStatus
from fluxforge.ports.lanes import LaneReader, StoredBlock, StreamInfo
from fluxforge_segmenter.ages import Ages
from fluxforge_segmenter.contents import Contents, Tail
from fluxforge_segmenter.doubts import Doubts
from fluxforge_segmenter.epochs import leave, open_next
from fluxforge_segmenter.open_segment import Finished, OpenSegment, keep_manifest, remove
from fluxforge_segmenter.recover import recover, restore_recent
from fluxforge_segmenter.seal import LaneTools, carry_out, claim
from fluxforge_segmenter.stream import (
    BLOCKS_MAX,
    WRITE_BYTES,
    check_stream,
    is_read_in_vain,
    manifest_of,
    take_in,
    why_unfit,
)
from fluxforge_segmenter.tending import close_lane, purge, tend
from fluxforge_segmenter.workspace import Workspace

_CHECK_NS: Final = 30_000_000_000
_TEND_NS: Final = 60_000_000_000
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a lane's task does what. `flush_interval_ns`: blocks reach the open file at least this often.

    `wait_s`: how long it waits for blocks before it looks at the clock.
    """

    policy: SealPolicy
    flush_interval_ns: int
    wait_s: float = 0.5


class LaneTask:
    """One held lane on its way from stream to storage."""

    def __init__(self, tools: LaneTools, workspace: Workspace, rhythm: Rhythm, is_draining: Callable[[], bool]) -> None:
        self._tools = tools
        self._workspace = workspace
        self._rhythm = rhythm
        self._is_draining = is_draining
        self._tail = Tail()
        self._open: OpenSegment | None = None
        self._ages = Ages()
        self._stream: StreamInfo | None = None
        self._opened_ns = 0
        self._written_ns = 0
        self._checked_ns = 0
        self._tended_ns = 0
        self._drain_to: int | None = None
        self._doubts = Doubts()
        self._is_whole = False  # whether everything sealed lately was seen in storage
        self._is_reading = False
        self._is_closed = False
        self._segments = self._records = self._sealed_bytes = 0

    @property
    def is_ready(self) -> bool:
        """Whether the lane was put right and is being read."""
        return self._is_reading

    @property
    def is_closed(self) -> bool:
        """Whether the lane was closed for good and removed from the bus."""
        return self._is_closed

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
            unsealed_ns=self._unsealed_ns,
            stream_bytes=self._stream.size_bytes if self._stream else 0,
            stream_bytes_max=self._stream.size_bytes_max if self._stream else 0,
        )

    async def run(self) -> None:
        """Serve the lane until it is drained, or closed and removed.

        Raises:
            FatalError: The lane is somebody else's, or its disk cannot be trusted; nothing was dropped.
        """
        try:
            while not await self._tools.patience.bus(self._live):
                pass
        except BaseException:
            if self._open is not None:
                self._open.abandon()
            raise
        if not self._is_closed:
            self._tools.events.lane_drained(self._tools.lane, sealed_seq=self._tools.hold.state.sealed_seq)

    @property
    def _last_read(self) -> int:
        return self._open.contents.last if self._open else self._tools.hold.state.sealed_seq

    @property
    def _unsealed_ns(self) -> int:
        if self._open is not None and self._open.contents.first_capture_ns is not None:
            return self._open.contents.first_capture_ns
        return 0 if self._is_reading else self._tools.hold.state.last_capture_ns

    async def _live(self) -> bool:
        """Put the lane right and read it; true once that is over, false where it must be put right again."""
        try:
            self._tail = await recover(self._tools, self._workspace)
            await self._tend()
            reason = await why_unfit(self._tools, self._tail)
            if reason is not None:
                await self._change_epoch(reason)
                return self._is_closed
            self._is_reading = True
            await self._read(None)
        except StoreUnavailableError:
            self._discard()  # what reached the file is not to be trusted: the stream has it
            raise
        except LaneBrokenError as error:
            self._drop(error)
            return False
        finally:
            self._is_reading = False
            self._drain_to = None
        return True

    async def _change_epoch(self, reason: str) -> None:
        """Seal the epoch's stream to its end and open the next, unless the lane ends here."""
        tools = self._tools
        if await self._close_if_over():
            return
        tools.events.epoch_left(tools.lane, tools.hold.state.epoch, reason)
        await self._read(await leave(tools, self._tail))
        await open_next(tools, self._tail)
        self._doubts.clear()

    async def _read(self, end_seq: int | None) -> None:
        """Read and seal up to a sequence; without one until the lane is drained or closed."""
        reader = self._reader()
        try:
            while not await self._is_done(end_seq):
                try:
                    blocks = await self._tools.patience.bus(
                        partial(reader.fetch, blocks_max=BLOCKS_MAX, wait_s=self._rhythm.wait_s)
                    )
                except SequenceGoneError as gone:
                    await self._pass_over(gone)
                    await reader.close()
                    reader = self._reader()
                    continue
                for stored in blocks:
                    await self._take(stored)
                await self._keep_time(end_seq)
        finally:
            await reader.close()
        if self._open is not None and end_seq is not None and self._open.contents.ends_in_hole:
            self._open.contents.settle()
            await self._seal(self._open)
        elif self._open is not None and self._open.contents.has_news:
            await self._seal(self._open)
        self._discard()

    def _reader(self) -> LaneReader:
        state = self._tools.hold.state
        return self._tools.bus.reader(self._tools.lane, state.epoch, from_seq=self._last_read + 1)

    async def _take(self, stored: StoredBlock) -> None:
        segment = self._opened()
        if stored.stream_seq in self._doubts:
            take_in(self._tools, segment, stored)
        else:
            segment.contents.check(self._tools.lane, stored)
            segment.add(stored)
        if stored.block.payload:
            self._ages.add(stored.block.first_capture_ns)
        if segment.contents.size_bytes >= self._rhythm.policy.size_bytes_max:
            await self._seal(segment)
        elif segment.buffered_bytes >= WRITE_BYTES:
            await self._write(segment)

    async def _pass_over(self, gone: SequenceGoneError) -> None:
        """Go on behind what is gone, in a segment that begins with the hole."""
        if gone.first not in self._doubts:
            raise gone
        if self._open is not None and self._open.contents.records:
            await self._seal(self._open)
        self._opened().contents.skip(gone.first, gone.last)

    def _opened(self) -> OpenSegment:
        if self._open is None:
            state = self._tools.hold.state
            self._open = self._workspace.open(Contents(self._tail, epoch=state.epoch, first=state.sealed_seq + 1))
            self._opened_ns = self._written_ns = self._tools.clock.monotonic_ns()
        return self._open

    async def _keep_time(self, end_seq: int | None) -> None:
        """Do what is due by the clock: seal by age, write what is buffered, look after stream and storage."""
        now_ns = self._tools.clock.monotonic_ns()
        if self._open is not None and self._open.contents.records:
            age_ns = now_ns - self._opened_ns
            if self._rhythm.policy.is_due(size_bytes=self._open.contents.size_bytes, age_ns=age_ns):
                await self._seal(self._open)
            elif now_ns - self._written_ns >= self._rhythm.flush_interval_ns:
                await self._write(self._open)
        if end_seq is None and now_ns - self._checked_ns >= _CHECK_NS:
            await self._check()
        if now_ns - self._tended_ns >= _TEND_NS:
            await self._tend()

    async def _write(self, segment: OpenSegment) -> None:
        await asyncio.to_thread(segment.write)
        self._written_ns = self._tools.clock.monotonic_ns()

    async def _seal(self, segment: OpenSegment) -> None:
        tools = self._tools
        begin_ns = tools.clock.monotonic_ns()
        if len(tools.hold.state.recent) >= RECENT_MAX:
            self._is_whole = await restore_recent(tools, self._workspace)
        finished = await self._finish(segment)
        await claim(tools, finished)
        if await is_read_in_vain(tools, finished.manifest):
            raise LaneBrokenError(str(tools.lane), f"its stream lost what was read of it for {finished.manifest.name}")
        manifest = await carry_out(tools, finished)
        sealed_ns = tools.clock.wall_ns()
        self._open = None
        self._doubts.settle()
        self._tail = Tail.of(manifest)
        self._segments += 1
        self._records += manifest.records
        self._sealed_bytes += manifest.size_bytes
        await asyncio.to_thread(remove, finished)
        duration_s = (tools.clock.monotonic_ns() - begin_ns) / _NS
        tools.events.segment_sealed(tools.lane, manifest, duration_s=duration_s, ages_s=self._ages.at(sealed_ns))
        self._ages.clear()
        if self._is_whole:
            await purge(tools, self._tail)

    async def _finish(self, segment: OpenSegment) -> Finished:
        """Bring the open file and its manifest to disk."""
        tools, state = self._tools, self._tools.hold.state
        digest = await asyncio.to_thread(segment.finish)
        segment.close()
        begin_ns = segment.contents.first_capture_ns or self._tail.last_capture_ns or tools.clock.wall_ns()
        name = SegmentName.next(hour=state.hour, counter=state.counter, first_capture_ns=begin_ns)
        manifest = manifest_of(tools, segment, name, digest, tools.clock.wall_ns())
        finished = Finished(segment.path, manifest)
        await asyncio.to_thread(keep_manifest, finished, self._workspace.sync)
        return finished

    async def _check(self) -> None:
        self._checked_ns = self._tools.clock.monotonic_ns()
        info = self._stream = await check_stream(self._tools, self._tail, at_least=self._last_read)
        self._tools.events.backlog_seen(self._tools.lane, info.last_seq - self._last_read)

    async def _tend(self) -> None:
        self._is_whole = await tend(self._tools, self._workspace, self._tail)
        self._tended_ns = self._tools.clock.monotonic_ns()
        if self._is_reading and self._open is None:
            await self._close_if_over()

    async def _close_if_over(self) -> bool:
        self._is_closed = self._is_whole and await close_lane(self._tools, self._tail)
        return self._is_closed

    async def _is_done(self, end_seq: int | None) -> bool:
        """Return whether everything was read that is to be read: up to a sequence, or what stood there at the drain."""
        if end_seq is None:
            if self._is_closed or not self._is_draining():
                return self._is_closed
            if self._drain_to is None:
                info = await check_stream(self._tools, self._tail, at_least=self._last_read)
                self._drain_to = info.last_seq
            end_seq = self._drain_to
        return self._last_read >= end_seq

    def _drop(self, error: LaneBrokenError) -> None:
        """Drop the open file, to read again from the last seal on; what did not fit at one place is passed then."""
        self._doubts.note(error)
        self._tools.events.lane_reread(self._tools.lane, error)
        self._discard()

    def _discard(self) -> None:
        self._ages.clear()
        if self._open is not None:
            self._open.discard()
            self._open = None
