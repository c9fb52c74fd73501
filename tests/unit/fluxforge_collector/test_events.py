import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.domain.block import Block, BlockId
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.errors import BusUnavailableError
from fluxforge.domain.status import CollectorStatus, FeedStatus
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.spool import SpoolFullError

BOOK = FeedKey("orderbook", "BTC-USDT")
AT_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000


def made() -> tuple[CollectorEvents, CollectorRegistry]:
    registry = CollectorRegistry()
    return CollectorEvents(registry, "ccxt-binance-0of1", ManualClock(AT_NS)), registry


@pytest.mark.parametrize("event", list(Event))
def test_every_control_record_is_logged_and_counted_once(event: Event) -> None:
    with capture_logs() as logs:
        events, registry = made()
        events.control_entered(Control(event, hole="b:1", scope=BOOK, reason="r", count=2))
    (line,) = logs
    assert (line["lane"], line["feeds"], line["hole"], line["reason"], line["count"]) == (
        "ccxt-binance-0of1",
        ["orderbook:BTC-USDT"],
        "b:1",
        "r",
        2,
    )
    assert registry.get_sample_value("fluxforge_collector_control_records_total", {"event": event.value}) == 1


def test_repeats_of_open_holes_are_neither_logged_nor_counted() -> None:
    with capture_logs() as logs:
        events, registry = made()
        events.control_entered(Control(Event.STARTED, repeat=True))
    assert logs == []
    assert registry.get_sample_value("fluxforge_collector_control_records_total", {"event": "started"}) == 0


def test_dropped_records_are_an_error_and_a_lost_connection_a_warning() -> None:
    with capture_logs() as logs:
        events, _ = made()
        for event in (Event.DROPPED, Event.DISCONNECTED, Event.CONNECTED):
            events.control_entered(Control(event))
    assert [line["log_level"] for line in logs] == ["error", "warning", "info"]


def test_the_lanes_counts_are_read_when_somebody_scrapes() -> None:
    events, registry = made()
    feeds = (
        FeedStatus("orderbook", "BTC-USDT", 7, 1.0, 3, sound=True, hole_ns=2 * SECOND_NS),
        FeedStatus("orderbook", "ETH-USDT", 5, 1.0, 9, sound=False, hole_ns=SECOND_NS // 2),
        FeedStatus("trades", "BTC-USDT", 2, 1.0, None, sound=True),
    )
    status = CollectorStatus(
        lane="ccxt-binance-0of1",
        at_ns=1,
        ready=True,
        captured=20,
        stored=15,
        waiting=4,
        spooled=1,
        dropped=0,
        connections=2,
        feeds=feeds,
    )
    events.count_from(lambda: status, stale_s=60)
    sample = registry.get_sample_value
    assert sample("fluxforge_collector_captured_records_total") == 20
    assert sample("fluxforge_collector_stored_records_total") == 15
    assert sample("fluxforge_collector_waiting_records") == 4
    assert sample("fluxforge_collector_open_connections") == 2
    assert sample("fluxforge_collector_records_total", {"channel": "orderbook"}) == 12
    assert sample("fluxforge_collector_unsound_feeds", {"channel": "orderbook"}) == 1
    assert sample("fluxforge_collector_feeds", {"channel": "orderbook"}) == 2
    assert sample("fluxforge_collector_hole_seconds_total", {"channel": "orderbook"}) == 2.5
    assert sample("fluxforge_collector_hole_seconds_total", {"channel": "trades"}) == 0
    assert sample("fluxforge_collector_capture_lag_seconds", {"channel": "orderbook"}) == 0.009
    assert sample("fluxforge_collector_capture_lag_seconds", {"channel": "trades"}) is None


def status_of(*feeds: FeedStatus, **said: object) -> CollectorStatus:
    counts = {
        "captured": 0,
        "stored": 0,
        "waiting": 0,
        "spooled": 0,
        "dropped": 0,
        "connections": 0,
        "boot": "9f3c21ab",
    }
    return CollectorStatus(lane="ccxt-binance-0of1", at_ns=AT_NS, ready=True, feeds=feeds, **{**counts, **said})  # type: ignore[arg-type]


def feed(symbol: str, *, age_s: int | None) -> FeedStatus:
    last_ns = 0 if age_s is None else AT_NS - age_s * SECOND_NS
    return FeedStatus("trades", symbol, 1, 1.0, 3, sound=True, last_ns=last_ns)


def test_a_channel_is_as_fresh_as_its_newest_record_and_its_stale_feeds_are_counted() -> None:
    events, registry = made()
    feeds = (feed("BTC-USDT", age_s=2), feed("ETH-USDT", age_s=61), feed("DOGE-USDT", age_s=None))
    events.count_from(lambda: status_of(*feeds, began_ns=AT_NS - 90 * SECOND_NS), stale_s=60)
    sample = registry.get_sample_value
    assert sample("fluxforge_collector_freshness_seconds", {"channel": "trades"}) == 2
    assert sample("fluxforge_collector_stale_feeds", {"channel": "trades"}) == 2


def test_the_first_record_of_a_feed_is_awaited_from_the_begin_of_capture() -> None:
    events, registry = made()
    events.count_from(lambda: status_of(feed("BTC-USDT", age_s=None), began_ns=AT_NS - 9 * SECOND_NS), stale_s=60)
    assert registry.get_sample_value("fluxforge_collector_freshness_seconds", {"channel": "trades"}) == 9
    assert registry.get_sample_value("fluxforge_collector_stale_feeds", {"channel": "trades"}) == 0


def test_a_collector_tells_its_lane_its_life_its_lease_and_its_spool() -> None:
    events, registry = made()
    events.count_from(lambda: status_of(held=True, spool_bytes=77), stale_s=60)
    who = {"source": "ccxt", "exchange": "binance", "shard": "0of1", "boot": "9f3c21ab"}
    assert registry.get_sample_value("fluxforge_collector_info", who) == 1
    assert registry.get_sample_value("fluxforge_collector_lane_held") == 1
    assert registry.get_sample_value("fluxforge_collector_spool_bytes") == 77


def test_a_block_is_timed_from_its_first_record_to_its_acknowledgement() -> None:
    events, registry = made()
    events.block_stored(Block(BlockId("b", 1), None, AT_NS - 2_000_000, AT_NS, (), b""))
    sample = registry.get_sample_value
    assert sample("fluxforge_collector_capture_to_bus_seconds_bucket", {"le": "0.001"}) == 0
    assert sample("fluxforge_collector_capture_to_bus_seconds_bucket", {"le": "0.003"}) == 1
    assert sample("fluxforge_collector_capture_to_bus_seconds_sum") == 0.002


def test_errors_are_counted_by_class_and_foreign_ones_together() -> None:
    with capture_logs():
        events, registry = made()
        events.bus_awaited(BusUnavailableError("connect", "nobody"))
        events.markets_load_failed(OSError("venue"), retry_s=1)
        events.spool_refused(SpoolFullError("full"))
    for kind in ("BusUnavailableError", "ForeignError", "SpoolFullError"):
        assert registry.get_sample_value("fluxforge_errors_total", {"kind": kind}) == 1
    assert registry.get_sample_value("fluxforge_errors_total", {"kind": "FencedError"}) == 0
