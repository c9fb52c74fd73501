"""The judge: what a source made up, against what stands in Parquet and what is named as missing.

It reads the Parquet files and the sources' own counts and nothing else: neither manifests nor commits. `audit` asks
the product's own audit the same question.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import orjson

from tests.faults.load import Produced, produced
from tests.faults.plant import Plant

Life = tuple[str, str, str, str]
"""(exchange, boot, channel, symbol)."""

# Per dataset: the row's own number as its source wrote it, and rows that one record has.
_NUMBERS = {
    "ticker": ("ticker", "CAST(last AS BIGINT)", 1),
    "trades": ("trades", "abs(CAST(trade_id AS BIGINT))", 2),
    "orderbook": ("orderbook/books", "CAST(bid_px[1] AS BIGINT) - 1", 1),
    "bulk": ("bulk", "CAST(n AS BIGINT)", 1),
}


@dataclass(frozen=True, slots=True)
class Hole:
    """A coverage row: what of a feed is missing, by time and, where it is known, by number."""

    event: str
    from_ns: int
    to_ns: int | None
    first_seq: int | None
    last_seq: int | None

    def names(self, seq: int, from_ns: int, to_ns: int) -> bool:
        """Whether it names a record captured in `from_ns..to_ns`."""
        if self.first_seq is not None and self.last_seq is not None:
            return self.first_seq <= seq <= self.last_seq
        return self.from_ns <= from_ns and (self.to_ns is None or to_ns <= self.to_ns)


@dataclass(slots=True)
class Verdict:
    """The account of a run. `lost`: made up and not in Parquet; `unexplained`: those of them that nothing names."""

    made: int = 0
    stored: int = 0
    lost: int = 0
    duplicated: int = 0
    unexplained: int = 0
    disordered: int = 0
    misnumbered: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing, twice, out of order, or another record than it says."""
        return not (self.lost or self.duplicated or self.disordered or self.misnumbered)

    @property
    def is_explained(self) -> bool:
        """Whether everything that is missing is named, and nothing else is wrong."""
        return not (self.unexplained or self.duplicated or self.disordered or self.misnumbered)


def judge(plant: Plant, *exchanges: str) -> Verdict:
    """Compare what the numbered collectors of a plant, or those of some exchanges, made up with its datasets."""
    names = exchanges or tuple(lane.exchange for lane in plant.lanes)
    made = {(name, *key): count for name in names for key, count in produced(plant.produced_dir / name).items()}
    return judged(plant.base / "processed" / "ccxt", made, names)


def judged(root: Path, made: dict[Life, Produced], exchanges: tuple[str, ...]) -> Verdict:
    """Compare what was made up with the datasets below a root."""
    database = duckdb.connect()
    verdict = Verdict(made=sum(count.seq for count in made.values()))
    stored: dict[Life, list[tuple[int, int]]] = defaultdict(list)
    for channel, (dataset, number, rows) in _NUMBERS.items():
        for exchange, symbol, boot, seq, found, capture_ns, misnumbered in _rows(database, root / dataset, number):
            if exchange in exchanges:
                life = (exchange, boot, channel, symbol)
                stored[life].append((seq, capture_ns))
                _count(verdict, f"{life} seq {seq}", found - rows, misnumbered)
    holes = _holes(database, root)
    for life in sorted({*made, *stored}):
        exchange, boot, channel, symbol = life
        seqs = [max(found)[0] for other, found in stored.items() if found and other[:2] == (exchange, boot)]
        _account(verdict, life, made.get(life), stored[life], holes[exchange, channel, symbol], max(seqs, default=0))
    return verdict


def _count(verdict: Verdict, what: str, surplus: int, misnumbered: int) -> None:
    verdict.stored += 1
    verdict.duplicated += max(0, surplus)
    verdict.lost += surplus < 0
    verdict.unexplained += surplus < 0
    verdict.misnumbered += misnumbered
    if surplus or misnumbered:
        verdict.details.append(f"{what}: {surplus:+} rows, {misnumbered} of another number")


def _rows(database: duckdb.DuckDBPyConnection, root: Path, number: str) -> Iterator[Any]:
    if not any(root.rglob("*.parquet")):
        return
    yield from database.execute(
        f"SELECT exchange, symbol, boot, seq, count(*), min(capture_ns), count(*) FILTER ({number} <> seq) "
        f"FROM read_parquet('{root}/**/*.parquet', hive_partitioning = false) GROUP BY ALL ORDER BY ALL"
    ).fetchall()


def _account(
    verdict: Verdict,
    life: Life,
    made: Produced | None,
    stored: list[tuple[int, int]],
    holes: list[Hole],
    newest_seq: int,
) -> None:
    begin_ns, last_seq = 0, 0
    for seq, capture_ns in sorted(stored):
        verdict.disordered += capture_ns <= begin_ns
        _missing(verdict, life, range(last_seq + 1, seq), (begin_ns, capture_ns), holes)
        begin_ns, last_seq = capture_ns, seq
    if made is None:
        return
    # The feeds take turns, so a feed that ends no more than a turn before the others lacks only what came after the
    # lane's last stored record, which is where the hole of a crash begins.
    is_tail = last_seq >= newest_seq - 1
    _missing(verdict, life, range(last_seq + 1, made.seq + 1), (made.at_ns if is_tail else begin_ns, made.at_ns), holes)


def _missing(verdict: Verdict, life: Life, seqs: range, between_ns: tuple[int, int], holes: list[Hole]) -> None:
    unnamed = [seq for seq in seqs if not any(hole.names(seq, *between_ns) for hole in holes)]
    verdict.lost += len(seqs)
    verdict.unexplained += len(unnamed)
    if unnamed:
        verdict.details.append(f"{life}: {len(unnamed)} of {seqs} between {between_ns} are not named: {holes[:5]}")


def _holes(database: duckdb.DuckDBPyConnection, root: Path) -> dict[tuple[str, str, str], list[Hole]]:
    found: dict[tuple[str, str, str], list[Hole]] = defaultdict(list)
    if not any((root / "coverage").rglob("*.parquet")):
        return found
    query = (
        "SELECT exchange, channel, symbol, event, from_ns, to_ns, first_seq, last_seq FROM "
        f"read_parquet('{root}/coverage/**/*.parquet', hive_partitioning = false) "
        "WHERE event IN ('crash', 'dropped', 'lost', 'rejected')"
    )
    for exchange, channel, symbol, *rest in database.execute(query).fetchall():
        found[exchange, channel, symbol].append(Hole(*rest))
    return found


async def audit(plant: Plant, *arguments: str) -> dict[str, Any]:
    """Return what `fluxforge audit --json` says of a plant that is at rest."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fluxforge_cli", "audit", "--json", "--config", str(plant.config), *arguments),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode in {0, 1}, err.decode()
    report: dict[str, Any] = orjson.loads(out)
    assert report["balanced"] == (process.returncode == 0), report["findings"]
    return report


async def drained(plant: Plant) -> None:
    """Let everything become Parquet and demand that no service crashed and that the product's audit balances."""
    await plant.drain()
    crashes = plant.crashes()
    assert not crashes, crashes[:20]
    report = await audit(plant)
    assert report["balanced"], report["findings"][:20]
