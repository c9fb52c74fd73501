"""The audit of a lane of many segments: `python -m benchmarks.audit [SEGMENTS]`, ten parts each; prints seconds.

The store is made by hand in a temporary directory: true manifests, commits and Parquet files, few rows in each.
"""

import hashlib
import io
import resource
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.lane import Lane
from fluxforge.domain.partition import dataset_root, part_name, partition_path
from fluxforge.domain.segment import FeedLast, FeedSeqs, Manifest, PreviousSegment, SegmentName
from fluxforge.runtime.settings import Settings, StoreLocation
from fluxforge_cli.account.audit.close import close
from fluxforge_cli.account.audit.take import take

LANE = Lane("ccxt", "binance", "0of1")
SYMBOLS = ("BTC-USDT", "ETH-USDT")
CHANNELS = {"ticker": "ticker", "trades": "trades", "orderbook": "orderbook/books"}
ROWS = 100
FEATURES = 125
BEGIN_NS = 1_795_000_000_000_000_000


def main(segments: int) -> int:
    """Make the store, audit it, print what it cost; return 1 if the books do not close."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        parts = _make(base, segments)
        here = StoreLocation(base_dir=base)
        stores = {"ingestion_storage": here, "etl_storage_input": here, "etl_storage_output": here}
        settings = Settings()
        storage = settings.storage.model_copy(update={"scratch_dir": base, **stores})
        begun, used = time.perf_counter(), time.process_time()
        audit = close(take(settings.model_copy(update={"storage": storage})))
        wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - used
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(f"{segments} segments, {parts} parts: {wall_s:.1f} s, {cpu_s:.1f} s of CPU, peak {peak_mb} MB")
    print("balanced" if audit.balanced else f"{len(audit.findings)} findings, the first {audit.findings[0]}")
    return 0 if audit.balanced else 1


def _make(base: Path, segments: int) -> int:
    features = pa.table({f"f{n}": [float(n)] * ROWS for n in range(FEATURES)})
    derived, parts, previous = _body(features), 0, None
    for number in range(segments):
        manifest = _manifest(number, previous)
        previous = PreviousSegment(manifest.name, manifest.epoch, manifest.last_capture_ns)
        made = [
            _part(base, manifest, dataset, symbol, _body(_rows(symbol, number)))
            for dataset in CHANNELS.values()
            for symbol in SYMBOLS
        ]
        made += [
            _part(base, manifest, name, at, derived) for name in ("orderbook/hf", "orderbook/bars") for at in SYMBOLS
        ]
        commit = CommitRecord(
            str(LANE),
            manifest.name,
            manifest.identity,
            1,
            tuple(made),
            manifest.records,
            0,
            manifest.feeds,
            3,
            1,
            "",
            1,
        )
        _write(base / f"commits/{LANE}/{manifest.name}.json", commit.to_json())
        _write(base / f"commits/{LANE}/{manifest.name}.placed", b"{}\n")
        _write(base / f"raw/ready/{LANE.folder}/{manifest.name}.manifest.json", manifest.to_json())
        parts += len(made)
    return parts


def _manifest(number: int, previous: PreviousSegment | None) -> Manifest:
    first, last = number * ROWS + 1, (number + 1) * ROWS
    feeds = [(channel, symbol) for channel in CHANNELS for symbol in SYMBOLS]
    begin_ns = BEGIN_NS + number * 1_000_000
    return Manifest(
        name=(name := str(SegmentName("20261118T12", number + 1))),
        file=f"{name}.ndjson",
        source=LANE.source,
        exchange=LANE.exchange,
        shard=LANE.shard,
        epoch=1,
        first=number + 1,
        last=number + 1,
        records=ROWS * len(feeds),
        size_bytes=1,
        sha256="00",
        first_capture_ns=begin_ns + 1,
        last_capture_ns=begin_ns + 999_999,
        feeds=tuple(FeedSeqs(channel, symbol, "b1", ((first, last),), ROWS) for channel, symbol in feeds),
        last_seqs=tuple(FeedLast(channel, symbol, "b1", last) for channel, symbol in feeds),
        holes=(),
        last_block="b1:1",
        previous=previous,
        final=False,
        created_ns=1,
        software="",
    )


def _rows(symbol: str, number: int) -> pa.Table:
    names = pa.array([symbol] * ROWS).dictionary_encode()
    seqs = pa.array(range(number * ROWS + 1, (number + 1) * ROWS + 1), pa.int64())
    idx = pa.array([0] * ROWS, pa.int32())
    prices = {f"p{n}": [float(n)] * ROWS for n in range(8)}
    return pa.table({"symbol": names, "boot": ["b1"] * ROWS, "seq": seqs, "idx": idx, **prices})


def _body(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _part(base: Path, manifest: Manifest, dataset: str, symbol: str, body: bytes) -> Part:
    place = partition_path(
        ("exchange", "symbol", "date"), {"exchange": LANE.exchange, "symbol": symbol, "date": "2026-11-18"}
    )
    key = f"{dataset_root('processed', LANE.source, dataset)}/{place}/{part_name(LANE, manifest.name)}"
    _write(base / key, body)
    return Part(dataset, "", key, ROWS, len(body), hashlib.sha256(body).hexdigest())


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
