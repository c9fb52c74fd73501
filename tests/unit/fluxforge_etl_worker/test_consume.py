import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from prometheus_client import CollectorRegistry
from typing_extensions import override

from fluxforge.adapters.memory.bus import MemoryBus, MemoryClaim
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.errors import BusUnavailableError, SegmentCorruptError
from fluxforge.domain.segment import SealedEvent
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_etl_worker.consume import EtlService
from fluxforge_etl_worker.events import EtlEvents
from fluxforge_etl_worker.retire import Retirement
from tests.unit.fluxforge_collector.made import until
from tests.unit.fluxforge_etl_worker.samples import (
    LANE,
    SEGMENT,
    T0,
    Recording,
    dataset_rows,
    manifest_of,
    stored,
    trade,
    worker_on,
)


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


async def test_a_claim_that_the_bus_forgot_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = MemoryBus(MemoryServer())
    store = MemoryStore()
    first, *rest = events = sealed_in(store, 3)
    ack = MemoryClaim.ack

    async def forgotten(claim: MemoryClaim) -> None:
        if claim.subject.endswith(first.segment):
            raise BusUnavailableError("ack", "no answer")
        await ack(claim)

    monkeypatch.setattr(MemoryClaim, "ack", forgotten)
    for event in events:
        await bus.events.publish(f"segments.sealed.{LANE}.{event.segment}", event.to_json(), message_id=event.segment)
    shutdown = Shutdown()
    shutdown.request()
    service = EtlService(worker_on(store), bus, EtlEvents(CollectorRegistry()), shutdown, instance="one", verb_s=0.05)
    await service.run()
    assert all(store.size(f"commits/{LANE}/{event.segment}.placed") is not None for event in events)
    assert [work.subject.rpartition(".")[2] for work in bus.server.work] == [first.segment]
    assert len(rest) == 2


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


def names(count: int) -> list[str]:
    return [f"segment_20231114T22_{number:05d}" for number in range(1, count + 1)]


def sealed_in(store: MemoryStore, count: int) -> list[SealedEvent]:
    events = []
    for number, name in enumerate(names(count)):
        recording = Recording()
        recording.ticker(T0 + number, last=1.0)
        manifest = stored(store, recording.body, manifest_of(recording.body, name=name, last=T0 + number))
        events.append(SealedEvent(str(LANE), name, manifest.size_bytes, manifest.records, manifest.last_capture_ns))
    return events


async def announce(bus: MemoryBus, event: SealedEvent, message_id: str) -> None:
    await bus.events.publish(f"segments.sealed.{event.lane}.{event.segment}", event.to_json(), message_id=message_id)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the server's state
            await asyncio.sleep(0.01)


def placed(store: MemoryStore) -> list[str]:
    return [key.rpartition("/")[2].removesuffix(".placed") for key in store.keys("commits") if key.endswith(".placed")]


async def test_an_event_that_was_lost_is_found_while_another_segment_is_being_worked_on() -> None:
    server, store = MemoryServer(), MemoryStore()
    bus = MemoryBus(server)
    held, lost, _ = sealed_in(store, 3)
    await announce(bus, held, "held")
    elsewhere = await (await bus.work()).claim(wait_s=1)  # by a worker that takes its time
    assert elsewhere is not None
    shutdown = Shutdown()
    running = asyncio.ensure_future(
        EtlService(worker_on(store), bus, EtlEvents(CollectorRegistry()), shutdown, instance="one").run()
    )
    await eventually(lambda: lost.segment in placed(store))
    await eventually(lambda: len(placed(store)) == 2)
    assert [subject.rpartition(".")[2] for subject, _ in server.events if subject.startswith("segments")] == names(3)
    shutdown.request()
    await running
    assert held.segment not in placed(store)
    assert [work.subject.rpartition(".")[2] for work in server.work] == [held.segment]


async def test_an_event_that_waits_is_not_published_again() -> None:
    server, store = MemoryServer(), MemoryStore()
    bus = MemoryBus(server)
    for number, event in enumerate(sealed_in(store, 4)):
        await announce(bus, event, str(number))
    shutdown = Shutdown()
    shutdown.request()
    await EtlService(worker_on(store), bus, EtlEvents(CollectorRegistry()), shutdown, instance="one").run()
    assert placed(store) == names(4)
    assert len([subject for subject, _ in server.events if subject.startswith("segments")]) == 4


async def test_workers_that_find_the_same_lost_event_publish_it_once() -> None:
    server, store = MemoryServer(), MemoryStore()
    lost = sealed_in(store, 3)
    shutdown = Shutdown()
    running = [
        asyncio.ensure_future(
            EtlService(
                worker_on(store), MemoryBus(server), EtlEvents(CollectorRegistry()), shutdown, instance=str(number)
            ).run()
        )
        for number in range(3)
    ]
    await eventually(lambda: len(placed(store)) == len(lost))
    shutdown.request()
    await asyncio.gather(*running)
    said = [subject for subject, _ in server.events if subject.startswith("segments")]
    assert len(said) == len(set(said)) == len(lost)


async def test_events_that_come_late_in_any_order_and_again_make_every_row_once() -> None:
    server, store = MemoryServer(), MemoryStore()
    bus = MemoryBus(server)
    events = sealed_in(store, 6)
    for number, event in enumerate(Random(3).sample(events * 3, len(events) * 3)):
        await announce(bus, event, str(number))
    shutdown = Shutdown()
    shutdown.request()
    await asyncio.gather(
        *(
            EtlService(
                worker_on(store), MemoryBus(server), EtlEvents(CollectorRegistry()), shutdown, instance=instance
            ).run()
            for instance in ("one", "two")
        )
    )
    assert placed(store) == names(6)
    assert len(dataset_rows(store, "ticker")) == 6
    assert server.work == []


async def test_a_segment_whose_worker_ended_between_its_mark_and_its_event_is_told_of_and_not_worked_on_again() -> None:
    server, store = MemoryServer(), MemoryStore()
    bus = MemoryBus(server)
    (event,) = sealed_in(store, 1)
    mark = worker_on(store).mark_dead(LANE, event.segment, SegmentCorruptError("key", "a", "b"))
    await announce(bus, event, "1")
    await announce(bus, event, "again")
    shutdown = Shutdown()
    shutdown.request()
    await EtlService(worker_on(store), bus, EtlEvents(CollectorRegistry()), shutdown, instance="one").run()
    assert [payload for subject, payload in server.events if subject.startswith("dead.")] == [mark]
    assert server.work == []
    assert placed(store) == []


async def test_what_waits_for_a_person_is_counted_whoever_marked_it() -> None:
    store, registry, shutdown = MemoryStore(), CollectorRegistry(), Shutdown()
    worker_on(store).mark_dead(LANE, SEGMENT, SegmentCorruptError("key", "a", "b"))
    service = EtlService(worker_on(store), MemoryBus(MemoryServer()), EtlEvents(registry), shutdown, instance="one")
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run())
        await until(lambda: registry.get_sample_value("fluxforge_etl_dead_segments"))
        shutdown.request()
    assert registry.get_sample_value("fluxforge_etl_dead_segments") == 1
