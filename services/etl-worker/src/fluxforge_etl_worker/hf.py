"""hf rows: the state of the book at whole multiples of the interval, or at every update. Pure.

Row k stands at boundary `t_k` and exists when a valid update lies in `(t_(k-1), t_k]`: the last one there. Which
boundaries are emitted is decided by the watermarks of the stretch, not here.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fluxforge_etl_worker.columns import F64, I64, BookColumns, Instrument, Keys, Objects, Side
from fluxforge_etl_worker.features.ladder import ladders
from fluxforge_etl_worker.features.registry import Feature, streaming, structural
from fluxforge_etl_worker.features.stream_rows import StreamRows
from fluxforge_etl_worker.schemas import hf_schema
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.tables import floats, key_columns, numbers, strings


@dataclass(frozen=True, slots=True)
class Candidates:
    """Updates that are the last of their interval as far as is known, each with its boundary."""

    boundary_ns: I64
    keys: Keys
    bids: Side
    asks: Side

    def __len__(self) -> int:
        """Return the number of updates."""
        return len(self.boundary_ns)


def boundaries(capture_ns: I64, interval_ns: int) -> I64:
    """Return the first whole multiple of the interval at or after each time; the time itself when the interval is 0."""
    return -(-capture_ns // interval_ns) * interval_ns if interval_ns else capture_ns


def candidates(books: BookColumns, rows: I64, interval_ns: int) -> Candidates:
    """Return the last of the given valid updates in each interval."""
    at = boundaries(books.keys.capture_ns[rows], interval_ns)
    kept = np.flatnonzero(np.diff(at, append=-1) != 0) if interval_ns else np.arange(len(at))
    rows = rows[kept]
    return Candidates(at[kept], books.keys.take(rows), _take(books.bids, rows), _take(books.asks, rows))


def joined(parts: list[Candidates], interval_ns: int) -> Candidates:
    """Return candidates one after another; of two with one boundary the later stands."""
    if len(parts) == 1:
        return parts[0]
    boundary = np.concatenate([part.boundary_ns for part in parts])
    keys = Keys.joined([part.keys for part in parts])
    bids, asks = _join([part.bids for part in parts]), _join([part.asks for part in parts])
    whole = Candidates(boundary, keys, bids, asks)
    kept = np.flatnonzero(np.diff(boundary, append=-1) != 0)
    return whole if not interval_ns or len(kept) == len(boundary) else taken(whole, kept.astype(np.int64))


def taken(found: Candidates, rows: I64) -> Candidates:
    """Return some of the candidates."""
    return Candidates(found.boundary_ns[rows], found.keys.take(rows), _take(found.bids, rows), _take(found.asks, rows))


def hf_table(instrument: Instrument, found: Candidates, stream: StreamRows, options: EtlOptions) -> pa.Table:
    """Return the rows of these candidates with every feature; `stream` holds what came before each of them."""
    blocks = [structural(books, options.levels_max) for books in ladders(found.bids, found.asks, np.arange(len(found)))]
    streamed = streaming(stream, options.horizons_s)
    features = options.features
    schema = hf_schema(features)
    columns = [
        *key_columns(instrument, found.keys, found.boundary_ns),
        strings(stream.book.states_at(found.boundary_ns)),
    ]
    for feature in features:
        if feature.streaming:
            columns.append(_column(streamed[feature.name], feature))
        else:
            columns.append(_column(np.concatenate([block[feature.name] for block in blocks]), feature))
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: F64 | I64 | Objects, feature: Feature) -> pa.Array:
    if feature.dtype == "string":
        return strings(values.tolist())
    if feature.dtype == "float64":
        return floats(values.astype(np.float64, copy=False))
    if values.dtype != np.float64:
        return numbers(values.astype(feature.dtype))
    known = np.isfinite(values.astype(np.float64, copy=False))  # a count that may be null
    return numbers(np.where(known, values, 0).astype(feature.dtype), known)


def _take(side: Side, rows: I64) -> Side:
    counts = side.counts[rows]
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    if len(rows) == len(side.offsets) - 1:
        return side
    cells = np.repeat(side.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
    return Side(side.px[cells], side.sz[cells], offsets)


def _join(sides: list[Side]) -> Side:
    counts = np.concatenate([side.counts for side in sides])
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return Side(np.concatenate([side.px for side in sides]), np.concatenate([side.sz for side in sides]), offsets)
