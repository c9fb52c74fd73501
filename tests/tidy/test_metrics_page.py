"""docs/metrics.md names what the services expose: each family, its type and its labels, and nothing else."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.domain.lane import Lane
from fluxforge.domain.status import CollectorStatus, CompactorStatus, EtlStatus, FeedStatus, LaneStatus
from fluxforge.runtime.metrics import expose_service
from fluxforge.runtime.notices import BusNotices
from fluxforge.runtime.telemetry import serve
from fluxforge_collector.events import CollectorEvents
from fluxforge_compactor.events import CompactorEvents
from fluxforge_etl_worker.events import EtlEvents
from fluxforge_segmenter.events import SegmenterEvents

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
EVERY = "Every service"
LANE = Lane("ccxt", "binance", "0of1")
CLOCK = ManualClock(1_800_000_000_000_000_000)
Row = tuple[str, str, tuple[str, ...]]
"""Name, type and labels of a family."""


def rows_of(heading: str) -> set[Row]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) ?\| [^|]+ \| [^|]+ \|$", section, re.MULTILINE)
    assert len(found) == section.count("| `"), "each row: name, type, labels, unit, meaning"
    return {(name, kind, labels_of(labels)) for name, kind, labels in found}


def labels_of(text: str) -> tuple[str, ...]:
    return tuple(sorted(label.strip() for label in text.split(",") if label.strip()))


def exposed(registry: CollectorRegistry) -> Iterator[Row]:
    for collector in registry._collector_to_names:
        for family in collector.collect():
            labels: Sequence[str] = (
                collector._labelnames
                if isinstance(collector, MetricWrapperBase)
                else getattr(family, "_labelnames", None) or [key for s in family.samples for key in s.labels]
            )
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, tuple(sorted({*labels} - {"le"}))


def collector(registry: CollectorRegistry) -> None:
    feeds = (FeedStatus("trades", "BTC-USDT", 1, 1.0, 1, sound=True),)
    status = CollectorStatus(str(LANE), 1, True, 0, 0, 0, 0, 0, 0, feeds)  # noqa: FBT003
    CollectorEvents(registry, str(LANE), CLOCK).count_from(lambda: status, stale_s=60)


def segmenter(registry: CollectorRegistry) -> None:
    SegmenterEvents(registry).levels_from(lambda: {LANE: LaneStatus(str(LANE), 1, 1, 1, 1, 1, 1, 1)}, CLOCK)


def etl_worker(registry: CollectorRegistry) -> None:
    EtlEvents(registry).age_from(lambda: EtlStatus(1, True, 0, 0, 0, 0, {}))  # noqa: FBT003


def compactor(registry: CollectorRegistry) -> None:
    CompactorEvents(registry).rounds_from(lambda: CompactorStatus(1, True, 0, 0, 0, 0))  # noqa: FBT003


SERVICES = {
    "Collector": ("collector", collector),
    "Segmenter": ("segmenter", segmenter),
    "ETL worker": ("etl-worker", etl_worker),
    "Compactor": ("compactor", compactor),
}


def registry_of(heading: str) -> CollectorRegistry:
    service, own = SERVICES[heading]
    registry = CollectorRegistry()
    expose_service(registry, service, {"scratch": ROOT})
    BusNotices(registry)
    own(registry)
    return registry


@pytest.mark.parametrize("heading", SERVICES)
def test_the_page_names_what_a_service_exposes_and_nothing_else(heading: str) -> None:
    assert set(exposed(registry_of(heading))) == rows_of(EVERY) | rows_of(heading)


@pytest.mark.parametrize("heading", SERVICES)
async def test_a_scrape_answers_with_all_of_them_and_with_no_series_beside(heading: str) -> None:
    server = await serve("127.0.0.1", 0, registry_of(heading), lambda: True, lambda: True)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
    finally:
        await server.close()
    told = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))
    assert told == {name: kind for name, kind, _ in rows_of(EVERY) | rows_of(heading)}


def test_no_symbol_is_a_label() -> None:
    labels = {label for heading in (EVERY, *SERVICES) for *_, names in rows_of(heading) for label in names}
    assert labels == {
        *("service", "version", "kind", "place", "source", "exchange", "shard", "boot"),
        *("channel", "event", "lane", "error", "outcome", "dataset", "what"),
    }
