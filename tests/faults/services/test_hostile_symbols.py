"""Hostile symbols, from the venue's list to Parquet: nothing leaves its path or subject, and all comes back as it was.

What cannot be stored is refused by name, and hurts no other market.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import nats
import orjson
import pytest

from fluxforge.domain.instrument import symbol_id
from fluxforge.domain.segment import Manifest
from fluxforge_simulator.venues.hostile import COLLIDING, HOSTILE, TOO_LONG
from tests.system import System, running_system, simulator

pytestmark = pytest.mark.timeout(180)

OURS = ("BTC", "ETH")
# Of two that share a symbol id, the first by name is kept.
MARKETS = {f"{base.upper()}/USDT" for base in (*HOSTILE, COLLIDING)} - {"A/B/USDT"}
LANE = "ccxt-binance-0of1"
SUBJECTS = {
    "MD_ccxt_binance_0of1_1": {"md.ccxt.binance.0of1.1"},
    "KV_lanes": {f"$KV.lanes.{LANE}"},
    "KV_leases": None,  # one key per service and lane, checked by pattern
    "SEGMENTS": None,
    "PARTS": None,
    "DEAD": set(),
}


def exchanges(port: int, **channels: Any) -> dict[str, Any]:
    return {
        "binance": {"via": f"127.0.0.1:{port}", "channels": channels, "options": {"fetchMarkets": {"types": ["spot"]}}}
    }


def beside(base: Path) -> set[Path]:
    """Return what stands around the root of the data."""
    return {*base.parent.iterdir(), *base.parent.parent.iterdir()}


async def subjects(url: str) -> dict[str, set[str]]:
    """Return the subjects that stand in each stream of the bus."""
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        found = {}
        for info in await stream.streams_info():
            state = (await stream.stream_info(info.config.name, subjects_filter=">")).state
            found[info.config.name] = set(state.subjects or {})
        return found
    finally:
        await client.close()


class Listener:
    """Remembers every subject that anybody publishes to."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    async def listen(self, url: str) -> Any:
        self._client = await nats.connect(url)

        async def hear(message: Any) -> None:
            self.heard.add(message.subject)

        await self._client.subscribe(">", cb=hear)
        await self._client.flush()

    async def close(self) -> None:
        await self._client.close()


def components(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        yield from path.relative_to(root).parts


async def test_hostile_symbols_stay_in_their_place_and_come_back_as_they_were(tmp_path: Path) -> None:
    base = tmp_path / "root" / "data"
    base.mkdir(parents=True)
    before = beside(base)
    listener = Listener()
    async with (
        simulator("--exchange", "binance", "--hostile-symbols") as (port, _),
        running_system(base, exchanges(port, watchTrades=["*"]), ingestion={"segment_max_age_seconds": 600}) as system,
    ):
        await listener.listen(system.server.url)
        segmenter, etl = await system.start("segmenter"), await system.start("etl_worker")
        collector = await system.start("collector", "--exchange", "binance")
        await system.until(lambda: captured(system) >= {symbol_id(market) for market in MARKETS})
        for process in (collector, segmenter, etl):
            await system.drain(process)
        stored = await subjects(system.server.url)
        await listener.close()
        log = system.log("collector")
    assert beside(base) == before
    check_paths(base)
    check_subjects(stored, listener.heard)
    check_round_trip(base)
    (line,) = [line for line in log.splitlines() if '"markets.left_out"' in line]
    assert f"{TOO_LONG.upper()}/USDT" in line
    assert "longer than 120 bytes when percent-encoded" in line
    assert f"it shares the symbol id 'A-B-USDT' with '{COLLIDING.upper()}/USDT'" in line
    assert "A/B/USDT" in line


@pytest.mark.parametrize(
    ("market", "said"),
    [
        (
            f"{TOO_LONG.upper()}/USDT",
            "longer than 120 bytes when percent-encoded; letters, digits, - and _ count one byte",
        )
    ],
)
async def test_a_market_that_cannot_be_stored_is_refused_by_name(tmp_path: Path, market: str, said: str) -> None:
    async with (
        simulator("--exchange", "binance", "--hostile-symbols") as (port, _),
        running_system(tmp_path, exchanges(port, watchTrades=["BTC/USDT", market])) as system,
    ):
        collector = await system.start("collector", "--exchange", "binance")
        code, _ = await system.ended(collector)
        (line,) = system.log("collector").splitlines()
    assert code == 2
    assert '"service.refused"' in line
    assert market in line
    assert said in line


def captured(system: System) -> set[str]:
    """Return the symbols of which the collector has taken trades."""
    events = [orjson.loads(line) for line in system.log("collector").splitlines()]
    feeds = [feed for event in events if event["event"] == "feed.recovered" for feed in event["feeds"]]
    return {feed.removeprefix("trades:") for feed in feeds}


def rows(base: Path, dataset: str) -> list[tuple[str, str, str]]:
    """Return (market, symbol, file name) of a dataset."""
    pattern = str(base / "processed" / "ccxt" / dataset / "**" / "*.parquet")
    if not any(base.joinpath("processed", "ccxt", dataset).rglob("*.parquet")):
        return []
    return (
        duckdb.connect()
        .execute(
            "SELECT DISTINCT market, symbol, filename FROM read_parquet(?, filename = true, hive_partitioning = false) "
            "WHERE market IS NOT NULL",
            [pattern],
        )
        .fetchall()
    )


def check_paths(base: Path) -> None:
    for path in base.rglob("*"):
        assert path.resolve().is_relative_to(base), path
        assert not path.is_symlink(), path
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.=%+")
    server = "$G"  # the directory of its one account
    odd = {name for name in components(base) if name != server and (not set(name) <= allowed or len(name) > 255)}
    assert not odd
    values = {name.partition("=")[2] for name in components(base / "processed") if name.startswith("symbol=")}
    assert {unquote(value) for value in values} >= {symbol_id(market) for market in MARKETS}
    assert not {value for value in values if "." in value or "/" in value}


def check_subjects(stored: dict[str, set[str]], heard: set[str]) -> None:
    assert stored.keys() == SUBJECTS.keys()
    for name, expected in SUBJECTS.items():
        if expected is not None:
            assert stored[name] == expected
    assert stored["KV_leases"] <= {f"$KV.leases.segmenter-{LANE}", f"$KV.leases.collector-{LANE}"}
    for name, prefix in {"SEGMENTS": "segments.sealed", "PARTS": "parts.committed"}.items():
        assert stored[name]
        assert all(subject.startswith(f"{prefix}.{LANE}.segment_") for subject in stored[name])
    known = {subject for found in stored.values() for subject in found}
    own = (
        "$JS.",
        "_INBOX.",
        "$KV.leases.",
        "$KV.lanes.",
        "status.collector.",
        "status.segmenter.",
        "status.etl-worker.",
    )
    strange = {subject for subject in heard if subject not in known and not subject.startswith(own)}
    assert not strange


def check_round_trip(base: Path) -> None:
    expected = MARKETS | {f"{ours}/USDT" for ours in OURS}
    found = rows(base, "trades")
    assert {market for market, *_ in found} >= expected
    for market, symbol, file in found:
        assert symbol == symbol_id(market)
        assert unquote(next(p for p in Path(file).parts if p.startswith("symbol=")).partition("=")[2]) == symbol
    manifests = [Manifest.from_json(path.read_bytes()) for path in base.rglob("*.manifest.json")]
    assert {feed.symbol for manifest in manifests for feed in manifest.feeds} >= {
        symbol_id(market) for market in expected
    }
