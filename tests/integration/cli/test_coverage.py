"""`fluxforge coverage` as a person runs it."""

from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3
from fluxforge.adapters.s3 import S3Store
from fluxforge.domain.control import Event, FeedKey
from tests.integration.cli.command import run
from tests.unit.fluxforge_cli.account.audit.world import BEGIN_NS, SYMBOL, World, books, control, tickers, trades

MS = 1_000_000
FEEDS = tuple(FeedKey(channel, SYMBOL) for channel in ("orderbook", "ticker", "trades"))
START_NS = BEGIN_NS + 100 * MS
HOLE_NS = START_NS + 333 * MS, START_NS + 654 * MS


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return three feeds of a second and a half, of which the book misses 321 ms."""
    world = World(tmp_path)
    book = FEEDS[0]
    recovered = [
        control(2 + n, Event.RECOVERED, hole="b1:1", scope=feed, from_ns=START_NS, to_ns=START_NS + (n + 1) * 100 * MS)
        for n, feed in enumerate(FEEDS)
    ]
    hole = {"hole": "b1:2", "scope": book, "from_ns": HOLE_NS[0]}
    world.seal(
        control(1, Event.STARTED, hole="b1:1", feeds=FEEDS, from_ns=START_NS),
        recovered,
        control(5, Event.GAP, **hole),
        control(6, Event.GAP, **hole, repeat=True),
        control(7, Event.RESYNCED, **hole, to_ns=HOLE_NS[1]),
        books(1, 3),
        trades(1, 2),
        tickers(1, 2),
        control(8, Event.STOPPED, feeds=FEEDS),
    )
    world.forge()
    return world


async def said(world: World, *arguments: object) -> tuple[int, str]:
    return await run("coverage", *arguments, "--data", world.base, cwd=world.base)


async def test_a_hole_is_told_to_the_millisecond_and_drawn(world: World) -> None:
    picture = world.base / "coverage.svg"
    code, output = await said(world, "--symbol", "BTC/USDT", "--date", "2026-11-18", "--picture", picture)
    assert code == 0, output
    heads, book, ticker, *_ = output.splitlines()
    assert heads.split()[:5] == ["feed", "observed", "s", "covered", "%"]
    assert book.split()[3:] == [
        *("orderbook", "1.400", "69.928", "69.928", "0.000", "2", "0.321", "2026-11-18", "11:06:40.433"),
    ]
    assert ticker.split()[3:8] == ["ticker", "1.400", "85.714", "0.000", "85.714"]
    assert "coverage.svg: 3 feeds" in output
    words = [element.text or "" for element in ET.parse(picture).iter()]
    for feed in FEEDS:
        assert f"binance {SYMBOL} {feed.channel}" in words
    assert any("gap, 2026-11-18 11:06:40.433 to 2026-11-18 11:06:40.754 UTC (0.321 s)" in word for word in words)


async def test_a_program_is_told_the_bounds(world: World) -> None:
    code, output = await said(world, "--json", "--exchange", "binance")
    assert code == 0, output
    feeds = {feed["channel"]: feed for feed in orjson.loads(output)["feeds"]}
    assert feeds["orderbook"]["holes"] == [
        {"from_ns": START_NS, "to_ns": START_NS + 100 * MS, "event": "started"},
        {"from_ns": HOLE_NS[0], "to_ns": HOLE_NS[1], "event": "gap"},
    ]
    assert (feeds["orderbook"]["gaps"], feeds["trades"]["gaps"]) == (1, 0)
    assert all(feed["covered_ns"] == feed["verified_ns"] + feed["unverifiable_ns"] for feed in feeds.values())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--exchange", "binace"), "exchange 'binace': nothing was captured of it; did you mean 'binance'?"),
        (("--symbol", "BTC/USD"), "symbol 'BTC-USD': nothing was captured of it; did you mean 'BTC-USDT'?"),
        (("--date", "2026-11-17"), "coverage: nothing was captured from 2026-11-17T00:00:00+00:00 until"),
        (("--date", "18.11.2026"), "date: expected a day such as 2026-11-22, was '18.11.2026'"),
        (("--date", "2026-11-18", "--end", "2026-11-19"), "expected --date, or --start and --end, were both"),
        (("--picture", "coverage.pdf"), "picture: expected a file with the suffix .svg or .png"),
        (("--picture", "nowhere/coverage.svg"), "picture: expected a file in a directory that exists"),
    ],
)
async def test_what_cannot_be_is_refused(world: World, arguments: tuple[str, ...], says: str) -> None:
    code, output = await said(world, *arguments)
    assert (code, says in output) == (2, True), output


async def test_where_nothing_was_captured_that_is_said(tmp_path: Path) -> None:
    code, output = await run("coverage", "--data", tmp_path, cwd=tmp_path)
    assert (code, output.strip()) == (2, "fluxforge: coverage: nothing was captured")


async def test_coverage_on_s3_is_that_on_a_disk(world: World, s3_server: EmbeddedS3) -> None:
    options = s3_server.options("coverage")
    store = S3Store(options)
    for path in (world.base / "processed").rglob("*.parquet"):
        store.create(str(path.relative_to(world.base)), path.read_bytes())
    there = {
        "bucket": options.bucket,
        "prefix": "coverage",
        "endpoint_url": options.endpoint_url,
        "access_key_id": options.access_key_id,
        "secret_access_key": options.secret_access_key,
    }
    location = orjson.dumps({"backend": "s3", "s3": there}).decode()
    config = world.base / "config.yaml"
    config.write_text(f"storage: {{etl_storage_output: {location}}}\n")
    code, on_s3 = await run("coverage", "--json", "--config", config, cwd=world.base)
    assert code == 0, on_s3
    assert await run("coverage", "--json", "--data", world.base, cwd=world.base) == (0, on_s3)
    assert len(orjson.loads(on_s3)["feeds"]) == 3
