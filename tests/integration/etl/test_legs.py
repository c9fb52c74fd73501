"""Two collectors of one exchange, each killed in its turn: merged, nothing is missing, and nothing stands twice."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.dataset.datasets import Datasets
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import load
from fluxforge_etl_worker.legs.hour import HOUR_NS
from fluxforge_etl_worker.legs.merge import HourOutcome, Merger
from fluxforge_etl_worker.main import merger_of
from fluxforge_simulator.options import Pace, SimulateOptions
from fluxforge_simulator.simulator import Simulator
from tests.integration.cli.command import run
from tests.system import KEEP_RAW, System, running_system

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

MARKETS = ["BTC/USDT"]
LEGS = {"0of1": Lane("ccxt", "binance", "0of1"), "0of1b": Lane("ccxt", "binance", "0of1b")}
ALONE_TRADES = 30
"""So many trades are sent while one leg is dead."""


async def test_a_dead_leg_s_hours_are_whole_in_the_merged_source(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    async with running_system(tmp_path, {}, etl=KEEP_RAW, ingestion={"segment_max_age_seconds": 2}) as system:
        async with Simulator(
            SimulateOptions(exchange="binance", ledger=ledger, pace=Pace(steps_per_s=40.0))
        ) as simulator:
            _configure(system, simulator.port)
            segmenter, worker = await system.start("segmenter"), await system.start("etl_worker")
            collectors = {shard: await _collector(system, shard) for shard in LEGS}
            for shard in LEGS:
                await system.until(lambda shard=shard: len(_boots(system, shard)) >= 1)
            for shard in reversed(LEGS):
                await system.kill(collectors[shard])
                sent = len(_sent(ledger))
                await system.until(lambda sent=sent: len(_sent(ledger)) > sent + ALONE_TRADES)
                collectors[shard] = await _collector(system, shard)
                await system.until(lambda shard=shard: len(_boots(system, shard)) >= 2)
        for collector in collectors.values():
            await system.stop(collector)
        await system.drain(segmenter)
        await system.until(system.all_placed)
        await system.drain(worker)
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        outcomes = list(_merger(system).run(last=hour))
        assert all(outcome.is_new for outcome in outcomes), outcomes
        assert [outcome.is_new for outcome in _merger(system).run(last=hour)] == [False] * len(outcomes)
        code, audited = await run("audit", "--config", system.config, cwd=tmp_path)
        assert (code, "balanced" in audited) == (0, True), audited
        assert (await run("dataset", "verify", "--config", system.config, cwd=tmp_path))[0] == 0

    rows = Datasets.at(tmp_path)
    _trades_are_those_of_the_ledger(rows, ledger)
    _books_are_those_of_both(rows)
    _no_leg_s_death_is_a_hole(rows)
    _leads_add_up(outcomes, rows)


def _trades_are_those_of_the_ledger(rows: Datasets, ledger: Path) -> None:
    found = {source: _ids(rows, source) for source in ("ccxt", "ccxt.b", "ccxt.merged")}
    assert set(found["ccxt.merged"]) == _sent(ledger)
    assert set(found["ccxt.merged"].values()) == {1}
    for leg in ("ccxt", "ccxt.b"):
        assert len(_sent(ledger) - set(found[leg])) >= ALONE_TRADES


def _books_are_those_of_both(rows: Datasets) -> None:
    said = {source: _books(rows, source) for source in ("ccxt", "ccxt.b", "ccxt.merged")}
    assert set(said["ccxt.merged"]) == set(said["ccxt"]) | set(said["ccxt.b"])
    assert said["ccxt.merged"] == said["ccxt"] | said["ccxt.b"]  # each as often as the leg that has it most often
    assert set(said["ccxt"]) - set(said["ccxt.b"])
    assert set(said["ccxt.b"]) - set(said["ccxt"])


def _no_leg_s_death_is_a_hole(rows: Datasets) -> None:
    coverage = {source: rows.scan("coverage", source=source).collect() for source in ("ccxt", "ccxt.b", "ccxt.merged")}
    crashes = {source: frame.filter(event="crash") for source, frame in coverage.items()}
    assert {source: frame.height > 0 for source, frame in crashes.items()} == {
        "ccxt": True,
        "ccxt.b": True,
        "ccxt.merged": False,
    }
    crash = crashes["ccxt"].filter(channel="orderbook")
    dead = pl.col("capture_ns").is_between(crash["from_ns"][0], crash["to_ns"][0], closed="none")
    alive = rows.scan("hf", source="ccxt.merged").filter(dead).collect()
    assert alive.height > 0
    assert set(alive["book_state"]) == {"synced"}
    assert rows.scan("hf", source="ccxt").filter(dead).collect().is_empty()


def _leads_add_up(outcomes: list[HourOutcome], rows: Datasets) -> None:
    feeds = [feed for outcome in outcomes for feed in outcome.feeds if feed.channel == "trades"]
    assert sum(feed.rows for feed in feeds) == sum(_ids(rows, "ccxt.merged").values())
    assert sum(feed.a.only for feed in feeds) >= ALONE_TRADES
    assert sum(feed.b.only for feed in feeds) >= ALONE_TRADES
    assert all(feed.rows == sum((feed.a.first, feed.a.only, feed.b.first, feed.b.only, feed.ties)) for feed in feeds)


def _configure(system: System, port: int) -> None:
    """Name the exchange, whose port was not known when the system was made; JSON is YAML, too."""
    tree = load(system.config).model_dump(mode="json")
    channels = {"watchOrderBook": MARKETS, "watchTrades": MARKETS}
    tree["ccxt"]["exchanges"] = {"binance": {"via": f"127.0.0.1:{port}", "legs": 2, "channels": channels}}
    system.config.write_bytes(orjson.dumps(tree))


async def _collector(system: System, shard: str) -> Any:
    return await system.start("collector", "--exchange", "binance", "--shard", shard)


def _merger(system: System) -> Merger:
    """Return what merges, two hours after now: the hour at hand is over, and whoever had started anew was sealed."""
    merger = merger_of(load(system.config))
    later = ManualClock(SystemClock().wall_ns() + 2 * HOUR_NS)
    return replace(merger, worker=replace(merger.worker, clock=later))


def _boots(system: System, shard: str) -> set[str]:
    """Return the lives of a leg of which trades and books are sealed."""
    feeds = [feed for one in system.manifests() if one.lane == LEGS[shard] for feed in one.feeds]
    boots = [{feed.boot for feed in feeds if feed.channel == channel} for channel in ("trades", "orderbook")]
    return boots[0] & boots[1]


def _sent(ledger: Path) -> set[str]:
    """Return the ids of all trades that any connection was sent."""
    frames = (orjson.loads(line) for line in ledger.read_bytes().splitlines())
    return {
        str(trade)
        for frame in frames
        if frame["channel"] == "trades" and frame["kind"] in {"data", "snapshot"} and frame["key"]
        for trade in frame["key"]
    }


def _ids(rows: Datasets, source: str) -> Counter[str]:
    """Return the trades as they happened: after a hole a leg fetches others, which the merged source has no need of."""
    return Counter(rows.scan("trades", source=source).collect()["trade_id"].to_list())


def _books(rows: Datasets, source: str) -> Counter[str]:
    frame = rows.scan("books", source=source).select("exchange_ms", "bid_px", "bid_sz", "ask_px", "ask_sz").collect()
    return Counter(map(repr, frame.rows()))
