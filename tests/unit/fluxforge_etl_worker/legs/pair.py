"""Two legs made of one lane: every record reached at least one of them, and both were told what the lane was told."""

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.domain.lane import Lane
from fluxforge.ports.store import Store
from fluxforge_etl_worker.legs.hour import HOUR_NS
from fluxforge_etl_worker.legs.ledger import Delays
from fluxforge_etl_worker.legs.merge import Merger
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.work import Worker
from tests.unit.fluxforge_etl_worker.samples import LANE, OPTIONS, T0, S, as_rows, sealed, stored
from tests.unit.fluxforge_etl_worker.stories import long_story

LEG_B = Lane("ccxt", "binance", "0of1b")
HOUR = T0 // HOUR_NS * HOUR_NS
END = HOUR + HOUR_NS
LATER = END + 10 * HOUR_NS
TOLD_NS = 900 * S
AT_ONCE = Delays(told_ns=0, sealed_ns=0)
PROVENANCE = {"boot", "seq"}
Rows = list[dict[str, Any]]


@cache
def lane(records: int) -> tuple[bytes, ...]:
    """Return a lane of some minutes with holes and a restart, whose trades have ids of their own, around a full hour.

    It ends before its collector crashes, and with a record of the hour after it.
    """
    lines, number, moved_ns = [], 0, END - T0 - 40 * S
    for line in long_story(records).lines[: records * 2 // 3]:
        record = orjson.loads(line)
        record["capture_ns"] += moved_ns
        if record["channel"] == "trades":
            for trade in record["data"]:
                number += 1
                trade["id"] = trade["id"] and f"u{number}"
        elif record["channel"] == "control" and record["data"].get("from_ns"):
            record["data"]["from_ns"] += moved_ns
        if record["channel"] == "control" and record["data"].get("after"):
            record["data"]["after"]["capture_ns"] += moved_ns
        lines.append(orjson.dumps(record) + b"\n")
    last = orjson.loads(lines[-1])
    ticker = {**last, "channel": "ticker", "symbol": "SOL-USDT", "market": "SOL/USDT", "seq": 1, "data": {"last": 1.0}}
    lines.append(orjson.dumps({**ticker, "capture_ns": max(END + HOUR_NS, last["capture_ns"]) + TOLD_NS + S}) + b"\n")
    return tuple(lines)


def split(lines: Sequence[bytes], random: Random, *, lost: float) -> tuple[list[bytes], list[bytes]]:
    """Return what two legs captured of a lane: a record may be lost by one of them, and leg B has lives of its own.

    Both have the last one, which tells how far they came.
    """
    legs: tuple[list[bytes], list[bytes]] = ([], [])
    for line in lines:
        record = orjson.loads(line)
        other = orjson.dumps({**record, "boot": f"b{record['boot']}"}) + b"\n"
        is_kept = record["channel"] == "control" or line is lines[-1] or random.random() >= lost
        loses = None if is_kept else random.randrange(2)
        for leg, text in enumerate((line, other)):
            if leg != loses:
                legs[leg].append(text)
    return legs


def worked(store: Store, of: Lane, lines: Sequence[bytes], cuts: Sequence[int] = ()) -> None:
    """Seal a lane and bring it into Parquet."""
    worker = Worker(store, store, OPTIONS, ManualClock(END))
    for segment in sealed(lines, cuts, of):
        stored(store, segment.body, segment.manifest)
        worker.process(of, segment.manifest.name)


def merger(store: Store, options: EtlOptions = OPTIONS, now: int = LATER, **more: Any) -> Merger:
    return Merger(
        Worker(store, store, options, ManualClock(now)), **{"follows_journal": True, "delays": AT_ONCE, **more}
    )


def rows(store: Store, source: str, dataset: str) -> Rows:
    """Return all rows of a dataset of a source, in order."""
    keys = sorted(store.keys(f"processed/{source}/{dataset}"))
    tables = [pq.ParquetFile(pa.BufferReader(store.read(key))).read() for key in keys]
    found = as_rows(pa.concat_tables(tables)) if tables else []
    return sorted(found, key=lambda row: [row.get(name) or 0 for name in ("ts_ns", "capture_ns", "idx", "duration")])


def by_symbol(found: Rows) -> dict[str, Rows]:
    """Return rows without who captured them."""
    return {
        symbol: [
            {name: value for name, value in row.items() if name not in PROVENANCE}
            for row in found
            if row["symbol"] == symbol
        ]
        for symbol in sorted({row["symbol"] for row in found})
    }


__all__ = ["LANE"]
