"""Samples: segments made to measure, and what they become."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import groupby, pairwise
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.control import Control
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import Dataset
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge.domain.segment import FeedLast, Manifest, PreviousSegment, SegmentName, hour_of
from fluxforge.ports.lanes import StoredBlock
from fluxforge.ports.store import Store
from fluxforge_etl_worker.history import History
from fluxforge_etl_worker.pipeline import Forged, Neighbours, forge
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.tail import Tail as LaneTail
from fluxforge_etl_worker.tail import history_of
from fluxforge_etl_worker.work import Worker
from fluxforge_segmenter.contents import Contents, Digest, Tail

LANE = Lane("ccxt", "binance", "0of1")
T0 = 1_700_000_040_000_000_000  # a whole minute
S = 1_000_000_000
MS = 1_000_000
SEGMENT = "segment_20231114T22_00001"

OPTIONS = EtlOptions(
    layout=Layout(),
    compression="zstd",
    tolerance_ns=60 * S,
    partition_cols={},
    disabled=frozenset(),
    keep_books=True,
    hf_interval_ns=S,
    bar_durations_s=(1, 5, 30, 60),
    horizons_s=(1, 5, 30, 60),
    levels_max=10,
)


@dataclass
class Recording:
    """Lines of one lane, in the order they are added."""

    lane: Lane = LANE
    boot: str = "9f3c21ab"
    lines: list[bytes] = field(default_factory=list)
    _seqs: dict[tuple[str, str | None], int] = field(default_factory=dict)

    def add(self, channel: str, market: str | None, at: int, data: object, **more: Any) -> int:
        """Append a record; return its seq."""
        key = (channel, market)
        seq = self._seqs[key] = self._seqs.get(key, 0) + 1
        writer = RecordWriter(Feed(self.lane.source, self.lane.exchange, channel, market), self.boot)
        values: dict[str, Any] = {"conn": 1, "seq": seq, "capture_ns": at, "exchange_ms": at // MS, **more}
        self.lines.append(writer.line(data=data if isinstance(data, bytes) else orjson.dumps(data), **values))
        return seq

    def book(self, at: int, bids: object, asks: object, market: str = "BTC/USDT", **more: Any) -> int:
        data = {"symbol": market, "bids": bids, "asks": asks, "timestamp": None, "datetime": None, "nonce": 1}
        return self.add("orderbook", market, at, data, **more)

    def trades(self, at: int, *trades: Mapping[str, object], market: str = "BTC/USDT", **more: Any) -> int:
        return self.add("trades", market, at, list(trades), **more)

    def ticker(self, at: int, market: str = "BTC/USDT", **fields: object) -> int:
        return self.add("ticker", market, at, {"symbol": market, **fields})

    def control(self, at: int, control: Control) -> int:
        return self.add("control", None, at, control.to_json(), exchange_ms=None)

    def restart(self, boot: str) -> None:
        """Begin another life of the collector: its seqs count from 1."""
        self.boot = boot
        self._seqs = {}

    @property
    def body(self) -> bytes:
        return b"".join(self.lines)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records, parsed."""
        return [orjson.loads(line) for line in self.lines]


def trade(trade_id: str | None, side: str | None, price: float, amount: float, at: int = T0) -> dict[str, object]:
    return {
        "id": trade_id,
        "order": None,
        "timestamp": at // MS,
        "symbol": "BTC/USDT",
        "type": None,
        "side": side,
        "takerOrMaker": None,
        "price": price,
        "amount": amount,
        "cost": price * amount,
        "fee": None,
    }


def manifest_of(
    body: bytes,
    *,
    name: str = SEGMENT,
    lane: Lane = LANE,
    previous: PreviousSegment | None = None,
    first: int = T0,
    last: int | None = None,
    final: bool = False,
    last_seqs: Sequence[FeedLast] = (),
    file: str | None = None,
) -> Manifest:
    """Return a manifest that states size and checksum of these bytes."""
    return Manifest(
        name=name,
        file=file or f"{name}.ndjson",
        source=lane.source,
        exchange=lane.exchange,
        shard=lane.shard,
        epoch=1,
        first=1,
        last=7,
        records=body.count(b"\n"),
        size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        first_capture_ns=first,
        last_capture_ns=T0 + 3600 * S if last is None else last,
        feeds=(),
        last_seqs=tuple(last_seqs),
        holes=(),
        last_block="9f3c21ab:7",
        previous=previous,
        final=final,
        created_ns=T0,
        software="test",
    )


def forged(
    body: bytes,
    options: EtlOptions = OPTIONS,
    *,
    chunk_bytes: int = 1 << 20,
    tails: list[LaneTail] | None = None,
    **manifest: Any,
) -> Forged:
    """Return what these bytes become, the tail in `tails`; with `previous`, nothing is known of what came before."""
    chunks = [body[i : i + chunk_bytes] for i in range(0, len(body), chunk_bytes)]
    made = manifest_of(body, **manifest)

    def context() -> History:
        return history_of((), made.previous, options) if made.previous else History.of_lane_start(made.first_capture_ns)

    return forge(made, options, lambda: chunks, Neighbours(context, (tails if tails is not None else []).append))


@dataclass(frozen=True)
class Sealed:
    """A segment of a recording and its manifest."""

    manifest: Manifest
    body: bytes


def sealed(lines: Sequence[bytes], cuts: Iterable[int] = (), lane: Lane = LANE) -> list[Sealed]:
    """Return a recording as the segmenter seals it, cut before each of these lines; a block for each run of a boot."""
    found: list[Sealed] = []
    behind, seq, number = Tail(), 1, 0
    edges = [0, *sorted(set(cuts) - {0, len(lines)}), len(lines)]
    for begin, end in pairwise(edges):
        contents = Contents(behind, epoch=1, first=seq)
        for boot, run in groupby(lines[begin:end], key=lambda line: orjson.loads(line)["boot"]):
            number += 1
            block = _block(BlockId(boot, number), behind.last_block, list(run))
            contents.add(StoredBlock(seq, block))
            seq += 1
        body = b"".join(lines[begin:end])
        name = _name(found[-1].manifest if found else None, contents.first_capture_ns or 0)
        digest = Digest(len(body), hashlib.sha256(body).hexdigest())
        manifest = contents.manifest(lane, name, digest, suffix=".ndjson", created_ns=T0, software="test")
        found.append(Sealed(manifest, body))
        behind = Tail.of(manifest)
    return found


def _block(block: BlockId, after: BlockId | None, lines: Sequence[bytes]) -> Block:
    records = [orjson.loads(line) for line in lines]
    ranges: dict[tuple[str, str | None], list[int]] = {}
    for record in records:
        ranges.setdefault((record["channel"], record["symbol"]), []).append(record["seq"])
    return Block(
        id=block,
        after=after,
        first_capture_ns=records[0]["capture_ns"],
        last_capture_ns=records[-1]["capture_ns"],
        feeds=tuple(FeedRange(*feed, seqs[0], seqs[-1], len(seqs)) for feed, seqs in ranges.items()),
        payload=b"".join(lines),
    )


def _name(before: Manifest | None, first_capture_ns: int) -> SegmentName:
    if before is None:
        return SegmentName(hour_of(first_capture_ns), 1)
    last = SegmentName.parse(before.name)
    return SegmentName.next(hour=last.hour, counter=last.counter, first_capture_ns=first_capture_ns)


def table_of(result: Forged, dataset: str) -> pa.Table | None:
    """Return all rows of a dataset, part by part."""
    return _joined(part.body for part in result.parts if part.dataset == dataset)


def rows_of(result: Forged, dataset: str) -> list[dict[str, Any]]:
    """Return all rows of a dataset as dictionaries; `ts` becomes `ts_ns`."""
    return as_rows(table_of(result, dataset))


def placed_rows(store: Store, dataset: str) -> list[dict[str, Any]]:
    """Return the same of a dataset as it stands in its place."""
    return as_rows(_joined(store.read(key) for key in sorted(store.keys(f"processed/ccxt/{dataset}"))))


def _joined(bodies: Iterable[bytes]) -> pa.Table | None:
    tables = [pq.ParquetFile(BytesIO(body)).read(use_threads=False) for body in bodies]
    return pa.concat_tables(tables) if tables else None


def as_rows(table: pa.Table | None) -> list[dict[str, Any]]:
    """Return rows as dictionaries; `ts` becomes `ts_ns`."""
    if table is None:
        return []
    ns = [value * 1000 for value in table["ts"].cast(pa.int64()).to_pylist()]
    rows = table.drop_columns(["ts"]).to_pylist()
    return [{"ts_ns": at, **row} for at, row in zip(ns, rows, strict=True)]


def stored(store: Store, body: bytes, manifest: Manifest | None = None, layout: Layout | None = None) -> Manifest:
    """Put a sealed segment into a store."""
    manifest = manifest or manifest_of(body)
    layout = layout or Layout()
    store.create(layout.manifest_key(manifest.lane, manifest.name), manifest.to_json())
    store.create(layout.segment_key(manifest.lane, manifest.file), body)
    return manifest


def worker_on(raw: Store, output: Store | None = None, options: EtlOptions = OPTIONS) -> Worker:
    return Worker(raw, output or raw, options, ManualClock(T0))


def dataset_rows(store: MemoryStore, dataset: str) -> list[dict[str, Any]]:
    """Return all rows of a dataset as it stands in its place."""
    found: list[dict[str, Any]] = []
    for key in store.keys(f"processed/ccxt/{dataset}"):
        found += pq.read_table(BytesIO(store.read(key))).to_pylist()
    return found


def options(**changes: Any) -> EtlOptions:
    return replace(OPTIONS, **changes)


def levels(*pairs: Iterable[float]) -> list[list[float]]:
    return [list(pair) for pair in pairs]


BIDS = levels((100.0, 2.0), (99.0, 3.0), (98.0, 5.0))
ASKS = levels((101.0, 1.0), (102.0, 4.0))

__all__ = ["Dataset"]
