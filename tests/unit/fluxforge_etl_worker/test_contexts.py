from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import orjson
import pytest
from typing_extensions import override

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.errors import StoreUnavailableError
from fluxforge.domain.segment import Manifest, PreviousSegment
from fluxforge.ports.store import Store
from fluxforge_etl_worker.contexts import Contexts
from fluxforge_etl_worker.retire import Retirement
from fluxforge_etl_worker.upkeep import Upkeep
from fluxforge_etl_worker.work import Worker
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    OPTIONS,
    T0,
    Recording,
    S,
    dataset_rows,
    manifest_of,
    stored,
    trade,
    worker_on,
)
from tests.unit.fluxforge_etl_worker.steps import KilledError
from tests.unit.fluxforge_etl_worker.test_work import MortalStore

HALF_MINUTE = 30 * S
DATASETS = ("orderbook/hf", "orderbook/bars", "trades", "coverage")


def name(n: int) -> str:
    return f"segment_20231114T22_{n:05d}"


def tail_key(n: int) -> str:
    return f"tails/{LANE}/{name(n)}.tail.arrow"


def dead_key(n: int) -> str:
    return f"tails/{LANE}/{name(n)}.tail.dead"


def raw_key(n: int) -> str:
    return f"raw/ready/ccxt/binance-0of1/{name(n)}.ndjson"


def a_lane(store: MemoryStore, segments: int, *, records_s: int = 1) -> list[Manifest]:
    """Put segments of half a minute each, a book and a trade every other second."""
    recording = Recording()
    made: list[Manifest] = []
    previous = None
    feeds = (FeedKey("orderbook", "BTC-USDT"), FeedKey("trades", "BTC-USDT"))
    for n in range(segments):
        recording.lines.clear()
        begin = T0 + n * HALF_MINUTE
        if n == 0:
            recording.control(begin, Control(Event.STARTED, feeds=feeds))
            recording.control(begin + 1, Control(Event.RESYNCED, scope=feeds[0]))
            recording.control(begin + 2, Control(Event.RECOVERED, scope=feeds[1]))
        for second in range(1, 30, records_s):
            recording.book(begin + second * S, BIDS, ASKS)
            recording.trades(begin + second * S + 1, trade(f"{n}-{second}", "buy", 100.0, 1.0))
        last = begin + 29 * S + 1
        manifest = manifest_of(recording.body, name=name(n), first=begin, last=last, previous=previous)
        made.append(stored(store, recording.body, manifest))
        previous = PreviousSegment(name(n), 1, last)
    return made


def rows(store: MemoryStore) -> dict[str, list[str]]:
    return {dataset: sorted(str(row) for row in dataset_rows(store, dataset)) for dataset in DATASETS}


def contexts_on(store: MemoryStore) -> Contexts:
    return Contexts(store, OPTIONS.layout, OPTIONS)


def deleting(store: Store) -> Worker:
    return replace(worker_on(store), retirement=Retirement(sealed=True))


def tails(store: MemoryStore) -> list[str]:
    return [key.rpartition("/")[2] for key in store.keys("tails")]


def test_a_missing_tail_is_built_from_raw_data_the_same_as_the_segment_itself_would_leave_it():
    store = MemoryStore()
    manifests = a_lane(store, 4)
    contexts = contexts_on(store)
    contexts.before(manifests[3])
    built = {key: store.read(key) for key in store.keys("tails")}
    assert len(built) == contexts.upkeep.contexts_built == 3
    own = MemoryStore()
    a_lane(own, 4)
    for n in range(3):
        worker_on(own).process(LANE, name(n))
    assert {key: own.read(key) for key in built} == built


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (3, 0, 5, 1, 4, 2)])
def test_rows_do_not_depend_on_the_order_of_the_segments_nor_on_data_being_deleted(order):
    reference = MemoryStore()
    a_lane(reference, 6)
    for n in range(6):
        worker_on(reference).process(LANE, name(n))
    store = MemoryStore()
    a_lane(store, 6)
    for n in order:
        deleting(store).process(LANE, name(n))
    assert rows(store) == rows(reference)
    assert len(rows(store)["orderbook/hf"]) > 150
    assert not [key for key in store.keys("raw") if key.endswith(".ndjson")]
    assert not [key for key in store.keys("tails") if key.endswith(".dead")]


def test_only_as_much_is_read_back_as_windows_reach():
    store = MemoryStore()
    manifests = a_lane(store, 40)
    contexts = contexts_on(store)
    contexts.before(manifests[-1])
    # what ends within the reach, and one before it for the feeds it knows
    assert contexts.upkeep.contexts_built == OPTIONS.lookback.reach_ns // HALF_MINUTE + 1


def test_a_tail_that_another_worker_stored_before_it_deleted_the_data_is_looked_for_again():
    class Deleting(MemoryStore):
        """The other worker is done with segment 1 just when its data is opened."""

        @override
        def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if key == raw_key(1) and self.size(key) is not None:
                inner = MemoryStore()
                inner._objects = self._objects
                deleting(inner).process(LANE, name(1))
            return super().read(key, offset=offset, length=length)

    store = Deleting()
    manifests = a_lane(store, 3)
    contexts = contexts_on(store)
    history = contexts.before(manifests[2])
    assert history.blind_ns is None
    assert store.size(dead_key(1)) is None
    plain = MemoryStore()
    contexts_on(plain).before(a_lane(plain, 3)[2])


def test_where_data_tail_and_commit_are_gone_a_mark_says_so_and_the_walk_ends():
    store = MemoryStore()
    manifests = a_lane(store, 4)
    store.delete(raw_key(1))
    contexts = contexts_on(store)
    history = contexts.before(manifests[3])
    assert history.blind_ns is not None
    assert orjson.loads(store.read(dead_key(1)))["reason"].startswith("neither data nor tail nor commit")
    assert tails(store) == [f"{name(1)}.tail.dead", f"{name(2)}.tail.arrow"]
    assert contexts.upkeep.tails_dead == 1
    again = contexts_on(store)
    assert again.before(manifests[3]).blind_ns == history.blind_ns
    assert again.upkeep == Upkeep()


def test_what_is_committed_and_swept_is_not_known_but_not_dead():
    store = MemoryStore()
    manifests = a_lane(store, 3)
    worker_on(store).process(LANE, name(1))
    store.delete(raw_key(1))
    store.delete(tail_key(1))
    assert contexts_on(store).before(manifests[2]).blind_ns is not None
    assert store.size(dead_key(1)) is None


def test_unreadable_bytes_of_a_segment_before_are_marked_and_condemn_only_that_segment():
    store = MemoryStore()
    manifests = a_lane(store, 3)
    body = store.read(raw_key(1))
    store.delete(raw_key(1))
    store.create(raw_key(1), body[:-9])
    assert worker_on(store).process(LANE, name(2)).forged
    assert "bytes" in orjson.loads(store.read(dead_key(1)))["reason"]
    assert contexts_on(store).before(manifests[2]).blind_ns is not None


def test_a_store_that_is_away_marks_nothing():
    class Away(MemoryStore):
        @override
        def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if key == raw_key(0):
                raise StoreUnavailableError("read", key, "away")
            return super().read(key, offset=offset, length=length)

    store = Away()
    manifests = a_lane(store, 2)
    with pytest.raises(StoreUnavailableError):
        contexts_on(store).before(manifests[1])
    assert tails(store) == []


def test_a_tail_that_nobody_can_read_is_built_again():
    store = MemoryStore()
    manifests = a_lane(store, 2)
    contexts_on(store).before(manifests[1])
    good = store.read(tail_key(0))
    store.delete(tail_key(0))
    store.create(tail_key(0), good[: len(good) // 2])
    assert contexts_on(store).before(manifests[1]).blind_ns is None
    assert store.read(tail_key(0)) == good


def test_tails_go_when_no_segment_to_come_asks_for_them():
    store = MemoryStore()
    a_lane(store, 20)
    for n in range(20):
        deleting(store).process(LANE, name(n))
    # The last one's own, those within its reach, and the newest before.
    kept = OPTIONS.lookback.reach_ns // HALF_MINUTE + 1
    assert tails(store) == [f"{name(n)}.tail.arrow" for n in range(20 - kept, 20)]


def test_tails_stay_as_long_as_a_segment_between_is_not_committed():
    store = MemoryStore()
    a_lane(store, 20)
    for n in range(20):
        if n != 8:
            deleting(store).process(LANE, name(n))
    kept = {int(key[20:25]) for key in tails(store)}
    assert set(range(2, 8)) <= kept
    before = rows(store)
    deleting(store).process(LANE, name(8))
    reference = MemoryStore()
    a_lane(reference, 20)
    for n in range(20):
        worker_on(reference).process(LANE, name(n))
    assert rows(store) == rows(reference) != before


class Unplacing(MortalStore):
    """The process dies at the first part it would put in its place."""

    @override
    def move(self, key: str, target: str) -> None:
        raise KilledError


def test_tails_stay_as_long_as_a_segment_between_is_committed_but_not_placed():
    store = MemoryStore()
    a_lane(store, 20)
    for n in range(8):
        deleting(store).process(LANE, name(n))
    with suppress(KilledError):
        worker_on(Unplacing(store, lives=10**9, after=False)).process(LANE, name(8))
    assert store.size(f"commits/{LANE}/{name(8)}.json") is not None
    for key in list(store.keys(".tmp")):  # its parts are lost on the way to their place
        store.delete(key)
    for n in range(9, 20):
        deleting(store).process(LANE, name(n))
    deleting(store).process(LANE, name(8))
    assert store.size(f"commits/{LANE}/{name(8)}.r2.json") is not None
    reference = MemoryStore()
    a_lane(reference, 20)
    for n in range(20):
        worker_on(reference).process(LANE, name(n))
    assert rows(store) == rows(reference)


@pytest.mark.parametrize("lives", range(3, 120, 23))
def test_killed_anywhere_along_a_lane_and_started_again_every_row_is_there_once(lives):
    reference = MemoryStore()
    a_lane(reference, 10, records_s=5)
    for n in range(10):
        deleting(reference).process(LANE, name(n))
    store = MemoryStore()
    a_lane(store, 10, records_s=5)
    mortal = MortalStore(store, lives, after=bool(lives % 2))
    with suppress(KilledError):
        for n in range(10):
            deleting(mortal).process(LANE, name(n))
    assert mortal.lives < 0, "it was killed on the way"
    for n in range(10):
        deleting(store).process(LANE, name(n))
    assert rows(store) == rows(reference)
    assert list(store.keys(".tmp")) == []
    assert not [key for key in store.keys("") if key.endswith((".ndjson", ".dead"))]


def test_two_workers_at_once_along_a_lane_make_every_row_once():
    reference = MemoryStore()
    a_lane(reference, 10, records_s=5)
    for n in range(10):
        deleting(reference).process(LANE, name(n))
    store = MemoryStore()
    a_lane(store, 10, records_s=5)
    with ThreadPoolExecutor(4) as pool:
        twice = [name(n) for n in range(10)] * 2
        outcomes = list(pool.map(lambda segment: deleting(store).process(LANE, segment), twice))
    assert sum(outcome.forged for outcome in outcomes) == 10
    assert rows(store) == rows(reference)
    assert not [key for key in store.keys("") if key.endswith((".ndjson", ".dead"))]


def test_data_of_a_segment_placed_before_goes_only_with_its_tail_standing():
    store = MemoryStore()
    a_lane(store, 2)
    for n in range(2):
        worker_on(store).process(LANE, name(n))
    good = store.read(tail_key(1))
    store.delete(tail_key(1))
    outcome = deleting(store).process(LANE, name(1))
    assert (outcome.upkeep.contexts_built, outcome.upkeep.raw_deleted) == (1, 1)
    assert store.read(tail_key(1)) == good


def test_a_recomputation_uses_the_tails_of_segments_whose_data_is_gone():
    store = MemoryStore()
    a_lane(store, 4)
    for n in range(3):
        deleting(store).process(LANE, name(n))
    worker_on(store).process(LANE, name(3))
    before = tails(store)
    layout = replace(OPTIONS.layout, processed_dir="again")
    worker = worker_on(store, options=replace(OPTIONS, layout=layout)).recomputing()
    worker.process(LANE, name(3))
    for dataset in ("orderbook/hf", "orderbook/bars"):
        key = f"{dataset}/exchange=binance/symbol=BTC-USDT/date=2023-11-14/part_{LANE}_{name(3)}.parquet"
        assert store.read(f"again/ccxt/{key}") == store.read(f"processed/ccxt/{key}")
    assert tails(store) == before
    assert not [key for key in store.keys("recomputed") if key.endswith(".dead")]


def test_trades_sent_again_across_segments_are_marked_and_counted():
    store = MemoryStore()
    recording = Recording()
    recording.trades(T0, trade("1", "buy", 1.0, 1.0))
    first = stored(store, recording.body, manifest_of(recording.body, name=name(0), last=T0))
    recording.lines.clear()
    recording.trades(T0 + S, trade("1", "buy", 1.0, 1.0), trade("2", "buy", 1.0, 1.0))
    previous = PreviousSegment(first.name, 1, T0)
    manifest = manifest_of(recording.body, name=name(1), first=T0 + S, last=T0 + S, previous=previous)
    stored(store, recording.body, manifest)
    outcome = worker_on(store).process(LANE, name(1))
    assert outcome.upkeep.resent_trades == 1
    assert [(row["trade_id"], row["resent"]) for row in dataset_rows(store, "trades")] == [("1", True), ("2", False)]
