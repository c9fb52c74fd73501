"""The ccxt collector killed again and again while exchanges send: what they sent is in Parquet, or a hole names it."""

import asyncio
import random
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from tests.faults.mode import Runs
from tests.faults.nemesis import kill_service
from tests.faults.oracle import audit
from tests.faults.plant import running_plant
from tests.faults.table import FaultTable
from tests.integration.collector.rig import all_channels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

VENUES = ("binance", "coinbase", "kraken")


@dataclass(slots=True)
class Delivery:
    """Trades of all feeds. `unnamed`: missing, but not the end of a connection with a hole of the feed behind it."""

    sent: int = 0
    lost: int = 0
    unnamed: int = 0
    repeated_rows: int = 0
    gaps: int = 0


async def test_killed_under_load_it_loses_only_what_the_next_life_names(
    tmp_path: Path, runs: Runs, table: FaultTable, seed: int
) -> None:
    venues = VENUES[: runs(bounded=1, full=len(VENUES))]
    kills = runs(bounded=2, full=100)
    async with AsyncExitStack() as stack:
        ports = {
            venue: await stack.enter_async_context(exchange(venue, tmp_path / f"{venue}.ledger")) for venue in venues
        }
        exchanges = {
            venue: {"via": f"127.0.0.1:{port}", "channels": all_channels(venue, "BTC", "ETH")}
            for venue, port in ports.items()
        }
        async with running_plant(tmp_path / "plant", exchanges) as plant:
            plant.is_supervised = True
            collectors = [
                plant.service("fluxforge_collector", "--exchange", venue, name=f"collector-{venue}") for venue in venues
            ]
            for service in (plant.segmenter(), plant.etl(), *collectors):
                await service.start()
            async with asyncio.TaskGroup() as tasks:
                tolls = [
                    tasks.create_task(kill_service(collector, kills, random.Random(f"{seed}-{collector.name}")))
                    for collector in collectors
                ]
            await plant.drain()
            assert plant.crashes() == []
            await stack.aclose()  # ledgers are whole once their exchanges have ended
            report = await audit(plant)
            delivery = Delivery()
            for venue in venues:
                settle(delivery, tmp_path / "plant" / "processed" / "ccxt", venue, tmp_path / f"{venue}.ledger")
    table.add(
        fault=f"ccxt collector SIGKILL under load ({sum(t.result().after_ready for t in tolls)} once it was ready)",
        runs=sum(task.result().kills for task in tolls),
        lost=delivery.lost,
        duplicated=delivery.repeated_rows,
        unexplained=delivery.unnamed + delivery.gaps,
        recoveries_s=[recovery for task in tolls for recovery in task.result().recoveries_s],
    )
    assert delivery.sent > 0
    assert (delivery.unnamed, delivery.repeated_rows, delivery.gaps) == (0, 0, 0), delivery
    assert report["balanced"], report["findings"][:20]


@asynccontextmanager
async def exchange(venue: str, ledger: Path) -> AsyncIterator[int]:
    """Run the simulator of one venue; yield its port. It is ended in order, so that its ledger is whole."""
    process: Process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fluxforge_simulator", "--exchange", venue, "--ledger", str(ledger)),
        stdin=DEVNULL,
        stdout=PIPE,
    )
    assert process.stdout is not None
    try:
        yield orjson.loads(await process.stdout.readline())["port"]
    finally:
        process.terminate()
        await process.communicate()


def settle(delivery: Delivery, root: Path, venue: str, ledger: Path) -> None:
    """Add what one venue sent, and what became of it."""
    database = duckdb.connect()
    captured_ns = {
        (symbol, trade_id): capture_ns
        for symbol, trade_id, capture_ns in database.execute(
            "SELECT symbol, trade_id, min(capture_ns) FROM "
            f"read_parquet('{root}/trades/**/*.parquet', hive_partitioning=false) "
            f"WHERE exchange = '{venue}' GROUP BY ALL"
        ).fetchall()
    }
    holes = _holes(database, root, venue)
    connections = _sent_trades(ledger)
    begins = {
        symbol: sorted(sent[0][1] for key, sent in connections.items() if key[1] == symbol) for _, symbol in connections
    }
    for (_, symbol), sent in connections.items():
        found_ns = [captured_ns.get((symbol, trade_id)) for trade_id, _ in sent]
        missing = [at_ns is None for at_ns in found_ns]
        delivery.sent += len(sent)
        delivery.lost += sum(missing)
        if not any(missing):
            continue
        # What was not read when its process was killed is the end of what its connection brought, and the hole lies
        # between that and the next connection. When it was sent says less: it may have waited in the socket. Some of it
        # may be there all the same, captured later: the next connection begins with the venue's last trades.
        first = missing.index(True)
        next_ns = next((begin for begin in begins[symbol] if begin > sent[0][1]), None)
        is_named = any(
            (next_ns is None or begin <= next_ns)
            and (end is None or end >= sent[first][1])
            and all(at_ns is None or at_ns > begin for at_ns in found_ns[first:])
            for begin, end in holes[symbol]
        )
        delivery.unnamed += 0 if is_named else sum(missing)
    for dataset, key in (("trades", "seq, idx"), ("ticker", "seq"), ("orderbook/books", "seq")):
        rows, keys, gaps = database.execute(
            f"WITH rows AS (SELECT boot, symbol, {key} FROM "
            f"read_parquet('{root}/{dataset}/**/*.parquet', hive_partitioning=false) WHERE exchange = '{venue}'), "
            "feeds AS (SELECT max(seq) - count(DISTINCT seq) AS gap FROM rows GROUP BY boot, symbol) "
            "SELECT (SELECT count(*) FROM rows), (SELECT count(*) FROM (SELECT DISTINCT * FROM rows)), "
            "(SELECT sum(gap) FROM feeds)"
        ).fetchone()  # type: ignore[misc] - an aggregate has a row
        delivery.repeated_rows += rows - keys
        delivery.gaps += int(gaps)


def _holes(database: duckdb.DuckDBPyConnection, root: Path, venue: str) -> dict[str, list[tuple[int, int | None]]]:
    found: dict[str, list[Any]] = defaultdict(list)
    rows = database.execute(
        "SELECT symbol, from_ns, to_ns FROM "
        f"read_parquet('{root}/coverage/**/*.parquet', hive_partitioning=false) "
        f"WHERE exchange = '{venue}' AND channel = 'trades' AND event IN ('crash', 'stopped')"
    ).fetchall()
    for symbol, *hole in rows:
        found[symbol].append(tuple(hole))
    return found


def _sent_trades(ledger: Path) -> dict[tuple[int, str], list[tuple[str, int]]]:
    """Return (connection, symbol) -> trade ids and when they were sent, in order."""
    sent: dict[tuple[int, str], list[tuple[str, int]]] = defaultdict(list)
    for line in ledger.read_bytes().splitlines():
        frame = orjson.loads(line)
        if frame["kind"] == "data" and frame["channel"] == "trades":
            trades = [(str(trade_id), frame["sent_ns"]) for trade_id in frame["key"]]
            sent[frame["conn"], frame["symbol"].replace("/", "-")] += trades
    return sent
