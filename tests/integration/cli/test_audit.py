"""The audit of what the real services made: balanced after a kill, and exact about what is taken away afterwards."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge.domain.segment import FeedSeqs, Manifest
from tests.integration.cli.command import run
from tests.system import KEEP_RAW, System, running_system, simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MARKETS = ["BTC/USD", "ETH/USD"]
SHORT = {"segment_max_age_seconds": 1}


def exchanges(port: int) -> dict[str, Any]:
    feeds = ("watchOrderBook", "watchTrades", "watchTicker")
    return {"kraken": {"via": f"127.0.0.1:{port}", "channels": dict.fromkeys(feeds, MARKETS)}}


async def audited(system: System, *arguments: object) -> tuple[int, dict[str, Any]]:
    code, output = await run("audit", "--json", "--config", system.config, *arguments, cwd=system.base)
    found: dict[str, Any] = orjson.loads(output)
    assert found["balanced"] == (code == 0), output
    return code, found


async def test_the_books_close_after_a_kill_and_name_what_is_taken_away(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.ndjson"
    async with (
        simulator("--exchange", "kraken", "--ledger", ledger) as (port, _),
        running_system(tmp_path, exchanges(port), ingestion=SHORT, etl=KEEP_RAW) as system,
    ):
        segmenter = await system.start("segmenter")
        worker = await system.start("etl_worker")
        collector = await system.start("collector", "--exchange", "kraken")
        await system.until(lambda: len(system.manifests()) >= 2)
        await system.kill(collector)
        sealed = len(system.manifests())
        collector = await system.restart(collector)
        await system.until(lambda: len(system.manifests()) >= sealed + 5)
        await system.drain(segmenter)
        await system.until(system.all_placed)
        await system.drain(collector)

        code, found = await audited(system)
        assert code == 0, found["findings"]
        (lane,) = found["lanes"]
        assert found["looked_at"] == {"bus": True, "spool": True}
        assert lane["in_flight"] > 0
        assert lane["captured"] == lane["sealed"] + lane["in_flight"]

        sealed = len(system.manifests())
        segmenter = await system.start("segmenter")
        await system.until(lambda: len(system.manifests()) > sealed)
        await system.drain(segmenter)
        await system.until(system.all_placed)
        await system.drain(worker)
        code, found = await audited(system, "--deep")
        assert code == 0, found["findings"]
        (lane,) = found["lanes"]
        assert [boot["end"] for boot in lane["boots"]] == ["crashed", "closed"]
        assert [hole["kind"] for hole in lane["holes"]] == ["crash"]
        assert lane["captured"] == lane["sealed"] == lane["in_parquet"] > 0

    code, found = await audited(system, "--ledger", ledger)
    assert code == 0, found["findings"]
    assert found["looked_at"]["bus"] is False
    assert set(found["totals"]["explained"]) <= {"crash", "started", "stopped"}
    code, text = await run("audit", "--config", system.config, cwd=tmp_path)
    assert (code, text.splitlines()[-1]) == (0, "balanced")
    assert "what is not sealed was not looked at" in text

    await take_away(system, ledger)


async def take_away(system: System, ledger: Path) -> None:
    """Take away one thing after another, of a segment far from all holes; each is named exactly."""
    manifest = system.manifests()[-4]
    books = next(feed for feed in manifest.feeds if (feed.channel, feed.symbol) == ("orderbook", "BTC-USD"))
    wanted = range_of(books)

    part = part_of(system, "orderbook/books", manifest)
    kept = part.read_bytes()
    part.unlink()
    code, found = await audited(system)
    assert code == 1
    assert {one["kind"] for one in found["findings"]} == {"part_missing", "missing"}
    assert [exact(one) for one in found["findings"] if one["kind"] == "missing"] == [wanted]
    code, found = await audited(system, "--ledger", ledger)
    sent = [one for one in found["findings"] if one["kind"] == "missing" and one["first"] is None]
    assert [(one["channel"], one["symbol"]) for one in sent] == [("orderbook", "BTC-USD")]
    part.write_bytes(kept)

    path = system.base / "raw/ready" / manifest.lane.folder / f"{manifest.name}.manifest.json"
    kept = path.read_bytes()
    path.unlink()
    code, text = await run("audit", "--config", system.config, cwd=system.base)
    assert code == 1
    assert f"missing {wanted[0]} boot {wanted[1]} orderbook BTC-USD {wanted[4]}-{wanted[5]}: " in text
    path.write_bytes(kept)

    code, found = await audited(system, "--deep")
    assert code == 0, found["findings"]


def range_of(feed: FeedSeqs) -> tuple[object, ...]:
    ((first, last),) = feed.ranges
    return "ccxt-kraken-0of1", feed.boot, feed.channel, feed.symbol, first, last


def exact(finding: dict[str, Any]) -> tuple[object, ...]:
    return tuple(finding[name] for name in ("lane", "boot", "channel", "symbol", "first", "last"))


def part_of(system: System, dataset: str, manifest: Manifest) -> Path:
    name = f"part_{manifest.lane}_{manifest.name}.parquet"
    (found,) = (system.base / "processed/ccxt" / dataset / "exchange=kraken/symbol=BTC-USD").rglob(name)
    return found
