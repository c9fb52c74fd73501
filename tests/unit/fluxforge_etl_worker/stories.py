"""Stories: generated lanes of two instruments, and the comparison of what they became with what the oracle says."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter

from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge_etl_worker.settings import EtlOptions
from tests.unit.fluxforge_etl_worker import oracle
from tests.unit.fluxforge_etl_worker.oracle.cell import Row, Tally
from tests.unit.fluxforge_etl_worker.oracle.lane import Lane, Options
from tests.unit.fluxforge_etl_worker.samples import MS, T0, Recording, S, trade

MARKETS = ("BTC/USDT", "ETH/USDT:USDT")
SYMBOLS = {"BTC/USDT": "BTC-USDT", "ETH/USDT:USDT": "ETH-USDT_USDT"}
FEEDS = tuple(FeedKey(channel, symbol) for symbol in SYMBOLS.values() for channel in ("orderbook", "trades", "ticker"))
DATASETS = {
    "orderbook/hf": (oracle.hf_rows, ("symbol", "ts_ns", "seq", "boot")),
    "orderbook/bars": (oracle.bar_rows, ("symbol", "ts_ns", "duration")),
    "orderbook/books": (oracle.book_rows, ("symbol", "boot", "seq")),
    "trades": (oracle.trade_rows, ("symbol", "capture_ns", "idx")),
    "ticker": (oracle.ticker_rows, ("symbol", "boot", "seq")),
    "coverage": (oracle.coverage_rows, ("channel", "symbol", "event", "boot", "seq")),
}
"""For each dataset who tells its rows, and their key."""
AS_FOUND = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
"""For lanes worked in pieces: a failure is shown as it was found, since making it smaller would take minutes."""

UNSOUND = {Event.GAP, Event.STALLED, Event.DISCONNECTED, Event.DROPPED, Event.STARTED, Event.STOPPED}
_REPEAT_NS = 30 * S
_SHOWN_BYTES_MAX = 12_000
_GAPS = (1, MS, 250 * MS, 250 * MS, 700 * MS, S, S, 5 * S, 29 * S, 59 * S, 60 * S, 60 * S + 1)
_SHORT = (1, MS, 250 * MS, 250 * MS, 700 * MS, S, S, 3 * S, 12 * S)
_LONG = (1, S, 29 * S, 30 * S, 59 * S, 60 * S, 60 * S, 60 * S, 60 * S + 1, 120 * S)
_CALM = ["book"] * 10 + ["trades"] * 5 + ["ticker"]
_WILD = [*_CALM, *["bad"] * 3, *["mended"] * 4, "told", "restart"]
_TEMPERS = st.sampled_from([(_CALM, _SHORT), (_CALM, _SHORT), (_CALM, _LONG), (_WILD, _GAPS), (_WILD, _GAPS)])
_BAD = st.sampled_from([Event.GAP, Event.STALLED, Event.DISCONNECTED, Event.DROPPED])
_TOLD = st.sampled_from([Event.CONNECTED, Event.SUBSCRIBED, Event.CLOCK_STEP, Event.SPOOLED, Event.REJECTED])


@dataclass(repr=False)
class Story:
    """A lane as it was captured. An open hole is told again before any record 30 s after its last telling."""

    recording: Recording
    at: int
    final: bool = False
    standing: dict[tuple[FeedKey, Event], int] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show the records as far as a person would read them."""
        shown = b"".join(self.lines)[:_SHOWN_BYTES_MAX].decode()
        return f"Story({len(self.lines)} records{', final' if self.final else ''}):\n{shown}\n"

    def _repr_pretty_(self, printer: RepresentationPrinter, *_: object) -> None:
        """Show the same in what hypothesis prints.

        Of itself it shows every field of a dataclass. It warns of so much text, the warning is an error here, and that
        error hides the failure behind one of "inconsistent data generation".
        """
        printer.text(repr(self))

    def now(self) -> int:
        """Return the time of the next record."""
        for (feed, event), told in list(self.standing.items()):
            if self.at - told >= _REPEAT_NS:
                self.standing[feed, event] = self.at
                self._write(Control(event, hole="x:1", scope=feed, from_ns=self.at, repeat=True))
        self.at += 1
        return self.at - 1

    def control(self, event: Event, feeds: Sequence[FeedKey] = (), **more: Any) -> None:
        if event is not Event.STARTED:
            self.at = self.now()
        named = {"scope": feeds[0]} if len(feeds) == 1 else {"feeds": tuple(feeds)}
        markets = {symbol: market for market, symbol in SYMBOLS.items()}
        concerned = {feed.symbol: markets[feed.symbol] for feed in feeds}
        self._write(Control(event, **named, markets=concerned, **more))
        for feed in feeds or FEEDS:
            if event in {Event.RESYNCED, Event.RECOVERED}:
                self.standing = {key: told for key, told in self.standing.items() if key[0] != feed}
            elif event in UNSOUND:
                self.standing[feed, event] = self.at - 1

    def restart(self, *, in_order: bool, pause_ns: int) -> None:
        if in_order:
            self.control(Event.STOPPED, FEEDS)
        after = After(self.recording.boot, 7, orjson.loads(self.lines[-1])["capture_ns"])
        self.at += pause_ns
        self.recording.restart(f"boot{self.at}")
        self.control(Event.STARTED, FEEDS, after=after)

    def _write(self, control: Control) -> None:
        self.recording.control(self.at, control)
        self.at += 1

    @property
    def lines(self) -> list[bytes]:
        return self.recording.lines

    def lane(self, options: EtlOptions) -> Lane:
        """Return the lane as the oracle reads it."""
        return lane_of(self.recording.records, options, final=self.final)


def lane_of(
    records: Sequence[dict[str, Any]],
    options: EtlOptions,
    *,
    final: bool = False,
    holes: Sequence[tuple[int, int]] = (),
) -> Lane:
    chosen = Options(
        interval_ns=options.hf_interval_ns,
        durations_s=options.bar_durations_s,
        horizons_s=options.horizons_s,
        tolerance_ns=options.tolerance_ns,
        levels_max=options.levels_max,
    )
    return Lane(records, records[-1]["capture_ns"], final, chosen, holes)


def book(random: Random, tick: float, best: int) -> tuple[list[list[float]], list[list[float]]]:
    """Return a book: ragged, now and then one level, one-sided, empty, locked or crossed; sizes equal, tiny or huge."""
    best += random.choice([0, 0, 0, 1, -1, 2, -7])
    gap = random.choice([1] * 12 + [2, 2, 3, 30, 500, 0, -5])
    sizes: Callable[[], float] = random.choice(
        [
            lambda: random.choice([1.0, 0.5, 0.1]),
            lambda: random.choice([1.0, 0.0]),
            lambda: random.uniform(0.001, 20),
            lambda: 10 ** random.uniform(-8, 12),
            lambda: 0.1,
        ]
    )
    sides = []
    for first, sign in ((best, -1), (best + gap, 1)):
        price, side = first, []
        for _ in range(random.choice([0] + [1] * 3 + [2, 3, 4, 4, 5, 6, 9, 10, 11, 14])):
            side.append([price * tick, sizes()])
            price += sign * random.randint(1, random.choice([1, 3, 40]))
        sides.append(side)
    return sides[0], sides[1]


def _trades(random: Random, tick: float, best: int, at: int, count: int) -> list[dict[str, object]]:
    found = []
    for _ in range(count):
        trade_id: Any = random.choice(["a", "b", "c", "d", 7, None, None, f"t{random.randint(0, 999)}"])
        amount = random.choice([1.0, 0.25, 0.1, 0.0, 10 ** random.uniform(-8, 8)])
        price = (best + random.randint(-3, 3)) * tick
        found.append(trade(trade_id, random.choice(["buy", "sell", "buy", "sell", None]), price, amount, at))
    return found


@st.composite
def stories(draw: st.DrawFn, steps_max: int = 60) -> Story:
    """Return a lane of two instruments, with everything that can happen to one."""
    story = Story(Recording(), T0 + draw(st.sampled_from([0, 1, 250 * MS, 59 * S, -1])))
    ticks = {market: draw(st.sampled_from([0.01, 1e-8, 0.5, 100.0, 1.0])) for market in MARKETS}
    bests = {market: draw(st.sampled_from([700, 10**4, 10**6])) for market in MARKETS}
    if draw(st.booleans()):
        story.control(Event.STARTED, FEEDS, follows=draw(st.sampled_from([(), ("ccxt-binance-0of2",)])))
        for feed in FEEDS:
            story.control(Event.RESYNCED if feed.channel == "orderbook" else Event.RECOVERED, [feed])
    kinds, gaps = draw(_TEMPERS)
    for _ in range(draw(st.integers(1, steps_max))):
        market = draw(st.sampled_from([MARKETS[0], MARKETS[0], MARKETS[1]]))
        random = Random(draw(st.integers(0, 10**6)))
        kind = draw(st.sampled_from(kinds))
        _step(draw, story, kind, market, random, ticks[market], bests[market])
        story.at += draw(st.sampled_from(gaps)) - 1  # so that records may stand just so far apart
    if draw(st.booleans()):
        story.recording.ticker(story.now(), "SOL/USDT", last=1.0)
    if draw(st.booleans()):
        story.control(Event.LANE_CLOSED)
        story.final = True
    if not story.lines:
        story.recording.ticker(story.now(), "SOL/USDT", last=1.0)
    return story


def _step(draw: st.DrawFn, story: Story, kind: str, market: str, random: Random, tick: float, best: int) -> None:
    if kind == "book":
        at = story.now()
        ms = random.choice([None, at // MS])
        story.recording.book(at, *book(random, tick, best), market, exchange_ms=ms)
    elif kind == "trades":
        at, more = story.now(), random.choice([{}, {}, {}, {"snapshot": True}, {"backfill": True}])
        story.recording.trades(at, *_trades(random, tick, best, at, random.randint(1, 3)), market=market, **more)
    elif kind == "ticker":
        story.recording.ticker(story.now(), market, last=best * tick, bid=None, baseVolume=3, vwap=0.5)
    elif kind == "bad":
        story.control(draw(_BAD), random.choice([(), FEEDS, random.sample(FEEDS, 1), random.sample(FEEDS, 3)]))
    elif kind == "mended":
        feed = FeedKey(random.choice(["orderbook", "orderbook", "trades"]), SYMBOLS[market])
        story.control(Event.RESYNCED if feed.channel == "orderbook" else Event.RECOVERED, [feed])
    elif kind == "told":
        story.control(draw(_TOLD), random.choice([(), FEEDS, FEEDS[:1]]))
    elif story.lines:
        story.restart(in_order=random.random() < 0.5, pause_ns=random.choice([1, S, 90 * S, 600 * S]))


def compare(
    rows: Callable[[str], Sequence[Row]],
    lane: Lane,
    datasets: Collection[str] = tuple(DATASETS),
    chosen: Collection[tuple[str, int]] | None = None,
) -> Tally:
    """Check every key and column of these datasets; of `chosen` (symbol, capture_ns) alone where that is given."""
    tally = Tally()
    for dataset in datasets:
        told, keys = DATASETS[dataset]
        found = rows(dataset)
        if dataset == "orderbook/hf" and chosen is not None:
            tally.rows(found, oracle.hf_keys(lane), *keys)
            found = [row for row in found if (row["symbol"], row["capture_ns"]) in chosen]
            wanted = oracle.hf_rows(lane, chosen)
        else:
            wanted = told(lane)
        tally.rows(found, wanted, *keys)
        if dataset != "coverage" and wanted:
            assert set(found[0]) == set(wanted[0]), f"columns of {dataset} that nobody compared"
    return tally


def long_story(lines: int) -> Story:
    """Return one long lane, always the same: mostly calm, with holes, two restarts and trades sent again."""
    random = Random(7)
    story = Story(Recording(), T0 + 250 * MS)
    story.control(Event.STARTED, FEEDS)
    best, restarts = dict.fromkeys(MARKETS, 10_000), 0
    while len(story.lines) < lines:
        done = len(story.lines)
        if story.standing and random.random() < 0.04:
            for feed in dict.fromkeys(feed for feed, _ in story.standing):
                story.control(Event.RESYNCED if feed.channel == "orderbook" else Event.RECOVERED, [feed])
        elif random.random() < 0.004:
            story.control(random.choice([Event.GAP, Event.STALLED]), random.sample(FEEDS, 2))
        elif done > lines // 3 * (restarts + 1):
            restarts += 1
            story.restart(in_order=restarts == 1, pause_ns=20 * S)
        market = random.choice(MARKETS)
        best[market] += random.choice([-2, -1, 0, 0, 1, 2])
        at, kind = story.now(), random.random()
        if kind < 0.7:
            story.recording.book(at, *book(random, 0.01, best[market]), market)
        elif kind < 0.95:
            story.recording.trades(at, *_trades(random, 0.01, best[market], at, 2), market=market)
        else:
            story.recording.ticker(at, market, last=best[market] * 0.01)
        story.at += random.choice([1, MS, 50 * MS, 250 * MS, 500 * MS])
    story.at += 70 * S
    story.control(Event.LANE_CLOSED)
    story.final = True
    return story
