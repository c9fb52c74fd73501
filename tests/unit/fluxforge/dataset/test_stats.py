"""How much of its time a dataset covers, by what `coverage` says of its feeds."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxforge.dataset import Datasets, Selection, Stat
from fluxforge.domain.control import FeedKey
from fluxforge_etl_worker.coverage import WHOLE_LANE, CoverageRow, coverage_table
from tests.unit.fluxforge_compactor.world import BEGIN_NS, PARTITION, S_NS, World, trades

BTC, ETH = FeedKey("trades", "BTC-USDT"), FeedKey("trades", "ETH-USDT")
ROWS_S = 1000
DAY = "date=2025-12-09"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return 1001 trades, one a second from BEGIN on."""
    made = World(tmp_path, "local")
    made.put(1, trades(0, ROWS_S + 1))
    return made


def said(feed: FeedKey, event: str, from_s: float, to_s: float | None, hole: str | None = None) -> CoverageRow:
    def at(seconds: float) -> int:
        return BEGIN_NS + int(seconds * S_NS)

    seq = int(from_s * 10)
    to_ns = None if to_s is None else at(to_s)
    return CoverageRow(feed, feed.symbol, hole, event, at(from_s), to_ns, None, "collector", None, "b1", seq)


def told(world: World, *rows: CoverageRow, date: str = DAY) -> None:
    folder = world.folder / "out/processed/ccxt/coverage/exchange=binance"
    for number, row in enumerate(rows):
        symbol = row.feed.symbol.replace("*", "%2A")
        path = folder / f"symbol={symbol}" / date / f"part_{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(coverage_table("binance", [row]), path)


def stat(world: World, selection: Selection | None = None) -> Stat:
    (found,) = Datasets.at(world.folder / "out").stat("trades", selection)
    return found


def test_without_coverage_nothing_is_said_of_it(world: World) -> None:
    found = stat(world)
    assert (found.rows, found.holes, found.hole_seconds, found.covered) == (ROWS_S + 1, None, None, None)


def test_holes_are_counted_and_measured(world: World) -> None:
    told(
        world,
        said(BTC, "started", -10, None),
        said(BTC, "recovered", -10, -5),
        said(BTC, "disconnected", 100, None, "b1:1"),
        said(BTC, "recovered", 100, 110, "b1:1"),
        said(BTC, "gap", 105, 120, "b1:2"),  # touches the one before
        said(BTC, "subscribed", 200, None),
        said(BTC, "crash", 300, 340),
        said(BTC, "stopped", 950, None),
        said(FeedKey("ticker", "BTC-USDT"), "gap", 500, 600),
    )
    found = stat(world)
    assert (found.holes, found.hole_seconds, found.covered) == (3, 20 + 40 + 50, pytest.approx(0.89))


def test_a_hole_that_nobody_closed_ends_when_the_feed_is_next_sound(world: World) -> None:
    told(
        world,
        said(BTC, "recovered", -10, -5),
        said(BTC, "stopped", 100, None),
        said(BTC, "started", 200, None),
        said(BTC, "recovered", 200, 210),
    )
    found = stat(world)
    assert (found.holes, found.hole_seconds) == (1, 110)


def test_what_is_said_of_a_lane_is_said_of_every_feed_and_a_feed_is_known_from_its_first_word(world: World) -> None:
    told(
        world,
        said(BTC, "recovered", -10, -5),
        said(ETH, "started", 500, None),
        said(ETH, "recovered", 500, 501),
        said(WHOLE_LANE, "lost", 600, 650),
        said(WHOLE_LANE, "lost", 100, 150),
    )
    found = stat(world)
    assert (found.holes, found.hole_seconds) == (2 + 2, 100 + 51)
    assert found.covered == pytest.approx(1 - 151 / 1500)
    found = stat(world, Selection.of(symbol="BTC/USDT"))
    assert (found.holes, found.hole_seconds, found.covered) == (2, 100, pytest.approx(0.9))


def test_a_hole_that_began_days_before_counts(world: World) -> None:
    told(world, said(BTC, "disconnected", -200_000, 50, "b1:1"), date="date=2025-12-07")
    found = stat(world, Selection.of(start="2025-12-09", end="2025-12-10"))
    assert (found.holes, found.hole_seconds) == (1, 50)


def test_the_datasets_of_books_are_of_their_channel(world: World) -> None:
    (world.folder / "out" / PARTITION).parents[2].rename(world.folder / "out/processed/ccxt/orderbook")
    place = world.folder / "out/processed/ccxt/orderbook"
    (place / "hf").mkdir()
    (place / "exchange=binance").rename(place / "hf" / "exchange=binance")
    told(world, said(FeedKey("orderbook", "BTC-USDT"), "gap", 10, 20), said(BTC, "gap", 10, 200))
    (found,) = Datasets.at(world.folder / "out").stat("hf")
    assert (found.holes, found.hole_seconds) == (1, 10)
