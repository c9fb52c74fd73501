"""A lane's publisher in memory, under the contract of the lane ports."""

import asyncio
from collections.abc import Sequence

from typing_extensions import override

from fluxforge.adapters.lane_window import Window, raise_if_moved
from fluxforge.adapters.memory.server import Changes, MemoryServer, MemoryStream
from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import FluxForgeError, LaneMovedError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.ports.lanes import LanePublisher


class MemoryPublisher(LanePublisher):
    """Publishes into a stream; while the server is away or the stream full, the window waits."""

    def __init__(self, server: MemoryServer, lane: Lane, epoch: int, *, window: Window, window_blocks: int) -> None:
        self._server = server
        self._lane = lane
        self._epoch = epoch
        self._stream = lane.stream(epoch)
        self._window = window
        self._window_blocks = window_blocks
        self._failure: FluxForgeError | None = None
        self._ended = asyncio.Event()
        self._changes = Changes(server)
        self._unlisten = server.listen(self._flush)

    @property
    @override
    def unacked(self) -> Sequence[Block]:
        return tuple(entry.block for entry in self._window)

    @property
    @override
    def acked(self) -> BlockId | None:
        return self._window.acked

    @override
    async def publish(self, block: Block) -> None:
        while len(self._window) >= self._window_blocks and self._failure is None:
            await self._changes.wait(1.0)
        self._raise_if_failed()
        self._window.push(block, block.headers())
        self._flush()
        self._server.tell()

    @override
    async def settle(self, *, timeout_s: float) -> bool:
        deadline_ns = self._server.clock.monotonic_ns() + int(timeout_s * 1e9)
        while len(self._window) and self._failure is None:
            if not await self._changes.wait((deadline_ns - self._server.clock.monotonic_ns()) / 1e9):
                break
        self._raise_if_failed()
        return not len(self._window)

    @override
    async def failed(self) -> None:
        await self._ended.wait()
        self._raise_if_failed()

    @override
    async def close(self) -> None:
        self._unlisten()
        self._changes.stop()

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _flush(self) -> None:
        """Store what can be stored; what cannot stays in the window."""
        if self._server.is_available and self._failure is None:
            try:
                self._store(self._server.streams.get(self._stream))
            except FluxForgeError as failure:
                self._failure = failure
                self._ended.set()

    def _store(self, stream: MemoryStream | None) -> None:
        """Store what the window holds; where it holds nothing, there is nothing to find out."""
        if not len(self._window):
            return
        if stream is None:
            raise self._moved("does not exist")
        value, _ = self._server.states.get(str(self._lane), (LaneState().to_json(), 0))
        raise_if_moved(self._lane, self._epoch, LaneState.from_json(value), stream.last_seq)
        for entry in tuple(self._window):
            last = stream.blocks.get(stream.last_seq)
            self._window.reconcile(stream.last_seq, last.id if last else None)
            if stream.is_sealed:
                raise self._moved("is sealed")
            if not stream.append(entry.block):
                break  # it is full
            self._window.store(entry.seq)

    def _moved(self, found: str) -> LaneMovedError:
        return LaneMovedError(str(self._lane), f"stream {self._stream} {found}")
