"""Metrics that every service has: who it is, its errors by class, the room in its local places, its process.

`docs/metrics.md` names them all, and those of each service.
"""

import shutil
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from fluxforge.domain.errors import FluxForgeError
from fluxforge.runtime.settings import Backend, StoreLocation

FOREIGN: Final = "ForeignError"
"""The class under which errors are counted that are none of ours: somebody else decides how many classes there are."""


class ErrorCount:
    """Counts errors by class, wherever a service reports one or tries again. One per registry."""

    __slots__ = ("_errors",)

    def __init__(self, registry: CollectorRegistry) -> None:
        self._errors = Counter("fluxforge_errors_total", "Errors met, by class.", ["kind"], registry=registry)
        for kind in (FOREIGN, *sorted(one.__name__ for one in _kinds(FluxForgeError))):
            self._errors.labels(kind)  # from 0, so that the first one is seen as a rise

    def add(self, error: BaseException | type[FluxForgeError]) -> None:
        """Count an error, or one of a class where nothing was raised."""
        kind = error if isinstance(error, type) else type(error)
        self._errors.labels(kind.__name__ if issubclass(kind, FluxForgeError) else FOREIGN).inc()


class Lags(Collector):
    """A histogram that takes many equal observations at once; seconds. Bounds as of `prometheus_client.Histogram`."""

    def __init__(self, name: str, text: str, bounds_s: Sequence[float], registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self._bounds_s = tuple(bounds_s)
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0
        registry.register(self)

    def observe(self, lag_s: float, count: int = 1) -> None:
        """Take in so many observations of a lag."""
        self._counts[bisect_left(self._bounds_s, lag_s)] += count
        self._sum_s += lag_s * count

    @override
    def collect(self) -> Iterator[Metric]:
        total = 0
        buckets = []
        for bound, count in zip((*map(float, self._bounds_s), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((str(bound), total))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum_s)


class Guarded(Collector):
    """Another collector's metrics, or none of them where it fails: what is wrong with one must not hide the others."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._has_failed = False

    @override
    def collect(self) -> Iterator[Metric]:
        try:
            families = list(self._collector.collect())
        except Exception as error:  # noqa: BLE001 - a service works on, whatever cannot be told of it
            if not self._has_failed:
                name = type(self._collector).__name__
                structlog.get_logger().error("metrics.failed", metrics=name, error=f"{type(error).__name__}: {error}")
            self._has_failed = True
            return
        self._has_failed = False
        yield from families


class _Places(Collector):
    """The disks of local places, looked at when somebody scrapes."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = dict(places)

    @override
    def collect(self) -> Iterator[Metric]:
        prefix = "fluxforge_storage"
        free = GaugeMetricFamily(f"{prefix}_free_bytes", "Free on the disk of a local place.", labels=["place"])
        total = GaugeMetricFamily(f"{prefix}_total_bytes", "Size of the disk of a local place.", labels=["place"])
        for place, path in sorted(self._places.items()):
            room = room_of(path)
            if room is not None:
                free.add_metric([place], room[0])
                total.add_metric([place], room[1])
        yield from (free, total)


def expose_service(registry: CollectorRegistry, service: str, places: Mapping[str, Path]) -> None:
    """Enter what every service tells of itself. `places`: its local directories, by what is kept there."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, of which nobody asks
    info = Gauge("fluxforge_build_info", "Which version runs.", ["service", "version"], registry=registry)
    info.labels(service, version(f"fluxforge-{service}")).set(1)
    registry.register(Guarded(_Places(places)))
    registry.register(Guarded(ProcessCollector(registry=None)))


def local_places(**stores: StoreLocation) -> dict[str, Path]:
    """Return where those of the stores are that stand on a local disk."""
    return {name: store.base_dir for name, store in stores.items() if store.backend == Backend.LOCAL}


def room_of(path: Path) -> tuple[int, int] | None:
    """Return the bytes free for us and the size of the disk a path is on, or would be; None where nobody can tell."""
    for there in (path, *path.absolute().parents):
        try:
            usage = shutil.disk_usage(there)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return usage.free, usage.total
    return None


def _kinds(error: type[FluxForgeError]) -> Iterator[type[FluxForgeError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from _kinds(kind)
