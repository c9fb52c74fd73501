"""Blocks on their way: the records of a lane in memory, in order, cut into blocks as they are taken.

Bounded: at its limits it asks for relief, at twice its limits it refuses, and whoever writes must name what is lost.
It knows neither the bus nor the spool, never waits and never drops.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge_collector.settings import Limits

FeedSlot = tuple[str, str | None]
"""(channel, symbol) of a feed; symbol None for control records."""

_REFUSE_FACTOR: Final = 2


class BlockBuffer:
    """A FIFO of whole blocks with one open block at its end. Ids go on from 1; `after` chains them."""

    def __init__(self, boot: str, limits: Limits, *, after: BlockId | None) -> None:
        self._boot = boot
        self._limits = limits
        self._number = 0
        self._after = after
        self._closed: deque[Block] = deque()
        self._lines: list[bytes] = []
        self._open_bytes = 0
        self._ranges: dict[FeedSlot, list[int]] = {}
        self._first_ns = 0
        self._last_ns = 0
        self.records = 0
        """Records held, in closed blocks and the open one."""
        self.size_bytes = 0
        """Bytes held."""
        self.refusing = False
        """Whether records must be dropped: twice the limits are reached and have not fallen below them since."""
        self.filled = asyncio.Event()
        """Set while anything is held."""
        self.pressed = asyncio.Event()
        """Set while the limits are exceeded."""

    def append(self, slot: FeedSlot, seq: int, line: bytes, capture_ns: int) -> None:
        """Take one record line at the end of the lane."""
        size = len(line)
        limits = self._limits
        lines = self._lines
        if lines and (len(lines) >= limits.block_records_max or self._open_bytes + size > limits.block_bytes_max):
            self.close_open()
            lines = self._lines
        if not lines:
            self._first_ns = capture_ns
            self.filled.set()
        lines.append(line)
        self._last_ns = capture_ns
        self._open_bytes += size
        held = self._ranges.get(slot)
        if held is None:
            self._ranges[slot] = [seq, seq, 1]
        else:
            held[1] = seq
            held[2] += 1
        self.records += 1
        self.size_bytes += size
        if self.records > limits.waiting_records_max or self.size_bytes > limits.waiting_bytes_max:
            self._press()

    def close_open(self) -> None:
        """Make the open records a block, if there are any."""
        if not self._lines:
            return
        self._number += 1
        block = Block(
            id=BlockId(self._boot, self._number),
            after=self._after,
            first_capture_ns=self._first_ns,
            last_capture_ns=self._last_ns,
            feeds=tuple(FeedRange(channel, symbol, *held) for (channel, symbol), held in self._ranges.items()),
            payload=b"".join(self._lines),
        )
        self._after = block.id
        self._closed.append(block)
        self._lines = []
        self._ranges = {}
        self._open_bytes = 0

    @property
    def has_block(self) -> bool:
        """Whether a block is full already."""
        return bool(self._closed)

    @property
    def is_half_full(self) -> bool:
        """Whether half of either limit is reached."""
        limits = self._limits
        return 2 * self.records > limits.waiting_records_max or 2 * self.size_bytes > limits.waiting_bytes_max

    def held(self) -> list[Block]:
        """Return everything held as blocks, oldest first, and go on holding it."""
        self.close_open()
        return list(self._closed)

    def take(self) -> Block | None:
        """Take the oldest block, closing the open one where no other is left; None where nothing is held."""
        if not self._closed:
            self.close_open()
        if not self._closed:
            return None
        block = self._closed.popleft()
        self.records -= block.records
        self.size_bytes -= len(block.payload)
        self._relax()
        return block

    def take_all(self) -> list[Block]:
        """Take everything held, oldest first."""
        blocks = []
        while block := self.take():
            blocks.append(block)
        return blocks

    def put_back(self, blocks: Sequence[Block]) -> None:
        """Hold blocks again that were taken last, before everything else."""
        self._closed.extendleft(reversed(blocks))
        self.records += sum(block.records for block in blocks)
        self.size_bytes += sum(len(block.payload) for block in blocks)
        self.filled.set()
        limits = self._limits
        if self.records > limits.waiting_records_max or self.size_bytes > limits.waiting_bytes_max:
            self._press()

    def _press(self) -> None:
        self.pressed.set()
        limits = self._limits
        if (
            self.records >= _REFUSE_FACTOR * limits.waiting_records_max
            or self.size_bytes >= _REFUSE_FACTOR * limits.waiting_bytes_max
        ):
            self.refusing = True

    def _relax(self) -> None:
        if not self.records:
            self.filled.clear()
        limits = self._limits
        if self.records <= limits.waiting_records_max and self.size_bytes <= limits.waiting_bytes_max:
            self.pressed.clear()
            self.refusing = False
