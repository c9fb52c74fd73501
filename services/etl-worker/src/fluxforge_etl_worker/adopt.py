"""Adoption: segments that a person or another recorder put into `raw/ready/` get the manifest they lack."""

import hashlib
from collections.abc import Iterable, Iterator

from fluxforge.domain.errors import ObjectExistsError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout, segment_of_file
from fluxforge.domain.segment import FeedLast, FeedSeqs, Manifest, PreviousSegment
from fluxforge.ports.clock import Clock
from fluxforge.ports.store import Store
from fluxforge_etl_worker.attempts import SOFTWARE
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.read import SegmentReader
from fluxforge_etl_worker.source import segment_chunks


def adopt(raw: Store, layout: Layout, lane: Lane, file: str, before: Manifest | None, clock: Clock) -> Manifest:
    """Build and enter the manifest of a segment without one; `before` is that of the segment named before it.

    Its stream range counts lines from 1 in epoch 0. A segment that overlaps the one before has none before it, and
    knows of no feed but its own. One without records ends where the one before it did, so that the lane goes on.
    """
    segment = segment_of_file(file) or file
    key = layout.segment_key(lane, file)
    checksum, size_bytes, lines = hashlib.sha256(), 0, 0

    def observed() -> Iterator[bytes]:
        nonlocal size_bytes
        for chunk in segment_chunks(raw, key):
            checksum.update(chunk)
            size_bytes += len(chunk)
            yield chunk

    reader = SegmentReader(lane, any_order=True)
    for piece in line_slices(observed()):
        reader.read(piece)
        lines += reader.take().lines
    first_ns, last_ns = reader.first_capture_ns, reader.last_capture_ns
    if before is not None and not reader.records:
        first_ns = last_ns = before.last_capture_ns
    elif before is not None and before.last_capture_ns >= first_ns:
        before = None
    manifest = Manifest(
        name=segment,
        file=file,
        source=lane.source,
        exchange=lane.exchange,
        shard=lane.shard,
        epoch=0,
        first=1,
        last=lines,
        records=reader.records,
        size_bytes=size_bytes,
        sha256=checksum.hexdigest(),
        first_capture_ns=first_ns,
        last_capture_ns=last_ns,
        feeds=reader.feeds,
        last_seqs=_last_seqs(before, reader.feeds),
        holes=(),
        last_block=None,
        previous=PreviousSegment(before.name, before.epoch, before.last_capture_ns) if before else None,
        final=False,
        created_ns=clock.wall_ns(),
        software=SOFTWARE,
    )
    return _entered(raw, layout, manifest)


def _entered(raw: Store, layout: Layout, manifest: Manifest) -> Manifest:
    """Enter a manifest and return the one that stands: another run may have adopted the segment at the same time."""
    key = layout.manifest_key(manifest.lane, manifest.name)
    try:
        raw.create(key, manifest.to_json())
    except ObjectExistsError:
        return Manifest.from_json(raw.read(key), what=key)
    return manifest


def _last_seqs(before: Manifest | None, feeds: Iterable[FeedSeqs]) -> tuple[FeedLast, ...]:
    """Return each feed's last record in the lane so far."""
    last = {(known.channel, known.symbol): known for known in before.last_seqs} if before else {}
    for feed in feeds:
        last[feed.channel, feed.symbol] = FeedLast(feed.channel, feed.symbol, feed.boot, feed.ranges[-1][1])
    return tuple(last.values())
