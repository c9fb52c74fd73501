"""What tells the coverage of feeds, read from datasets that the ETL wrote."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fluxforge.dataset import Datasets
from fluxforge.domain.control import Event, FeedKey
from fluxforge.domain.errors import FileUnreadableError, UsageError
from fluxforge_cli.account.coverage.feeds import FeedCoverage
from fluxforge_cli.account.coverage.take import Asked, take
from tests.unit.fluxforge_cli.account.audit.world import BEGIN_NS, SYMBOL, Line, World, books, control, tickers

BOOK, TRADES, TICKER = (FeedKey(channel, SYMBOL) for channel in ("orderbook", "trades", "ticker"))
FEEDS = (BOOK, TRADES, TICKER)
DAY = "2026-11-18"
MS = 1_000_000


def trade(seq: int, trade_id: str, behind_ms: int, at_ns: int, boot: str = "b1") -> Line:
    """Return a record of one trade, captured `behind_ms` after the exchange's time where it is captured at `at_ns`."""
    exchange_ms = at_ns // MS - behind_ms
    data = b'[{"id":"%b","side":"buy","price":1.0,"amount":2.0,"timestamp":%d}]' % (trade_id.encode(), exchange_ms)
    return Line("trades", seq, boot, data)


def asked(
    symbol: Sequence[str] = (),
    exchange: Sequence[str] = (),
    source: Sequence[str] = (),
    day: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> Asked:
    return Asked.of(source, exchange, symbol, day=day, start=start, end=end)


def taken(world: World, what: Asked | None = None) -> dict[str, FeedCoverage]:
    return {one.feed.channel: one for one in take(Datasets.of(world.settings), what or asked())}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return 12 records a tenth of a second apart, of which the book misses 0.25 s."""
    world = World(tmp_path)
    begin = BEGIN_NS + 100 * MS
    hole = {"hole": "b1:2", "scope": BOOK, "from_ns": begin + 333 * MS}
    world.seal(
        control(1, Event.STARTED, hole="b1:1", feeds=FEEDS, from_ns=begin),
        control(2, Event.RESYNCED, hole="b1:1", scope=BOOK, from_ns=begin, to_ns=begin + 100 * MS),
        books(1, 2),
        control(3, Event.GAP, **hole),
        control(4, Event.RESYNCED, **hole, to_ns=begin + 583 * MS),
        books(3, 3),
        trade(1, "t1", -1300, begin + 700 * MS),
        trade(2, "t1", 5, begin + 800 * MS),
        trade(3, "t2", 5, begin + 900 * MS),
        tickers(1, 1),
        control(5, Event.STOPPED, feeds=FEEDS),
    )
    world.forge()
    return world


def test_times_holes_duplicates_and_lags_are_told_of_each_feed(world: World) -> None:
    found = taken(world)
    begin = BEGIN_NS + 100 * MS
    book, trades, ticker = (found[channel] for channel in ("orderbook", "trades", "ticker"))
    assert [(one.from_ns, one.to_ns) for one in found.values()] == [(begin, begin + 1100 * MS)] * 3
    assert book.holes() == [(begin, begin + 100 * MS), (begin + 333 * MS, begin + 583 * MS)]
    assert (book.covered_ns, book.verified_ns, book.rows) == (750 * MS, 750 * MS, 3)
    assert (trades.rows, trades.resent, trades.lags_ms) == (3, 1, (-1300, -1300, 5))
    assert (ticker.covered_ns, ticker.rows) == (0, 1), "it never recovered from the start"


def test_what_is_asked_for_is_told_and_its_lane_lives_as_long_as_its_other_feeds(world: World) -> None:
    later = BEGIN_NS + 10_000 * MS
    world.now_ns = later
    world.seal(tickers(2, 3, "b1"))  # a collector that was not told to stop, as far as the ticker knows
    world.forge()
    assert set(taken(world, asked(symbol=["BTC/USDT"], exchange=["binance"], source=["ccxt"], day=DAY))) == {
        "orderbook",
        "trades",
        "ticker",
    }
    assert taken(world)["orderbook"].to_ns > later


def test_a_time_is_asked_for(world: World) -> None:
    start, end = "2026-11-18T11:06:40.500", "2026-11-18T11:06:41.000"
    assert asked(start="2026-11-18T11:06:40").bounds_ns[0] == BEGIN_NS
    book = taken(world, asked(start=start, end=end))["orderbook"]
    assert (book.from_ns, book.to_ns) == (BEGIN_NS + 500 * MS, BEGIN_NS + 1000 * MS)
    assert book.holes() == [(BEGIN_NS + 500 * MS, BEGIN_NS + 683 * MS)]
    assert taken(world, asked(end="2026-11-18T11:06:40.750"))["trades"].resent == 0
    assert book.rows == 1, "rows behind the end say that the lane lived, and are not counted"
    assert taken(world, asked(end="9999-12-31T23:59:59.999999")).keys() == taken(world).keys()
    with pytest.raises(UsageError, match="nothing was captured until"):
        taken(world, asked(end="2026-11-18T11:06:40"))


def test_a_time_without_a_collector_is_a_hole_of_every_day_it_reaches_into(tmp_path: Path) -> None:
    world = World(tmp_path)
    hour, begin = 3_600_000_000_000, BEGIN_NS + 100 * MS  # 11:06:40
    for boot in ("b1", "b2"):
        first_ns = world.now_ns + 100 * MS
        said = {"hole": f"{boot}:1", "scope": BOOK, "from_ns": first_ns}
        world.seal(
            control(1, Event.STARTED, boot, **said),
            control(2, Event.RESYNCED, boot, **said, to_ns=first_ns),
            books(1, 2, boot),
            control(3, Event.STOPPED, boot, feeds=[BOOK]),
        )
        world.now_ns += 48 * hour
    world.forge()
    stopped_ns, started_ns = begin + 400 * MS, begin + 400 * MS + 48 * hour + 100 * MS
    days = {day: taken(world, asked(day=f"2026-11-{day}"))["orderbook"] for day in (18, 19, 20)}
    midnights = [BEGIN_NS - BEGIN_NS % (24 * hour) + n * 24 * hour for n in (1, 2)]
    assert days[18].holes() == [(stopped_ns, midnights[0])]
    assert (days[18].to_ns, days[19].to_ns) == tuple(midnights)
    assert (days[19].covered_ns, days[19].rows) == (0, 0)
    assert days[20].holes() == [(midnights[1], started_ns)]


def test_the_wire_is_not_told_of_and_tells_of_no_feed(tmp_path: Path) -> None:
    world = World(tmp_path, etl={"channels": {"wire": {"enabled": True}}})
    wire, begin = FeedKey("wire", "*"), BEGIN_NS + 100 * MS
    world.seal(
        control(1, Event.STARTED, hole="b1:1", feeds=(BOOK, wire), from_ns=begin),
        control(2, Event.RECOVERED, hole="b1:1", scope=wire, from_ns=begin, to_ns=begin + 100 * MS),
        [Line("wire", seq, data=b'{"text":"{}"}', market="*") for seq in range(1, 9)],
    )
    world.forge()
    (book,) = taken(world).values()
    assert (book.feed.channel, book.observed_ns, book.covered_ns) == ("orderbook", 900 * MS, 0)


def test_without_books_the_feature_rows_tell(tmp_path: Path) -> None:
    world = World(tmp_path, etl={"channels": {"orderbook": {"keep_books": False}}})
    world.seal(books(1, 20))
    world.forge()
    assert not (tmp_path / "processed/ccxt/orderbook/books").exists()
    book = taken(world)["orderbook"]
    assert (book.rows > 0, book.is_verifiable) == (True, False), "without control records nobody looked"


@pytest.mark.parametrize("dataset", ["trades", "coverage"])
def test_a_damaged_file_is_said_with_what_names_it(world: World, dataset: str) -> None:
    world.seal(books(4, 5), tickers(2, 3), trade(4, "t9", 5, world.now_ns), control(6, Event.GAP, scope=TRADES))
    world.forge()
    torn = world.part(dataset, world.manifests[1])
    torn.write_bytes(torn.read_bytes()[:200])
    with pytest.raises(FileUnreadableError, match=f"ccxt/{dataset}.*`fluxforge dataset verify {dataset}` names"):
        take(Datasets.of(world.settings), asked())


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"symbol": ["BTC/USTD"]}, "symbol 'BTC-USTD': nothing was captured of it; did you mean 'BTC-USDT'?"),
        ({"symbol": ["BTC/USDT", "XYZ"]}, "symbol 'XYZ': nothing was captured of it; there is BTC-USDT"),
        ({"exchange": ["binence"]}, "exchange 'binence': nothing was captured of it; did you mean 'binance'?"),
        ({"source": ["cctx"]}, "source 'cctx': nothing was captured of it; did you mean 'ccxt'?"),
        ({"day": "2026-11-17"}, "nothing was captured from 2026-11-17T00:00:00.00:00 until 2026-11-18T00"),
    ],
)
def test_what_is_not_there_is_said(world: World, what: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        take(Datasets.of(world.settings), asked(**what))  # type: ignore[arg-type] # of asked


def test_a_place_without_data_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"coverage: nothing was captured$"):
        take(Datasets.at(tmp_path), asked())
    with pytest.raises(UsageError, match="exchange 'binance': nothing was captured of it; there is nothing"):
        take(Datasets.at(tmp_path), asked(exchange=["binance"]))


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ({"day": "today"}, "date: expected a day such as 2026-11-22, was 'today'"),
        ({"day": "9999-12-31"}, "date: expected a day"),
        ({"day": "2026-11-22", "start": "2026-11-22"}, "expected --date, or --start and --end, were both"),
        ({"start": "soon"}, "start: expected a time"),
        ({"start": "2026-11-23", "end": "2026-11-22"}, "must lie before"),
    ],
)
def test_a_time_that_is_none_is_refused(times: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        asked(**times)  # type: ignore[arg-type] # of asked
