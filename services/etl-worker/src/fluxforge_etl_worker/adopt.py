"""Adoption: segments that a person or another recorder put into `raw/ready/` get the manifest they lack."""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from fluxforge.domain.errors import NameRefusedError, ObjectExistsError
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout, segment_of_file
from fluxforge.domain.segment import FeedLast, Manifest, PreviousSegment
from fluxforge.ports.clock import Clock
from fluxforge.ports.store import Store
from fluxforge_etl_worker.lines import line_slices
from fluxforge_etl_worker.read import SegmentReader
from fluxforge_etl_worker.source import segment_chunks
from fluxforge_etl_worker.work import SOFTWARE

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,120}")


def segments_by_lane(raw: Store, layout: Layout) -> dict[Lane, dict[str, str]]:
    """Return the segments that stand in `raw/ready/`: for each lane the file of each segment, in name order.

    Raises:
        NameRefusedError: A folder is no lane's, or a file's name may not stand in a part's name.
    """
    found: dict[Lane, dict[str, str]] = {}
    prefix = layout.ready_prefix()
    for key in raw.keys(prefix):
        folder, _, file = key[len(prefix) + 1 :].rpartition("/")
        segment = segment_of_file(file)
        if segment is None:
            continue
        if not _NAME.fullmatch(segment):
            raise NameRefusedError("segment", segment, "letters, digits, '_', '-' and '.' only")
        found.setdefault(_lane_of_folder(folder), {})[segment] = file
    return {lane: dict(sorted(found[lane].items())) for lane in sorted(found)}


def adopt(raw: Store, layout: Layout, lane: Lane, file: str, before: Manifest | None, clock: Clock) -> Manifest:
    """Build and enter the manifest of a segment without one; `before` is that of the segment named before it.

    Its stream range counts lines from 1 in epoch 0. A segment that overlaps the one before has none before it.
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
    follows = before is not None and before.last_capture_ns < reader.first_capture_ns
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
        first_capture_ns=reader.first_capture_ns,
        last_capture_ns=reader.last_capture_ns,
        feeds=reader.feeds,
        last_seqs=tuple(FeedLast(f.channel, f.symbol, f.boot, f.ranges[-1][1]) for f in reader.feeds),
        holes=(),
        last_block=None,
        previous=PreviousSegment(before.name, before.epoch, before.last_capture_ns) if before and follows else None,
        final=False,
        created_ns=clock.wall_ns(),
        software=SOFTWARE,
    )
    try:
        raw.create(layout.manifest_key(lane, segment), manifest.to_json())
    except ObjectExistsError:  # another run adopted it at the same time
        return Manifest.from_json(raw.read(layout.manifest_key(lane, segment)))
    return manifest


def _lane_of_folder(folder: str) -> Lane:
    source, _, rest = folder.partition("/")
    exchange, dash, shard = rest.partition("-")
    if not dash:
        raise NameRefusedError("folder", folder, "expected <source>/<exchange>-<shard>, such as ccxt/binance-0of1")
    return Lane(source, exchange, shard)
