"""A lane's traffic, made up for tests: blocks as a collector publishes them, and the audit of what became of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import zstandard

from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.control import Control, Event
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.record import CONTROL_CHANNEL, Feed, RecordWriter
from fluxforge.domain.segment import Manifest
from fluxforge.ports.bus import Bus

LANE = Lane("ccxt", "binance", "0of1")
BEGIN_NS = 1_765_288_800_000_000_000  # 2025-12-09T14:00:00Z
MARKETS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


@dataclass
class Traffic:
    """Makes the blocks of one boot, each behind the one before; `published` remembers them all."""

    boot: str = "9f3c21ab"
    lane: Lane = LANE
    after: BlockId | None = None
    capture_ns: int = BEGIN_NS
    step_ns: int = 1_000_000
    published: list[Block] = field(default_factory=list)
    _seqs: dict[tuple[str, str | None], int] = field(default_factory=dict)
    _n: int = 0

    def block(self, records: int = 6, *, padding: int = 40) -> Block:
        """Return the next block: records of three feeds in turn."""
        lines = [
            self._line("orderbook", MARKETS[i % len(MARKETS)], b'{"x":"%b"}' % (b"y" * padding)) for i in range(records)
        ]
        return self._close(lines)

    def control(self, event: Event) -> Block:
        """Return a block of one control record."""
        return self._close([self._line(CONTROL_CHANNEL, None, Control(event).to_json())])

    def _line(self, channel: str, market: str | None, data: bytes) -> tuple[Feed, int, bytes]:
        feed = Feed(self.lane.source, self.lane.exchange, channel, market)
        seq = self._seqs[channel, feed.symbol] = self._seqs.get((channel, feed.symbol), 0) + 1
        self.capture_ns += self.step_ns
        line = RecordWriter(feed, self.boot).line(
            conn=1, seq=seq, capture_ns=self.capture_ns, exchange_ms=self.capture_ns // 1_000_000, data=data
        )
        return feed, seq, line

    def _close(self, lines: Sequence[tuple[Feed, int, bytes]]) -> Block:
        self._n += 1
        ranges: dict[Feed, FeedRange] = {}
        for feed, seq, _ in lines:
            known = ranges.get(feed)
            ranges[feed] = (
                replace(known, last_seq=seq, count=known.count + 1)
                if known
                else FeedRange(feed.channel, feed.symbol, seq, seq, 1)
            )
        block = Block(
            id=BlockId(self.boot, self._n),
            after=self.after,
            first_capture_ns=self.capture_ns - self.step_ns * (len(lines) - 1),
            last_capture_ns=self.capture_ns,
            feeds=tuple(ranges.values()),
            payload=b"".join(line for _, _, line in lines),
        )
        self.after = block.id
        self.published.append(block)
        return block

    async def publish(self, bus: Bus, blocks: Sequence[Block], *, epoch: int = 1) -> None:
        """Put blocks of ours into the lane's stream; stored when it returns."""
        publisher = await bus.publisher(self.lane, epoch, after=blocks[0].after, window_blocks=64)
        try:
            for block in blocks:
                await publisher.publish(block)
            assert await publisher.settle(timeout_s=60)
        finally:
            await publisher.close()


def manifests(base_dir: Path, lane: Lane = LANE, layout: Layout | None = None) -> list[Manifest]:
    """Return the manifests of all visible segments, in order of their names."""
    layout = layout or Layout()
    found = [
        Manifest.from_json(path.read_bytes())
        for path in sorted((base_dir / layout.ready_prefix(lane)).glob("*.manifest.json"))
    ]
    return [manifest for manifest in found if (base_dir / layout.segment_key(lane, manifest.file)).exists()]


def content(base_dir: Path, manifest: Manifest) -> bytes:
    """Return the NDJSON of a segment."""
    body = (base_dir / Layout().segment_key(manifest.lane, manifest.file)).read_bytes()
    return (
        zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(body)
        if manifest.compressed
        else body
    )


def audit(base_dir: Path, blocks: Sequence[Block], lane: Lane = LANE) -> list[Manifest]:
    """Assert that storage holds these blocks once, in order, under manifests that chain; return the manifests."""
    found = manifests(base_dir, lane)
    assert b"".join(content(base_dir, manifest) for manifest in found) == b"".join(block.payload for block in blocks)
    expected_first, previous, taken = 1, None, 0
    for manifest in found:
        body = content(base_dir, manifest)
        own = blocks[taken : taken + manifest.last - manifest.first + 1]
        assert (manifest.size_bytes, manifest.sha256) == (len(body), hashlib.sha256(body).hexdigest())
        assert manifest.records == body.count(b"\n") == sum(block.records for block in own)
        assert manifest.first == expected_first
        assert (manifest.first_capture_ns, manifest.last_capture_ns) == (
            own[0].first_capture_ns,
            own[-1].last_capture_ns,
        )
        assert manifest.last_block == str(own[-1].id)
        assert (manifest.previous.name if manifest.previous else None) == (previous.name if previous else None)
        assert sum(feed.count for feed in manifest.feeds) == manifest.records
        expected_first, previous, taken = manifest.last + 1, manifest, taken + len(own)
    assert taken == len(blocks)
    if found:
        assert {(last.channel, last.symbol): last.seq for last in found[-1].last_seqs} == {
            (feed.channel, feed.symbol): feed.last_seq for block in blocks for feed in block.feeds
        }
    return found
