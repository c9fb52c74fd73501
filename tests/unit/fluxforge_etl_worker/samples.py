"""Samples: segments made to measure, and what they become."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import Control
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import Dataset
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge.domain.segment import FeedLast, Manifest, PreviousSegment
from fluxforge.ports.store import Store
from fluxforge_etl_worker.pipeline import Forged, forge
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.work import Worker

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

    @property
    def body(self) -> bytes:
        return b"".join(self.lines)


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


def forged(body: bytes, options: EtlOptions = OPTIONS, *, chunk_bytes: int = 1 << 20, **manifest: Any) -> Forged:
    """Return what these bytes become."""
    chunks = [body[i : i + chunk_bytes] for i in range(0, len(body), chunk_bytes)]
    return forge(manifest_of(body, **manifest), options, lambda: chunks)


def table_of(result: Forged, dataset: str) -> pa.Table | None:
    """Return all rows of a dataset, part by part."""
    tables = [pq.read_table(BytesIO(part.body)) for part in result.parts if part.dataset == dataset]
    return pa.concat_tables(tables) if tables else None


def rows_of(result: Forged, dataset: str) -> list[dict[str, Any]]:
    """Return all rows of a dataset as dictionaries; `ts` becomes `ts_ns`."""
    table = table_of(result, dataset)
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
