"""The counts of a lane as metrics, made of its status at the moment of a scrape; `docs/metrics.md` names them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from fluxforge.domain.lane import Lane
from fluxforge.domain.status import CollectorStatus, FeedStatus

_PREFIX: Final = "fluxforge_collector"
_NS: Final = 1_000_000_000


class LaneCounts(Collector):
    """What a collector's status says, as metrics. A feed without a record for `stale_s` is stale."""

    def __init__(self, status: Callable[[], CollectorStatus], stale_s: float) -> None:
        self._status = status
        self._stale_ns = int(stale_s * _NS)

    @override
    def collect(self) -> Iterator[Metric]:
        status = self._status()
        lane = Lane.parse(status.lane)
        info = GaugeMetricFamily(
            f"{_PREFIX}_info", "Which lane, and which life.", labels=["source", "exchange", "shard", "boot"]
        )
        info.add_metric([lane.source, lane.exchange, lane.shard, status.boot], 1)
        yield info
        yield from _totals(status)
        yield from self._per_channel(status)

    def _per_channel(self, status: CollectorStatus) -> Iterator[Metric]:
        labels = ["channel"]
        records = CounterMetricFamily(f"{_PREFIX}_records", "Records of feeds, by channel.", labels=labels)
        known = GaugeMetricFamily(f"{_PREFIX}_feeds", "Feeds that are captured, by channel.", labels=labels)
        holes = CounterMetricFamily(
            f"{_PREFIX}_hole_seconds", "Time of feeds in any hole, added up by channel.", labels=labels
        )
        unsound = GaugeMetricFamily(f"{_PREFIX}_unsound_feeds", "Feeds in an open hole, by channel.", labels=labels)
        stale = GaugeMetricFamily(f"{_PREFIX}_stale_feeds", "Feeds without a record of late.", labels=labels)
        fresh = GaugeMetricFamily(f"{_PREFIX}_freshness_seconds", "Age of the newest record.", labels=labels)
        lag = GaugeMetricFamily(
            f"{_PREFIX}_capture_lag_seconds",
            "Largest capture time less exchange time of the newest records, by channel.",
            labels=labels,
        )
        for channel in sorted({feed.channel for feed in status.feeds}):
            feeds = [feed for feed in status.feeds if feed.channel == channel]
            records.add_metric([channel], sum(feed.records for feed in feeds))
            known.add_metric([channel], len(feeds))
            holes.add_metric([channel], sum(feed.hole_ns for feed in feeds) / _NS)
            unsound.add_metric([channel], sum(not feed.sound for feed in feeds))
            ages_ns = _ages_ns(status, feeds)
            stale.add_metric([channel], sum(age_ns > self._stale_ns for age_ns in ages_ns))
            fresh.add_metric([channel], min(ages_ns) / _NS)
            lags = [feed.lag_ms for feed in feeds if feed.lag_ms is not None]
            if lags:
                lag.add_metric([channel], max(lags) / 1000)
        yield from (records, known, holes, unsound, stale, fresh, lag)


def _totals(status: CollectorStatus) -> Iterator[Metric]:
    totals = {
        "captured_records": ("Records that were given a seq.", status.captured),
        "stored_records": ("Records that the bus acknowledged.", status.stored),
        "dropped_records": ("Records that were given a seq and dropped.", status.dropped),
    }
    for name, (text, value) in totals.items():
        yield CounterMetricFamily(f"{_PREFIX}_{name}", text, value=value)
    levels = {
        "lane_held": ("Whether the lane's lease is ours.", status.held),
        "waiting_records": ("Records in memory and in the publisher's window.", status.waiting),
        "spooled_records": ("Records in the spool.", status.spooled),
        "spool_bytes": ("Size of the spool on the disk.", status.spool_bytes),
        "open_connections": ("Connections to the exchange that stand.", status.connections),
    }
    for name, (text, value) in levels.items():
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=int(value))


def _ages_ns(status: CollectorStatus, feeds: Sequence[FeedStatus]) -> list[int]:
    """Return for each feed the age of its newest record, or how long its first one is awaited."""
    return [max(0, status.at_ns - max(feed.last_ns, status.began_ns)) for feed in feeds]
