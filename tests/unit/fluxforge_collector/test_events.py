import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.status import CollectorStatus, FeedStatus
from fluxforge_collector.events import CollectorEvents

BOOK = FeedKey("orderbook", "BTC-USDT")


def made() -> tuple[CollectorEvents, CollectorRegistry]:
    registry = CollectorRegistry()
    return CollectorEvents(registry, "ccxt-binance-0of1"), registry


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
    assert registry.get_sample_value("fluxforge_collector_control_records_total", {"event": "started"}) is None


def test_dropped_records_are_an_error_and_a_lost_connection_a_warning() -> None:
    with capture_logs() as logs:
        events, _ = made()
        for event in (Event.DROPPED, Event.DISCONNECTED, Event.CONNECTED):
            events.control_entered(Control(event))
    assert [line["log_level"] for line in logs] == ["error", "warning", "info"]


def test_the_lanes_counts_are_read_when_somebody_scrapes() -> None:
    events, registry = made()
    feeds = (
        FeedStatus("orderbook", "BTC-USDT", 7, 1.0, 3, sound=True),
        FeedStatus("orderbook", "ETH-USDT", 5, 1.0, 9, sound=False),
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
    events.count_from(lambda: status)
    sample = registry.get_sample_value
    assert sample("fluxforge_collector_captured_records_total") == 20
    assert sample("fluxforge_collector_stored_records_total") == 15
    assert sample("fluxforge_collector_waiting_records") == 4
    assert sample("fluxforge_collector_open_connections") == 2
    assert sample("fluxforge_collector_records_total", {"channel": "orderbook"}) == 12
    assert sample("fluxforge_collector_unsound_feeds", {"channel": "orderbook"}) == 1
    assert sample("fluxforge_collector_capture_lag_seconds", {"channel": "orderbook"}) == 0.009
    assert sample("fluxforge_collector_capture_lag_seconds", {"channel": "trades"}) is None
