"""Salvage: what of a fenced collector's blocks becomes a lane of its own, and how that lane is closed. Pure.

Records captured before the successor's first are kept as they are, those from there on are named: the successor
captured that time. The same blocks always give the same lane, so that saving them can be repeated from the start.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import CONTROL_CHANNEL, Feed, RecordWriter, read_envelope
from fluxforge_collector.blocks import FeedSlot

_REASON = "fenced"


class Salvage:
    """One spool's blocks on their way into a rescue lane; counts what goes there and what is named instead."""

    def __init__(self, lane: Lane, *, behind: BlockId | None, until_ns: int, control_seqs: Mapping[str, int]) -> None:
        """Keep what stands behind a block (None: all) and was captured before `until_ns`.

        `control_seqs` are the last ones the lane knows, by boot.
        """
        self._lane = lane
        self._behind = behind
        self._until_ns = until_ns
        self._control_seqs = dict(control_seqs)
        self._last: BlockId | None = None
        self._last_ns = until_ns
        self._newest: dict[str, int] = {}
        self._come: dict[tuple[str, FeedSlot], int] = {}
        self._beyond: dict[str, dict[FeedSlot, list[int]]] = {}
        self._reached: set[tuple[str, FeedSlot]] = set()
        self._markets: dict[FeedKey, str] = {}
        self.records = 0
        self.dropped = 0

    def blocks(self, spooled: Iterable[Block]) -> Iterator[Block]:
        """Yield the rescue lane's blocks, the closing ones last."""
        for block in spooled:
            count_controls(block, self._control_seqs)
            if self._behind is not None:
                self._come_to(block)
                self._behind = None if block.id == self._behind else self._behind
                continue
            self._newest[block.id.boot] = block.id.n
            kept = self._kept(block)
            if kept is not None:
                self.records += kept.records
                self._come_to(kept)
                yield self._linked(kept)
        boots = list(self._newest)
        for boot in boots:
            if boot in self._beyond or boot == boots[-1]:
                yield self._linked(self._closing(boot, closes=boot == boots[-1]))

    def _come_to(self, block: Block) -> None:
        for feed in block.feeds:
            self._come[block.id.boot, (feed.channel, feed.symbol)] = feed.last_seq

    def _linked(self, block: Block) -> Block:
        linked = replace(block, after=self._last)
        self._last = block.id
        return linked

    def _kept(self, block: Block) -> Block | None:
        self._learn_markets(block)
        if block.last_capture_ns < self._until_ns:
            return block
        lines: list[bytes] = []
        ranges: dict[FeedSlot, list[int]] = {}
        last_ns = block.first_capture_ns
        for line in block.payload.splitlines(keepends=True):
            envelope = read_envelope(line)
            slot = (envelope.channel, envelope.symbol)
            if envelope.capture_ns < self._until_ns:
                lines.append(line)
                last_ns = envelope.capture_ns
                _extend(ranges, slot, envelope.seq)
            else:
                self.dropped += 1
                _extend(self._beyond.setdefault(block.id.boot, {}), slot, envelope.seq)
        self._reach_back(block.id.boot, ranges)
        if not lines:
            return None
        feeds = tuple(FeedRange(*slot, *held) for slot, held in ranges.items())
        return replace(block, last_capture_ns=last_ns, feeds=feeds, payload=b"".join(lines))

    def _reach_back(self, boot: str, kept: Mapping[FeedSlot, list[int]]) -> None:
        """Let what is beyond begin behind what is kept: records that name seqs between them are beyond, too."""
        for slot, held in self._beyond.get(boot, {}).items():
            come = kept[slot][1] if slot in kept else self._come.get((boot, slot))
            if come is not None and (boot, slot) not in self._reached:
                held[0] = come + 1
            self._reached.add((boot, slot))

    def _learn_markets(self, block: Block) -> None:
        keys = {FeedKey(feed.channel, feed.symbol) for feed in block.feeds if feed.symbol is not None}
        if keys <= self._markets.keys():
            return
        for line in block.payload.splitlines():
            envelope = read_envelope(line)
            if envelope.symbol is not None and envelope.market is not None:
                self._markets[FeedKey(envelope.channel, envelope.symbol)] = envelope.market

    def _closing(self, boot: str, *, closes: bool) -> Block:
        controls = [self._dropped(slot, held) for slot, held in self._beyond.get(boot, {}).items()]
        if closes:
            controls.append(Control(Event.LANE_CLOSED, feeds=tuple(self._markets), reason=_REASON))
        write = RecordWriter(Feed(self._lane.source, self._lane.exchange, CONTROL_CHANNEL, None), boot).line
        first_seq, first_ns = self._control_seqs.get(boot, 0) + 1, self._last_ns
        lines = []
        for position, control in enumerate(controls):
            told = replace(control, from_ns=control.from_ns or first_ns + position, markets=self._named(control))
            lines.append(
                write(
                    conn=0,
                    seq=first_seq + position,
                    capture_ns=first_ns + position,
                    exchange_ms=None,
                    data=told.to_json(),
                )
            )
        self._last_ns = first_ns + len(lines)
        told_range = FeedRange(CONTROL_CHANNEL, None, first_seq, first_seq + len(lines) - 1, len(lines))
        id_ = BlockId(boot, self._newest[boot] + 1)
        return Block(id_, self._last, first_ns, self._last_ns - 1, (told_range,), b"".join(lines))

    def _dropped(self, slot: FeedSlot, held: list[int]) -> Control:
        channel, symbol = slot
        first_seq, last_seq, _ = held
        detail: dict[str, str | int | None] = {"first_seq": first_seq, "last_seq": last_seq}
        return Control(
            Event.DROPPED,
            scope=None if symbol is None else FeedKey(channel, symbol),
            reason=_REASON,
            from_ns=self._until_ns,
            count=last_seq - first_seq + 1,
            detail=detail if symbol is not None else {"channel": channel, **detail},
        )

    def _named(self, control: Control) -> dict[str, str]:
        markets = {feed.symbol: self._markets.get(feed, feed.symbol) for feed in control.concerned()}
        return {symbol: market for symbol, market in markets.items() if market != symbol}


def count_controls(block: Block, control_seqs: dict[str, int]) -> None:
    """Raise a boot's last known control seq to what a block of it holds."""
    for feed in block.feeds:
        if feed.symbol is None:
            known = control_seqs.get(block.id.boot, 0)
            control_seqs[block.id.boot] = max(known, feed.last_seq)


def _extend(ranges: dict[FeedSlot, list[int]], slot: FeedSlot, seq: int) -> None:
    held = ranges.setdefault(slot, [seq, seq, 0])
    held[1] = seq
    held[2] += 1
