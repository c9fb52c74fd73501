from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.errors import SegmentCorruptError
from fluxforge_etl_worker.reconcile import is_settled, missing_events
from tests.unit.fluxforge_etl_worker.samples import LANE, T0, Recording, manifest_of, stored, worker_on


def test_only_segments_that_are_neither_placed_nor_dead_are_missing():
    store = MemoryStore()
    recording = Recording()
    recording.ticker(T0, last=1.0)
    for n in range(4):
        stored(store, recording.body, manifest_of(recording.body, name=f"segment_20231114T22_0000{n}"))
    store.create("raw/ready/ccxt/binance-0of1/by_hand.ndjson", recording.body)
    worker = worker_on(store)
    worker.process(LANE, "segment_20231114T22_00000")
    worker.mark_dead(LANE, "segment_20231114T22_00001", SegmentCorruptError("k", "a", "b"))
    found = missing_events(worker)
    assert [event.segment for event in found] == ["segment_20231114T22_00002", "segment_20231114T22_00003"]
    assert found[0].records == 1
    assert found[0].lane == str(LANE)


def test_a_segment_is_settled_once_it_is_placed_or_dead():
    store = MemoryStore()
    recording = Recording()
    recording.ticker(T0, last=1.0)
    for n in range(3):
        stored(store, recording.body, manifest_of(recording.body, name=f"segment_20231114T22_0000{n}"))
    worker = worker_on(store)
    events = missing_events(worker)
    assert [is_settled(worker, event) for event in events] == [False, False, False]
    worker.process(LANE, "segment_20231114T22_00000")
    worker.mark_dead(LANE, "segment_20231114T22_00001", SegmentCorruptError("k", "a", "b"))
    assert [is_settled(worker, event) for event in events] == [True, True, False]


def test_a_segment_whose_data_was_deleted_is_not_missing_and_one_whose_data_is_lost_is():
    store = MemoryStore()
    recording = Recording()
    recording.ticker(T0, last=1.0)
    names = [f"segment_20231114T22_0000{n}" for n in range(5)]
    for name in names:
        stored(store, recording.body, manifest_of(recording.body, name=name))
    worker = worker_on(store)
    for name in names[:2]:
        worker.process(LANE, name)
    for name in (names[0], names[1], names[2], names[4]):
        store.delete(f"raw/ready/ccxt/binance-0of1/{name}.ndjson")
    store.delete(f"commits/{LANE}/{names[1]}.placed")
    found = [event.segment for event in missing_events(worker)]
    # 1 is committed and to be placed, 2 is lost, 3 stands, the data of 4 may be on its way
    assert found == [names[1], names[2], names[3]]


def test_the_newest_segment_without_data_is_missing_once_it_is_committed():
    store = MemoryStore()
    recording = Recording()
    recording.ticker(T0, last=1.0)
    manifest = stored(store, recording.body)
    worker = worker_on(store)
    worker.process(LANE, manifest.name)
    store.delete(f"raw/ready/ccxt/binance-0of1/{manifest.file}")
    store.delete(f"commits/{LANE}/{manifest.name}.placed")
    assert [event.segment for event in missing_events(worker)] == [manifest.name]
    store.delete(f"commits/{LANE}/{manifest.name}.json")
    assert missing_events(worker) == []
