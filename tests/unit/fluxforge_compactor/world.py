"""Partitions on a temporary directory: parts of made-up trades, a compactor, and what a reader sees at any moment."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from fluxforge.adapters import local_partitions
from fluxforge.adapters.local_partitions import LocalPartitions
from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.stored_partitions import StoredPartitions
from fluxforge.dataset.rewrite.candidates import Looker
from fluxforge.dataset.rewrite.rewriter import Rewriter
from fluxforge.domain.journal import live
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.partition import part_name
from fluxforge.ports.partitions import Partitions
from fluxforge.runtime.journals import Journals
from fluxforge.runtime.parquet import open_writer
from fluxforge_compactor.compact import Compactor, Policy
from fluxforge_compactor.plan import MergePolicy
from fluxforge_etl_worker.schemas import TRADES

LANE = Lane("ccxt", "binance", "0of1")
PARTITION = "processed/ccxt/trades/exchange=binance/symbol=BTC-USDT/date=2025-12-09"
BEGIN_NS = 1_765_288_800_000_000_000
S_NS = 1_000_000_000
GRACE_S = 600
KINDS = ("local", "stored")


def trades(first_seq: int, rows: int, *, boot: str = "b1", step_s: float = 1.0) -> pa.Table:
    """Return trades with seqs from `first_seq` on, one each `step_s`."""
    seqs = np.arange(first_seq, first_seq + rows)
    capture_ns = (BEGIN_NS + seqs * step_s * S_NS).astype(np.int64)
    columns: dict[str, pa.Array] = {
        "ts": pa.array(capture_ns // 1000, pa.timestamp("us", "UTC")),
        "capture_ns": pa.array(capture_ns),
        "seq": pa.array(seqs),
        "idx": pa.array(np.zeros(rows, np.int32)),
        "price": pa.array(60_000 + seqs * 0.5),
        "resent": pa.array(np.zeros(rows, np.bool_)),
    }
    texts = {"exchange": "binance", "symbol": "BTC-USDT", "market": "BTC/USDT", "boot": boot, "side": "buy"}
    for name in TRADES.names:
        if name in texts:
            columns[name] = pa.array([texts[name]] * rows, pa.string()).cast(TRADES.field(name).type)
        elif name not in columns:
            columns[name] = pa.nulls(rows, TRADES.field(name).type)
    return pa.table({name: columns[name] for name in TRADES.names}, schema=TRADES)


class Crash(Exception):  # noqa: N818 - not an error: the process is gone
    """The process ends here."""


@dataclass
class Points:
    """The moments before and after everything that outlives the process."""

    crash_at: int | None = None
    watch: Callable[[], None] = lambda: None
    passed: list[str] = field(default_factory=list)

    def reach(self, name: str) -> None:
        self.passed.append(name)
        self.watch()
        if len(self.passed) == self.crash_at:
            raise Crash(name)


class CrashingStore(LocalStore):
    __slots__ = ("points",)

    def __init__(self, base_dir: Path, points: Points) -> None:
        super().__init__(base_dir, sync=False)
        self.points = points

    @override
    def create(self, key: str, body: bytes) -> None:
        self.points.reach(f"before create {key}")
        super().create(key, body)
        self.points.reach(f"after create {key}")

    @override
    def adopt(self, key: str, path: Path) -> None:
        self.points.reach(f"before adopt {key}")
        super().adopt(key, path)
        self.points.reach(f"after adopt {key}")

    @override
    def delete(self, key: str) -> None:
        self.points.reach(f"before delete {key}")
        super().delete(key)
        self.points.reach(f"after delete {key}")


@dataclass
class World:
    """One output store, with or without directories that change places."""

    folder: Path
    kind: str
    expected: Counter[str] = field(default_factory=Counter)
    clock: ManualClock = field(default_factory=lambda: ManualClock(wall_ns=BEGIN_NS + 3600 * S_NS, monotonic_ns=1))

    @property
    def raw(self) -> LocalStore:
        return LocalStore(self.folder / "raw", sync=False)

    @property
    def output(self) -> LocalStore:
        return LocalStore(self.folder / "out", sync=False)

    @property
    def place(self) -> Path:
        return self.folder / "out" / PARTITION

    def put(self, number: int, table: pa.Table, *, placed: bool = True, partition: str = PARTITION) -> str:
        """Write the part of a segment as a worker does; return its name."""
        segment = f"segment_20251209T14_{number:05d}"
        path = self.folder / "part"
        self.folder.mkdir(parents=True, exist_ok=True)
        with open_writer(str(path), table.schema, "zstd") as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(
                {
                    "fluxforge.dataset": "trades",
                    "fluxforge.schema_version": "3",
                    "fluxforge.feature_version": "1",
                    "fluxforge.lane": str(LANE),
                    "fluxforge.segment": segment,
                    "fluxforge.rows": str(table.num_rows),
                }
            )
        name = part_name(LANE, segment)
        self.output.create(f".tmp/{segment}.1-ab/00001.parquet", path.read_bytes())
        self.output.move(f".tmp/{segment}.1-ab/00001.parquet", f"{partition}/{name}")
        if placed:
            self.raw.create(Layout().placed_key(LANE, segment), b"{}\n")
        self.expected.update(map(str, table.to_pylist()))
        return name

    def compactor(self, points: Points | None = None, *, grace_s: int = GRACE_S, scratch: str = "scratch") -> Compactor:
        """Return a new process' compactor; one of another machine has another scratch."""
        policy = Policy(MergePolicy(2, 1, 10**9), 900 * S_NS, grace_s * S_NS, "zstd")
        return Compactor(*self._access(points or Points(), scratch), policy, self.clock)

    def rewriter(self, points: Points | None = None, *, scratch: str = "scratch") -> Rewriter:
        """Return what rewrites partitions for a new process."""
        return Rewriter(*self._access(points or Points(), scratch), self.clock, compression="zstd", software="test")

    def _access(self, points: Points, scratch: str) -> tuple[Looker, Partitions]:
        output = CrashingStore(self.folder / "out", points)
        local = self.kind == "local"
        partitions = LocalPartitions(output) if local else StoredPartitions(output, self.folder / scratch)
        partitions.probe()
        return Looker(self.raw, output, Layout()), partitions

    def names(self) -> list[str]:
        """Return the files a reader reads: of a directory all, else those that the journal says."""
        listed = sorted(path.name for path in self.place.iterdir())
        if self.kind == "local":
            return listed
        return sorted(live(listed, Journals(self.output).entries(PARTITION)))

    def rows(self) -> Counter[str]:
        """Return what a reader reads now."""
        tables = [pq.ParquetFile(self.place / name).read() for name in self.names() if name.endswith(".parquet")]
        return Counter(str(row) for table in tables for row in table.to_pylist())

    def check(self) -> None:
        """A reader sees every row once."""
        seen = self.rows()
        assert seen == self.expected, (sum(seen.values()), sum(self.expected.values()))

    def leftovers(self) -> list[str]:
        """Return what is left beside dataset, journal and locks."""
        hidden = [*(self.folder / "out" / ".tmp").rglob("*"), *(self.folder / "scratch").rglob("*")]
        return [str(path) for path in hidden if not path.name.endswith(".lock") and path.name != "merge"]


def watched_exchange(points: Points) -> Callable[[Path, Path], bool]:
    """Return the exchange of directories with a moment before and after it."""
    real = local_partitions.exchange

    def exchange(one: Path, other: Path) -> bool:
        if "probe_" in one.name:
            return real(one, other)
        points.reach(f"before exchange {one.name}")
        done = real(one, other)
        points.reach(f"after exchange {one.name}")
        return done

    return exchange
