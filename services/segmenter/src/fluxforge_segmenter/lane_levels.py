"""The levels of a segmenter's lanes as metrics, read at the moment of a scrape; `docs/metrics.md` names them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from fluxforge.domain.lane import Lane
from fluxforge.domain.status import LaneStatus
from fluxforge.ports.clock import Clock

_PREFIX: Final = "fluxforge_segmenter"
_NS: Final = 1_000_000_000


class LaneLevels(Collector):
    """What a segmenter knows of its lanes; `None`: a lane it waits for."""

    def __init__(self, lanes: Callable[[], Mapping[Lane, LaneStatus | None]], clock: Clock) -> None:
        self._lanes = lanes
        self._clock = clock

    @override
    def collect(self) -> Iterator[Metric]:
        now_ns = self._clock.wall_ns()
        held = _gauge("lane_held", "Whether the lane is ours.")
        levels = {
            "open_bytes": "NDJSON of the open segment.",
            "oldest_unsealed_seconds": "Age of the oldest record that is not sealed.",
            "stream_bytes": "What the lane's stream holds.",
            "stream_bytes_max": "What it may hold.",
        }
        gauges = {name: _gauge(name, text) for name, text in levels.items()}
        for lane, status in sorted(self._lanes().items()):
            held.add_metric([str(lane)], int(status is not None))
            if status is not None:
                age_ns = max(0, now_ns - status.unsealed_ns) if status.unsealed_ns else 0
                values = (status.open_bytes, age_ns / _NS, status.stream_bytes, status.stream_bytes_max)
                for gauge, value in zip(gauges.values(), values, strict=True):
                    gauge.add_metric([str(lane)], value)
        yield from (held, *gauges.values())


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=["lane"])
