"""The rounds of a compactor as metrics, made of its status at the moment of a scrape; `docs/metrics.md` names them."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from fluxforge.domain.status import CompactorStatus

_PREFIX: Final = "fluxforge_compactor"
_NS: Final = 1_000_000_000


class Rounds(Collector):
    """When the last round ended, and in how many partitions the last try failed. No sample before the first round."""

    def __init__(self, status: Callable[[], CompactorStatus]) -> None:
        self._status = status

    @override
    def collect(self) -> Iterator[Metric]:
        status = self._status()
        ended = GaugeMetricFamily(f"{_PREFIX}_last_round_timestamp_seconds", "When the last round ended.")
        if status.round_ns:
            ended.add_metric([], status.round_ns / _NS)
        yield ended
        text = "Partitions of which the last try failed."
        yield GaugeMetricFamily(f"{_PREFIX}_partitions_failing", text, value=status.failing)
