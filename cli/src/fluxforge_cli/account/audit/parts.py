"""Parts: what the Parquet files hold of each feed, read from their footers and key columns alone, batch by batch."""

import hashlib
import io
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.domain.errors import ObjectNotFoundError
from fluxforge.domain.partition import Dataset
from fluxforge.ports.store import Store
from fluxforge.runtime.stored_file import StoredFile
from fluxforge_cli.account.audit.books import PartLook, Said
from fluxforge_cli.account.audit.findings import FeedId
from fluxforge_cli.account.audit.ranges import Ranges, repeated, union
from fluxforge_cli.account.audit.said import COVERAGE_COLUMNS, LOST_COLUMNS, said_in_rows

_I64 = npt.NDArray[np.int64]
_BATCH_ROWS: Final = 262_144
_BODY_BYTES_MAX: Final = 4 * 2**20
_BUFFER_BYTES: Final = 2**20
_ROW_PER_RECORD: Final = frozenset({Dataset.TICKER.value, Dataset.BOOKS.value})
"""Datasets without `idx`."""
_DERIVED: Final = frozenset({Dataset.HF.value, Dataset.BARS.value, Dataset.COVERAGE.value})


def channel_of(dataset: str) -> str | None:
    """Return the channel whose records a dataset holds one by one; None where its rows are made of them."""
    if dataset in _DERIVED:
        return None
    return "orderbook" if dataset == Dataset.BOOKS else dataset


def look(store: Store, key: str, dataset: str, *, deep: bool = False) -> PartLook:
    """Return what stands in a part's place; `deep`: with the checksum of the whole file."""
    size_bytes = store.size(key)
    if size_bytes is None:
        return PartLook(None)
    channel = channel_of(dataset)
    try:
        # Of a small file the columns are read one by one in twice the time of all its bytes.
        whole = size_bytes <= _BODY_BYTES_MAX
        source = io.BytesIO(store.read(key)) if whole else io.BufferedReader(StoredFile(store, key), _BUFFER_BYTES)
        sha256 = hashlib.file_digest(source, "sha256").hexdigest() if deep else None
        with pq.ParquetFile(source, read_dictionary=["boot", "symbol"] if channel else None) as file:
            rows: int = file.metadata.num_rows
            if dataset == Dataset.COVERAGE:
                said, names = _said(file)
                return PartLook(size_bytes, rows, said=said, names_seqs=names, sha256=sha256)
            seqs, doubled = _seqs(file, channel, has_idx=dataset not in _ROW_PER_RECORD) if channel else ({}, {})
            return PartLook(size_bytes, rows, seqs, doubled, sha256=sha256)
    except ObjectNotFoundError:
        return PartLook(None)
    except (OSError, pa.ArrowException, BufferError, KeyError, ValueError) as error:
        return PartLook(size_bytes, trouble=f"{type(error).__name__}: {error}".splitlines()[0][:200])


def _said(file: pq.ParquetFile) -> tuple[tuple[Said, ...], bool]:
    standing = file.schema_arrow.names
    names = all(name in standing for name in LOST_COLUMNS)
    columns = [*COVERAGE_COLUMNS, *(LOST_COLUMNS if names else ())]
    rows = file.read(columns=columns, use_threads=False).to_pylist()
    return tuple(said_in_rows(rows)), names


class _Gathered:
    """The ranges of one feed and boot, as the rows of a file come."""

    __slots__ = ("doubled", "last", "ranges")

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.doubled: list[tuple[int, int]] = []
        self.last = (0, -1)

    def add(self, seqs: _I64, idx: _I64 | None) -> None:
        """Add rows; the rows of one record stand together and their `idx` rises."""
        position = np.zeros_like(seqs) if idx is None else idx
        if np.any(np.diff(seqs) < 0):
            order = np.lexsort((position, seqs))
            seqs, position = seqs[order], position[order]
        again = np.flatnonzero((np.diff(seqs) == 0) & (np.diff(position) <= 0)) + 1
        self.doubled += [(seq, seq) for seq in seqs[again].tolist()]
        if seqs[0] == self.last[0]:
            if position[0] <= self.last[1]:
                self.doubled.append((self.last[0], self.last[0]))
            self.last = (int(seqs[-1]), int(position[-1]))
            first, ranges = self.ranges.pop()[0], _runs(seqs)
            ranges[0] = (first, ranges[0][1])
        else:
            self.last = (int(seqs[-1]), int(position[-1]))
            ranges = _runs(seqs)
        self.ranges += ranges


def _runs(seqs: _I64) -> list[tuple[int, int]]:
    breaks = np.flatnonzero(np.diff(seqs) > 1)
    return list(zip(seqs[np.r_[0, breaks + 1]].tolist(), seqs[np.r_[breaks, len(seqs) - 1]].tolist(), strict=True))


def _seqs(file: pq.ParquetFile, channel: str, *, has_idx: bool) -> tuple[dict[FeedId, Ranges], dict[FeedId, Ranges]]:
    columns = ["boot", "symbol", "seq", *(["idx"] if has_idx else [])]
    gathered: dict[FeedId, _Gathered] = {}
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
        if not batch.num_rows:
            continue
        boots, boot_names = _codes(batch.column("boot"))
        symbols, symbol_names = _codes(batch.column("symbol"))
        seqs = np.from_dlpack(batch.column("seq")).astype(np.int64, copy=False)
        idx = np.from_dlpack(batch.column("idx")).astype(np.int64) if has_idx else None
        code = boots * len(symbol_names) + symbols
        is_one = len(boot_names) * len(symbol_names) == 1
        for one in [0] if is_one else np.unique(code).tolist():
            rows = slice(None) if is_one else np.flatnonzero(code == one)
            feed = FeedId(boot_names[one // len(symbol_names)], channel, symbol_names[one % len(symbol_names)])
            gathered.setdefault(feed, _Gathered()).add(seqs[rows], None if idx is None else idx[rows])
    return _united(gathered)


def _united(gathered: Mapping[FeedId, _Gathered]) -> tuple[dict[FeedId, Ranges], dict[FeedId, Ranges]]:
    seqs = {feed: union(one.ranges) for feed, one in gathered.items()}
    doubled = {feed: union(repeated(one.ranges), one.doubled) for feed, one in gathered.items()}
    return seqs, {feed: ranges for feed, ranges in doubled.items() if ranges}


def _codes(column: pa.DictionaryArray) -> tuple[_I64, list[str]]:
    return np.from_dlpack(column.indices).astype(np.int64), column.dictionary.to_pylist()
