"""Ledger: what the simulator says it sent, frame by frame and trade by trade, against what the datasets hold of it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxforge.domain.control import CRASH, LOST, SOUND_EVENTS, UNSOUND_EVENTS
from fluxforge.domain.lane import Lane, Leg, shard_of
from fluxforge.runtime.settings import Settings
from fluxforge_cli.account.audit.close import Audit, home
from fluxforge_cli.account.audit.findings import in_order
from fluxforge_cli.account.audit.said import WHOLE_LANE
from fluxforge_cli.account.audit.sent import Comparison, FeedHole, StoredTrade
from fluxforge_cli.account.ledger import FRAMES, FeedName, times_sent
from fluxforge_cli.datasets import open_datasets
from fluxforge_cli.stores import processed_files

if TYPE_CHECKING:
    import duckdb

_HOLES: Final = frozenset({*(event.value for event in UNSOUND_EVENTS), "rejected", CRASH, LOST})
_FIRST: Final = (CRASH, LOST, "dropped", "rejected", "gap", "stalled", "disconnected")
_FOREVER_NS: Final = 1 << 62


def against_ledger(audit: Audit, ledger: Path, settings: Settings, lanes: Collection[Lane]) -> Audit:
    """Return the audit with what a ledger says added; `lanes`: of these alone.

    It tells of one collector: of an exchange that two legs capture, leg A is compared.
    """
    with ledger.open("rb") as lines:
        frames, trades = times_sent(lines)
    database = open_datasets(processed_files(settings))
    lane_of = dict(_lanes_of({*frames, *trades}, (Lane.parse(one.lane) for one in audit.lanes)))
    wanted = {str(home(lane)) for lane in lanes}
    compared = Comparison(lane_of, read_holes(database, {*frames, *trades}))
    for feed, sent_ns in frames.items():
        if not wanted or lane_of.get(feed) in wanted:
            compared.frames(feed, sent_ns, _captured(database, feed))
    has_rescue = any(one.rescue for one in audit.lanes)
    for feed, by_id in trades.items():
        if not wanted or lane_of.get(feed) in wanted:
            compared.trades(feed, by_id, _stored(database, feed), is_marked_alone=not has_rescue)
    found = compared.result()
    return replace(audit, findings=in_order((*audit.findings, *found.findings)), explained=found.explained)


def read_holes(
    database: "duckdb.DuckDBPyConnection", feeds: Iterable[FeedName]
) -> dict[FeedName, tuple[FeedHole, ...]]:
    """Return the holes of each feed, those that tell most first.

    One that nobody closed ends when the feed was next sound.
    """
    rows = database.execute(
        "SELECT exchange, channel, symbol, coalesce(hole, boot || ':' || event || ':' || seq), event, from_ns, to_ns "
        "FROM all_coverage WHERE NOT contains(source, '.') ORDER BY from_ns, seq"
    ).fetchall()
    sound: defaultdict[FeedName, list[int]] = defaultdict(list)
    told: defaultdict[FeedName, dict[str, list[FeedHole]]] = defaultdict(lambda: defaultdict(list))
    for exchange, channel, symbol, hole, event, from_ns, to_ns in rows:
        feed = (str(exchange), str(channel), str(symbol))
        if event in SOUND_EVENTS and to_ns is not None:
            sound[feed].append(to_ns)
        if event in _HOLES or event in SOUND_EVENTS:
            told[feed][hole].append(FeedHole(str(event), from_ns, -1 if to_ns is None else to_ns))
    found = {}
    for feed in feeds:
        whole_lane = (feed[0], WHOLE_LANE, WHOLE_LANE)
        told_of = [*told[feed].values(), *told[whole_lane].values()]
        holes = [hole for rows_of in told_of for hole in _folded(rows_of, sorted(sound[feed]))]
        found[feed] = tuple(sorted(holes, key=lambda hole: (_rank(hole.event), hole.from_ns)))
    return found


def _folded(rows: Sequence[FeedHole], sound: Sequence[int]) -> Iterator[FeedHole]:
    begun = [row for row in rows if row.event in _HOLES]
    if not begun:
        return
    from_ns, to_ns = min(row.from_ns for row in rows), max(row.to_ns for row in rows)
    if to_ns < 0:
        to_ns = next((at for at in sound if at > from_ns), _FOREVER_NS)
    yield FeedHole(begun[0].event, from_ns, to_ns)


def _rank(event: str) -> int:
    return _FIRST.index(event) if event in _FIRST else len(_FIRST)


def _captured(database: "duckdb.DuckDBPyConnection", feed: FeedName) -> list[int]:
    exchange, channel, symbol = feed
    rows = f"FROM {FRAMES[channel]} WHERE NOT contains(source, '.') AND exchange = ? AND symbol = ?"
    sql = f"SELECT capture_ns {rows} ORDER BY capture_ns"
    column = database.execute(sql, [exchange, symbol]).fetchnumpy()["capture_ns"]
    times: list[int] = column.tolist()
    return times


def _stored(database: "duckdb.DuckDBPyConnection", feed: FeedName) -> dict[str, StoredTrade]:
    exchange, _, symbol = feed
    rows = database.execute(
        "SELECT trade_id, count(*), count(*) FILTER (NOT coalesce(resent, false)) FROM all_trades "
        "WHERE NOT contains(source, '.') AND exchange = ? AND symbol = ? AND trade_id IS NOT NULL GROUP BY ALL",
        [exchange, symbol],
    ).fetchall()
    return {str(trade_id): StoredTrade(int(count), int(live)) for trade_id, count, live in rows}


def _lanes_of(feeds: Iterable[FeedName], lanes: Iterable[Lane]) -> Iterator[tuple[FeedName, str]]:
    known = list(lanes)
    for feed in feeds:
        exchange, _, symbol = feed
        for lane in known:
            is_its = lane.exchange == exchange and lane.leg is Leg.A
            if is_its and shard_of(symbol, lane.shards) == lane.index:
                yield feed, str(lane)
                break
