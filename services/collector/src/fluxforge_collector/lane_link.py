"""The link to a lane: one publisher after another, for a lane's stream may end and another take its place.

Nothing that was handed over is lost between two of them and nothing is stored twice: the last block of the new stream
tells what stands there already. What it lost of acknowledged blocks is named in their place. It holds at most a
window of blocks; where they come from and where else they stand is its caller's.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.errors import BlocksLostError, BusUnavailableError, FencedError, LaneMovedError
from fluxforge.domain.lane import Lane
from fluxforge.ports.bus import Bus
from fluxforge.ports.lanes import LanePublisher, StoredBlock
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.lane_log import LaneLog, Logged, Loss, is_seed
from fluxforge_collector.lane_stream import Standing, find_stream
from fluxforge_collector.lane_writer import LaneWriter

_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Relink:
    """The block that names `named` as its predecessor stands behind `stands` instead: what was between is lost."""

    named: BlockId | None
    stands: BlockId | None

    def apply(self, block: Block) -> Block:
        """Return the block as it goes into the lane."""
        return replace(block, after=self.stands) if block.after == self.named else block


class LaneLink:
    """Publishes a lane's blocks into whatever stream holds the lane."""

    def __init__(
        self,
        lane: Lane,
        bus: Bus,
        publisher: LanePublisher,
        *,
        log: LaneLog,
        window_blocks: int,
        writer: LaneWriter,
        events: CollectorEvents,
        relink: Relink | None = None,
    ) -> None:
        self._lane = lane
        self._bus = bus
        self._publisher = publisher
        self._log = log
        self._window_blocks = window_blocks
        self._writer = writer
        self._events = events
        self._relink = relink
        self._pending: deque[Block] = deque()
        """Blocks the publisher must be given before any other."""
        self._sent: deque[Logged] = deque()
        """What the publisher was given and is not in the log yet."""
        self._names: dict[BlockId, Loss] = {}
        """The losses that blocks on their way name."""
        self._open = asyncio.Event()
        self._open.set()

    @property
    def unacked(self) -> Sequence[Block]:
        """The blocks that were handed over and are not known to be stored, oldest first."""
        window = list(self._publisher.unacked)
        ids = {block.id for block in window}
        return [*window, *(block for block in self._pending if block.id not in ids)]

    async def publish(self, block: Block) -> None:
        """Hand a block over; waits while the window is full and while the lane has no stream. `run` must be running.

        Raises:
            FencedError: Somebody else writes the lane.
        """
        while True:
            await self._open.wait()
            publisher = self._publisher
            try:
                await self._give(block)
            except (LaneMovedError, BlocksLostError):
                if publisher is self._publisher:
                    self._open.clear()
                if block.id not in {held.id for held in self.unacked}:
                    continue
            return

    async def run(self) -> None:
        """Follow the lane from stream to stream until cancelled.

        Raises:
            FatalError: The lane cannot be written any more; what is unacknowledged is still held.
        """
        while True:
            try:
                while self._pending:
                    await self._give(self._pending[0])
                    self._pending.popleft()
                self._open.set()
                await self._publisher.failed()
            except (LaneMovedError, BlocksLostError) as error:
                self._open.clear()
                await self._go_on(error)

    async def close(self) -> None:
        """Stop; what is unacknowledged stays in `unacked`."""
        await self._publisher.close()

    async def _give(self, block: Block) -> None:
        if self._relink:
            block = self._relink.apply(block)
        await self._publisher.publish(block)
        self._sent.append(self._logged(block))
        self._follow_acks()

    def _logged(self, block: Block) -> Logged:
        loss = self._names.get(block.id)
        return Logged.in_place_of(loss, block) if loss else Logged.of(block)

    def _follow_acks(self) -> None:
        acked = self._publisher.acked
        if any(entry.id == acked for entry in self._sent):
            while self._log.last != acked:
                self._store(self._sent.popleft())

    def _store(self, entry: Logged) -> None:
        self._names.pop(entry.id, None)
        self._log.add(entry)

    async def _go_on(self, error: LaneMovedError | BlocksLostError) -> None:
        """Find the stream in which the lane goes on, and a publisher for it."""
        self._follow_acks()
        await self._publisher.close()
        self._events.lane_left(error.found)
        told = error.found
        while True:
            try:
                awaited = await self._attach()
            except BusUnavailableError as away:
                awaited = str(away)
            except (LaneMovedError, BlocksLostError) as moved:
                awaited = moved.found
            if awaited is None:
                return
            if awaited != told:
                self._events.lane_awaited(awaited)
                told = awaited
            await asyncio.sleep(_POLL_S)

    async def _attach(self) -> str | None:
        """Attach a publisher to the stream that the lane's state names; return what is awaited where it cannot be."""
        found = await find_stream(self._lane, self._bus)
        if not isinstance(found, Standing):
            return found
        epoch, last = found.state.epoch, found.last
        after = last.block.id if last else None
        publisher = await self._bus.publisher(
            self._lane, epoch, after=after, window_blocks=self._window_blocks, on_stored=self._events.block_stored
        )
        try:
            self._resume(last, publisher.acked)
        except BaseException:
            await publisher.close()
            raise
        self._publisher = publisher
        self._events.lane_joined(epoch=epoch, after=str(after) if after else None, spooled=0)
        return None

    def _resume(self, last: StoredBlock | None, behind: BlockId | None) -> None:
        """Decide by the last block of the lane what is sent into it next.

        Raises:
            FencedError: That block is somebody else's.
        """
        held = list(self.unacked)
        stands = last.block.id if last else None
        if stands != behind:
            raise FencedError(str(self._lane), f"block {behind} came behind {stands or 'nothing'} meanwhile")
        known = [block.id for block in held]
        if stands in known:
            stored = known.index(stands) + 1
            for entry in [self._logged(block) for block in held[:stored]]:
                self._store(entry)
            held = held[stored:]
        elif stands != self._log.last:
            held = self._name(self._loss_behind(last), last, held)
        self._sent.clear()
        self._pending = deque(held)

    def _loss_behind(self, last: StoredBlock | None) -> Loss | None:
        """Return what is lost; None where nothing of ours is, only that the lane now begins with a seed."""
        if self._log.last is None and last is not None and is_seed(last.block):
            return None
        loss = self._log.loss_behind(last) if self._log.last is not None else None
        if loss is None:
            found = f"expected it to end with {self._log.last or 'nothing'}, was {last.block.id if last else 'nothing'}"
            raise FencedError(str(self._lane), found)
        return loss

    def _name(self, loss: Loss | None, last: StoredBlock | None, held: list[Block]) -> list[Block]:
        stands = last.block.id if last else None
        named = self._log.last
        self._log.cut(last)
        if loss is not None and loss.last.boot == self._log.boot:
            self._names[loss.last] = loss
            return [self._writer.name_lost(loss), *held]
        if loss is not None:
            self._writer.name_lost_before(loss.from_ns, loss.to_ns)
        self._relink = Relink(named, stands)
        return [self._relink.apply(block) for block in held]
