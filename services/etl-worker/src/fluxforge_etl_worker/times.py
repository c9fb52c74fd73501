"""Times of an ETL worker as metrics, read at the moment of a scrape; `docs/metrics.md` names them.

A time that is not known has no sample: 0 would be the oldest of all.
"""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from fluxforge.domain.status import EtlStatus

_PREFIX: Final = "fluxforge_etl"
_NS: Final = 1_000_000_000


class OldestSegment(Collector):
    """How old the oldest segment is that waits for any worker; it ages while the bus is away, too."""

    def __init__(self, status: Callable[[], EtlStatus]) -> None:
        self._status = status

    @override
    def collect(self) -> Iterator[Metric]:
        text = "Age of the oldest announcement that is not acknowledged."
        yield GaugeMetricFamily(f"{_PREFIX}_oldest_segment_seconds", text, value=self._status().oldest_age_ns / _NS)


class Commits(Collector):
    """When this process last committed, and how new the rows are that it committed."""

    def __init__(self) -> None:
        self._last_ns = 0
        self._newest_ns: dict[str, int] = {}

    def committed(self, at_ns: int) -> None:
        """Take note of a commit."""
        self._last_ns = at_ns

    def rows_until(self, dataset: str, last_capture_ns: int) -> None:
        """Take note of rows up to a time."""
        self._newest_ns[dataset] = max(last_capture_ns, self._newest_ns.get(dataset, 0))

    @override
    def collect(self) -> Iterator[Metric]:
        last = GaugeMetricFamily(f"{_PREFIX}_last_commit_timestamp_seconds", "When a segment was last committed.")
        if self._last_ns:
            last.add_metric([], self._last_ns / _NS)
        newest = GaugeMetricFamily(
            f"{_PREFIX}_newest_row_timestamp_seconds", "Capture of the newest rows.", labels=["dataset"]
        )
        for dataset, ns in sorted(self._newest_ns.items()):
            newest.add_metric([dataset], ns / _NS)
        yield from (last, newest)
