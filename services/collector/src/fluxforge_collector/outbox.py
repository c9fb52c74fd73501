"""The outbox: carries a lane's blocks from memory to the bus, over the spool while the bus is away or full.

Order is kept always: once a block went to the spool every later one goes there too, until the spool is drained and its
removal is durable. Whatever ends the outbox, nothing it holds is lost: `rescue` puts it into the spool.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from fluxforge.domain.block import Block
from fluxforge_collector.blocks import BlockBuffer
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.spool import Spool, SpoolFullError

_POLL_S: Final = 0.02
_REFUSED_S: Final = 1.0
_Answer = TypeVar("_Answer")


class Outlet(Protocol):
    """Where blocks leave: a window of those that are not known to be stored."""

    @property
    def unacked(self) -> Sequence[Block]:
        """The blocks in the window, oldest first."""
        ...

    async def publish(self, block: Block) -> None:
        """Put a block into the window; waits while it is full."""
        ...


class Outbox:
    """Moves blocks on; nobody else publishes into the lane."""

    def __init__(
        self,
        *,
        buffer: BlockBuffer,
        publisher: Outlet,
        spool: Spool,
        linger_s: float,
        events: CollectorEvents,
    ) -> None:
        self._buffer = buffer
        self._publisher = publisher
        self._spool = spool
        self._linger_s = linger_s
        self._events = events
        self._in_hand: Block | None = None
        self._moving: list[Block] = []
        """Blocks on their way from memory into the spool, until they are kept there or held in memory again."""
        self._refused_until_s = 0.0
        self._draining = False
        self._spooling = not spool.is_empty
        # One thread: spool calls run in the order they were made, also after their caller was cancelled.
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._turn = asyncio.Lock()

    @property
    def unstored(self) -> int:
        """Records held here and not known to be stored on the bus: in memory, window and spool."""
        between = sum(block.records for block in (*self._window(), *self._moving))
        return self._buffer.records + self._spool.records + between

    @property
    def spooled(self) -> int:
        """Records in the spool that were not handed on yet."""
        return self._spool.records

    @property
    def spool_bytes(self) -> int:
        """What the spool takes on the disk."""
        return self._spool.size_bytes

    async def run(self) -> None:
        """Move blocks until cancelled.

        Raises:
            FatalError: The lane cannot be written; what is held is still held.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._spill())

    async def drain(self, timeout_s: float) -> bool:
        """Send everything that is held; return whether all of it is stored. `run` must be running."""
        self._draining = True
        try:
            async with asyncio.timeout(timeout_s):
                while self.unstored or self._spooling:  # noqa: ASYNC110 - acknowledgements set no event
                    await asyncio.sleep(_POLL_S / 4)
        except TimeoutError:
            return False
        return True

    async def rescue(self) -> int:
        """Put everything that is not known to be stored into the spool; return how many records that are.

        Call it after `run` has ended. The spool may grow beyond its limit here, by what memory holds at most.
        """
        unstored = self.unstored
        await self._on_disk(lambda: None)  # whatever was being moved has come through, or never will
        window = self._window() if self._spool.is_empty else []  # a spool that was begun holds it already
        blocks = [*window, *self._moving, *self._buffer.take_all()]
        await self._on_disk(lambda: self._spool.append(blocks))
        self._disk.shutdown()
        return unstored

    def _window(self) -> list[Block]:
        """Return the blocks handed to the publisher and not stored, the one it has not yet taken last."""
        window = list(self._publisher.unacked)
        if self._in_hand and all(block.id != self._in_hand.id for block in window):
            window.append(self._in_hand)
        return window

    async def _send(self) -> None:
        while True:
            self._in_hand = await self._next()
            await self._publisher.publish(self._in_hand)
            self._in_hand = None

    async def _next(self) -> Block:
        while True:
            block = await (self._next_spooled() if self._spooling else self._next_in_memory())
            if block:
                return block

    async def _next_in_memory(self) -> Block | None:
        await self._buffer.filled.wait()
        if not (self._buffer.has_block or self._draining):
            await asyncio.sleep(self._linger_s)
        return None if self._spooling else self._buffer.take()

    async def _next_spooled(self) -> Block | None:
        block = await self._on_disk(self._spool.next)
        if block is None and not await self._leave_spool():
            await asyncio.sleep(_POLL_S)
        return block

    async def _leave_spool(self) -> bool:
        async with self._turn:
            unacked = [block.id for block in self._publisher.unacked]
            await self._on_disk(lambda: self._spool.retire(unacked))
            if self._spool.is_empty:
                self._spooling = False
                self._events.spool_drained()
        return not self._spooling

    async def _spill(self) -> None:
        while True:
            await (self._buffer.filled if self._spooling else self._buffer.pressed).wait()
            moved = await self._move_to_spool()
            await asyncio.sleep(self._linger_s if moved else _POLL_S)

    async def _move_to_spool(self) -> bool:
        async with self._turn:
            if not (self._spooling or self._buffer.pressed.is_set()):
                return False
            window = [] if self._spooling else self._window()
            if asyncio.get_running_loop().time() < self._refused_until_s:
                return False
            if not self._spool.has_room([*window, *self._buffer.held()]):
                return False
            was_spooling, self._spooling = self._spooling, True
            if not was_spooling:
                self._events.spool_begun(records=self._buffer.records)
            self._moving = self._buffer.take_all()
            refusal = await self._on_disk(lambda: self._keep(window))
            if refusal is not None:
                self._take_back(refusal)
                self._spooling = was_spooling
        return refusal is None

    def _keep(self, window: list[Block]) -> SpoolFullError | None:
        try:
            self._spool.append([*window, *self._moving], sent=len(window))
        except SpoolFullError as error:
            return error
        self._moving = []
        return None

    def _take_back(self, refusal: SpoolFullError) -> None:
        """Hold again what the spool could not keep: memory bounds it, and drops and names what comes beyond."""
        self._buffer.put_back(self._moving)
        self._moving = []
        self._refused_until_s = asyncio.get_running_loop().time() + _REFUSED_S
        self._events.spool_refused(refusal)

    async def _on_disk(self, call: Callable[[], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call)
