"""The intake: what a session's records become in the lane, over all sessions of a collector.

Records go through the translator of the files. What was seen before a session and is told again is left out; trades
and candles that came meanwhile and are told late are marked as backfilled. Books are never told late: one that stands
is whole in itself (`mbp-*`) or begins with a snapshot (`mbo`), and nothing is joined over the hole.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from databento_dbn import (
    DBNRecord,
    ErrorCode,
    ErrorMsg,
    InstrumentDefMsg,
    MBOMsg,
    MBP1Msg,
    MBP10Msg,
    OHLCVMsg,
    RType,
    SymbolMappingMsg,
    SystemCode,
    SystemMsg,
    TradeMsg,
)

from fluxforge.domain.control import Event
from fluxforge.domain.errors import RecordError
from fluxforge.runtime.settings.databento import BOOK_SCHEMAS
from fluxforge_collector.databento_source.markets import LiveMarkets
from fluxforge_collector.databento_source.seen import Seen, Stream
from fluxforge_collector.databento_source.subscriptions import Plan
from fluxforge_collector.databento_source.translate import DEFINITIONS, Doubt, Translator, Update, length_ns_of
from fluxforge_collector.lane_feed import LaneFeed
from fluxforge_collector.source import Sink

_SCHEMAS: Final[Mapping[Any, str]] = {
    RType.MBP_0: "trades",
    RType.MBP_1: "mbp-1",
    RType.MBP_10: "mbp-10",
    RType.MBO: "mbo",
    RType.OHLCV_1S: "ohlcv-1s",
    RType.OHLCV_1M: "ohlcv-1m",
    RType.OHLCV_1H: "ohlcv-1h",
    RType.OHLCV_1D: "ohlcv-1d",
    RType.INSTRUMENT_DEF: "definition",
}
SNAPSHOT_SCHEMA: Final = "mbo"
"""The one schema of which nothing is known without what came before."""
_REPLAY_NS: Final = 60_000_000_000
"""What was received so long after a session began is not late, even if the gateway never says that it caught up."""
_SNAPSHOT_NS: Final = 60_000_000_000
"""A book whose snapshot does not come or does not heal it is asked for again with its first record after this."""
_REFUSALS: Final = frozenset({ErrorCode.REPLAY_DATA_AGED_OUT, ErrorCode.INVALID_SUBSCRIPTION, ErrorCode.UNSET})
"""Errors that the same requests would meet again; one that does not say what it is may be such."""
_NS_MAX: Final = 2**62
_Data = TradeMsg | MBP1Msg | MBP10Msg | MBOMsg | OHLCVMsg | InstrumentDefMsg


class Intake:
    """Enters records of one dataset into a lane.

    `taken`: data records that the session has brought; `asks_replay`: whether it asked for what was missed;
    `was_refused`: whether the gateway ended it since it does not grant what was asked for.
    """

    _ask_snapshot: Callable[[str], None]

    def __init__(self, sink: Sink, plan: Plan) -> None:
        self._sink = sink
        self._plan = plan
        self._markets = LiveMarkets()
        self._feeds = {
            (schema, symbol): sink.feed(plan.feed(schema, symbol))
            for schema, symbols in plan.subscriptions.items()
            for symbol in symbols
        }
        self._translators: dict[str, Translator] = {}
        self._seen = Seen()
        self._conn = 0
        self._asked_ns: dict[str, int] = {}
        self._began_ns = 0
        self._first_ns: int | None = None
        """When the first of the sessions before this one began."""
        self._refused: Counter[tuple[LaneFeed | None, str]] = Counter()
        self._replaying: set[str] = set()
        self._late: Counter[str] = Counter()
        self._repeated: Counter[str] = Counter()
        self.taken = 0
        self.asks_replay = False
        self.was_refused = False

    @property
    def feeds(self) -> list[LaneFeed]:
        """Every feed of the dataset."""
        return list(self._feeds.values())

    def begin(self, conn: int, ask_snapshot: Callable[[str], None]) -> None:
        """Begin a session, with no book known; `ask_snapshot` has the gateway tell a symbol's orders anew."""
        self._conn = conn
        self._ask_snapshot = ask_snapshot
        if self._first_ns is None and self._began_ns:
            self._first_ns = self._began_ns
        self._began_ns = self._sink.now()
        self.taken = 0
        self.asks_replay = False
        self.was_refused = False
        self._replaying.clear()
        self._late.clear()
        self._repeated.clear()
        for schema in self._plan.subscriptions:
            if schema in BOOK_SCHEMAS or schema not in self._translators:
                self._translators[schema] = Translator(schema, self._markets, depth=self._plan.depth, with_trades=False)

    def replay_from_ns(self, schema: str) -> int | None:
        """Return from which event on a schema is to be told, ns UTC, and expect that; None, as books: from now on."""
        begin_ns = self._seen.begin_ns(schema, self._sink.now(), unseen_ns=self._unseen_ns(schema))
        if begin_ns is not None:
            self._seen.expect_replay(schema)
            self._replaying.add(schema)
        elif schema == DEFINITIONS:
            begin_ns = 0  # told when they change, which may be days ago
        self.asks_replay |= begin_ns is not None
        return begin_ns

    def _unseen_ns(self, schema: str) -> int | None:
        if self._first_ns is None or schema in BOOK_SCHEMAS or schema == DEFINITIONS:
            return None
        return self._first_ns - length_ns_of(schema)

    def end(self) -> None:
        """End a session: name what could not be told of it."""
        for schema, translator in self._translators.items():
            if schema in BOOK_SCHEMAS:
                for told in translator.end():
                    if isinstance(told, Doubt):
                        self._doubt(self._feeds[schema, told.market], told)
        for (feed, reason), count in self._refused.items():
            if rest := count - _told(count):
                self._reject(feed, reason, rest)
        self._refused.clear()

    def take(self, record: DBNRecord, at_ns: int) -> None:
        """Enter a record that came at `at_ns`, ns UTC."""
        if isinstance(record, _Data) and record.rtype in _SCHEMAS:
            self._take_data(_SCHEMAS[record.rtype], record, at_ns)
        elif isinstance(record, SymbolMappingMsg):
            self._markets.learn(record.instrument_id, record.stype_in_symbol)
        elif isinstance(record, SystemMsg):
            self._hear(record)
        elif isinstance(record, ErrorMsg):
            self._fail(record)
        else:
            self._refuse(None, f"a record that was not asked for: {type(record).__name__}")

    def _take_data(self, schema: str, record: _Data, at_ns: int) -> None:
        self.taken += 1
        market = self._markets.find(record.instrument_id)
        feed = self._feeds.get((schema, market)) if market is not None else None
        if feed is None:
            self._refuse(None, f"a record of {schema} of instrument {record.instrument_id}, which was not asked for")
            return
        try:
            if schema not in BOOK_SCHEMAS and not self._is_new(schema, record):
                self._repeated[schema] += 1
                return
            for told in self._translators[schema].take(record):
                if isinstance(told, Doubt):
                    self._doubt(feed, told)
                else:
                    self._enter(schema, feed, told, at_ns)
            if schema == SNAPSHOT_SCHEMA and not self._translators[schema].is_whole(record.instrument_id):
                self._heal(feed, at_ns)
        except RecordError as error:
            self._refuse(feed, error.reason)

    def _is_new(self, schema: str, record: _Data) -> bool:
        received_ns = record.ts_event if isinstance(record, OHLCVMsg) else record.ts_recv
        if max(received_ns, record.ts_event) > _NS_MAX:
            raise RecordError("a record without a time")
        stream = Stream(schema, record.publisher_id, record.instrument_id)
        return self._seen.add(stream, at_ns=received_ns, event_ns=record.ts_event)

    def _heal(self, feed: LaneFeed, at_ns: int) -> None:
        if at_ns - self._asked_ns.get(feed.market, 0) >= _SNAPSHOT_NS:
            self._asked_ns[feed.market] = at_ns
            self._ask_snapshot(feed.market)

    def _enter(self, schema: str, feed: LaneFeed, update: Update, at_ns: int) -> None:
        is_late = schema in self._replaying and update.at_ns < self._began_ns + _REPLAY_NS
        if is_late:
            self._late[schema] += 1
        self._sink.record(
            feed, update.data, exchange_ms=update.exchange_ms, at_ns=at_ns, conn=self._conn, backfill=is_late
        )

    def _doubt(self, feed: LaneFeed, doubt: Doubt) -> None:
        self._sink.note(Event.GAP, [feed], reason=doubt.reason, count=doubt.records, conn=self._conn)

    def _hear(self, message: SystemMsg) -> None:
        if message.is_heartbeat() or message.code == SystemCode.END_OF_INTERVAL:
            return
        named = re.findall(r"[a-z0-9-]+", message.msg.lower())
        schemas = [schema for schema in self._plan.subscriptions if schema in named]
        feeds = [feed for (schema, _), feed in self._feeds.items() if schema in schemas]
        if message.code == SystemCode.SUBSCRIPTION_ACK:
            self._sink.note(Event.SUBSCRIBED, feeds, reason=message.msg, conn=self._conn)
        elif message.code == SystemCode.REPLAY_COMPLETED:
            self._replaying.difference_update(schemas)
            late, repeated = (sum(counts[schema] for schema in schemas) for counts in (self._late, self._repeated))
            detail: dict[str, str | int | None] = {"repeated": repeated}
            self._sink.note(Event.SUBSCRIBED, feeds, reason=message.msg, count=late, detail=detail, conn=self._conn)
        else:
            self._sink.note(Event.REJECTED, feeds, reason=f"the gateway says: {message.msg}", conn=self._conn)

    def _fail(self, message: ErrorMsg) -> None:
        if message.code == ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING:
            feeds = [feed for (schema, _), feed in self._feeds.items() if schema in BOOK_SCHEMAS]
            self._sink.note(Event.GAP, feeds, reason=f"the gateway says: {message.err}", conn=self._conn)
            return
        self.was_refused |= message.code in _REFUSALS
        named = re.split(r"[\s,'\"`]+", message.err)
        feeds = [feed for (_, symbol), feed in self._feeds.items() if symbol in named]
        self._sink.note(Event.REJECTED, feeds, reason=f"the gateway refused: {message.err}", conn=self._conn)

    def _refuse(self, feed: LaneFeed | None, reason: str) -> None:
        """Name what cannot be entered: the first, the tenth and so on of a kind, and at the end the rest."""
        before = _told(self._refused[feed, reason])
        self._refused[feed, reason] += 1
        if count := _told(self._refused[feed, reason]) - before:
            self._reject(feed, reason, count)

    def _reject(self, feed: LaneFeed | None, reason: str, count: int) -> None:
        self._sink.note(Event.REJECTED, [feed] if feed else (), reason=reason, count=count, conn=self._conn)


def _told(count: int) -> int:
    """Return how many of a kind were named by the time there were so many: the power of ten up to there."""
    return 10 ** (len(str(count)) - 1) if count else 0
