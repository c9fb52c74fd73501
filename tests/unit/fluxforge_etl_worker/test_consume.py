from dataclasses import replace

from prometheus_client import CollectorRegistry
from typing_extensions import override

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.segment import SealedEvent
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_etl_worker.consume import EtlService
from fluxforge_etl_worker.events import EtlEvents
from fluxforge_etl_worker.retire import Retirement
from tests.unit.fluxforge_etl_worker.samples import LANE, SEGMENT, T0, Recording, manifest_of, stored, trade, worker_on


class WitnessStore(MemoryStore):
    """Notes at every object how many claims the bus still holds."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__()
        self.server = server
        self.held: dict[str, int] = {}

    @override
    def create(self, key: str, body: bytes) -> None:
        super().create(key, body)
        self.held[key] = len(self.server.work)


class WitnessServer(MemoryServer):
    """Notes at every event how many claims are still held."""

    @override
    def store_event(self, subject: str, payload: bytes, message_id: str) -> None:
        super().store_event(subject, payload, message_id)
        self.held = {**getattr(self, "held", {}), subject: len(self.work)}


async def test_a_claim_is_held_until_the_parts_are_placed_and_told_of() -> None:
    server = WitnessServer()
    bus = MemoryBus(server)
    store = WitnessStore(server)
    recording = Recording()
    recording.ticker(T0, last=1.0)
    manifest = stored(store, recording.body)
    event = SealedEvent(str(LANE), SEGMENT, manifest.size_bytes, manifest.records, manifest.last_capture_ns)
    await bus.events.publish(f"segments.sealed.{LANE}.{SEGMENT}", event.to_json(), message_id="1")
    shutdown = Shutdown()
    shutdown.request()
    await EtlService(worker_on(store), bus, EtlEvents(CollectorRegistry()), shutdown, instance="one").run()
    assert store.held[f"commits/{LANE}/{SEGMENT}.placed"] == 1
    assert server.held[f"parts.committed.{LANE}.{SEGMENT}"] == 1
    assert server.work == []


async def test_an_event_that_names_no_segment_is_taken_out_of_the_queue() -> None:
    server = MemoryServer()
    bus = MemoryBus(server)
    event = SealedEvent(str(LANE), "../../secrets", 1, 1, T0)
    await bus.events.publish(f"segments.sealed.{LANE}.x", event.to_json(), message_id="1")
    registry = CollectorRegistry()
    shutdown = Shutdown()
    shutdown.request()
    store = MemoryStore()
    await EtlService(worker_on(store), bus, EtlEvents(registry), shutdown, instance="one").run()
    assert server.work == []
    assert registry.get_sample_value("fluxforge_etl_worker_claims_refused_total") == 1
    assert list(store.keys("")) == []


async def test_what_was_done_around_the_parts_is_counted() -> None:
    bus = MemoryBus(MemoryServer())
    store = MemoryStore()
    recording = Recording()
    recording.trades(T0, trade("1", "buy", 1.0, 1.0), trade("1", "buy", 1.0, 1.0))
    manifest = stored(store, recording.body, manifest_of(recording.body, last=T0))
    event = SealedEvent(str(LANE), SEGMENT, manifest.size_bytes, manifest.records, manifest.last_capture_ns)
    await bus.events.publish(f"segments.sealed.{LANE}.{SEGMENT}", event.to_json(), message_id="1")
    registry = CollectorRegistry()
    shutdown = Shutdown()
    shutdown.request()
    worker = replace(worker_on(store), retirement=Retirement(sealed=True))
    await EtlService(worker, bus, EtlEvents(registry), shutdown, instance="one").run()
    counted = {
        kind: registry.get_sample_value("fluxforge_etl_worker_upkeep_total", {"kind": kind})
        for kind in ("resent_trades", "tails_written", "raw_deleted", "contexts_built")
    }
    assert counted == {"resent_trades": 1, "tails_written": 1, "raw_deleted": 1, "contexts_built": None}
