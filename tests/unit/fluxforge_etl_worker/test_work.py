import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from typing_extensions import override

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.errors import ObjectNotFoundError, SegmentCorruptError
from fluxforge.domain.partition import Dataset
from fluxforge.domain.segment import PreviousSegment
from fluxforge.ports.store import Store
from fluxforge_etl_worker.attempts import CommitMismatchError
from fluxforge_etl_worker.contexts import Contexts
from fluxforge_etl_worker.retire import Retirement
from fluxforge_etl_worker.work import SegmentLostError, Worker
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    MS,
    OPTIONS,
    SEGMENT,
    T0,
    Recording,
    S,
    dataset_rows,
    manifest_of,
    options,
    stored,
    trade,
    worker_on,
)
from tests.unit.fluxforge_etl_worker.steps import KilledError

DATASETS = ["ticker", "trades", "orderbook/books", "orderbook/hf", "orderbook/bars", "coverage"]


class MortalStore(Store):
    """Passes everything on; after `lives` writes the process is dead, before or after the last one took effect."""

    def __init__(self, inner: MemoryStore, lives: int, *, after: bool) -> None:
        self.inner = inner
        self.lives = lives
        self.after = after

    def _write(self, act, *arguments):
        self.lives -= 1
        if self.lives < 0 and not self.after:
            raise KilledError
        act(*arguments)
        if self.lives < 0:
            raise KilledError

    @override
    def create(self, key: str, body: bytes) -> None:
        self._write(self.inner.create, key, body)

    @override
    def adopt(self, key: str, path: Path) -> None:
        self._write(self.inner.adopt, key, path)

    @override
    def move(self, key: str, target: str) -> None:
        self._write(self.inner.move, key, target)

    @override
    def delete(self, key: str) -> None:
        self._write(self.inner.delete, key)

    @override
    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.read(key, offset=offset, length=length)

    @override
    def size(self, key: str) -> int | None:
        return self.inner.size(key)

    @override
    def keys(self, prefix: str) -> Iterator[str]:
        return self.inner.keys(prefix)


def a_recording() -> Recording:
    recording = Recording()
    feeds = (FeedKey("orderbook", "BTC-USDT"), FeedKey("trades", "BTC-USDT"))
    recording.control(T0, Control(Event.STARTED, feeds=feeds))
    for n in range(1, 40):
        at = T0 + n * 100 * MS
        recording.book(at, BIDS, ASKS)
        recording.trades(at + 1, trade(str(n), "buy", 100.0 + n, 1.0))
        recording.ticker(at + 2, last=float(n), bid=1.0)
    recording.lines.append(b"not a record\n")
    return recording


def contents(store: MemoryStore) -> dict[str, list[str]]:
    return {name: sorted(str(row) for row in dataset_rows(store, name)) for name in DATASETS}


def test_a_segment_becomes_parts_a_commit_and_a_mark():
    store = MemoryStore()
    body = a_recording().body
    stored(store, body)
    outcome = worker_on(store).process(LANE, SEGMENT)
    assert outcome.forged
    assert (outcome.records, outcome.quarantined) == (body.count(b"\n"), 1)
    assert outcome.rows["trades"] == outcome.rows["ticker"] == outcome.rows["orderbook/books"] == 39
    commit = CommitRecord.from_json(store.read(f"commits/{LANE}/{SEGMENT}.json"))
    for part in commit.parts:
        assert store.size(part.final_key) == part.size_bytes
        assert part.final_key.endswith(f"/part_{LANE}_{SEGMENT}.parquet")
    assert {feed.channel: feed.count for feed in commit.feeds} == {
        "control": 1,
        "orderbook": 39,
        "ticker": 39,
        "trades": 39,
    }
    assert store.size(f"commits/{LANE}/{SEGMENT}.placed") is not None
    (line,) = store.read(f"quarantine/{LANE}/{SEGMENT}.ndjson").splitlines()
    quarantined = orjson.loads(line)
    assert quarantined["line"] == "not a record"
    assert quarantined["offset"] == body.index(b"not a record")
    assert list(store.keys(".tmp")) == []


def test_processing_twice_changes_nothing():
    store = MemoryStore()
    stored(store, a_recording().body)
    first = worker_on(store).process(LANE, SEGMENT)
    before = {key: store.read(key) for key in store.keys("")}
    again = worker_on(store).process(LANE, SEGMENT)
    assert {key: store.read(key) for key in store.keys("")} == before
    assert (first.forged, again.forged) == (True, False)
    assert again.rows == first.rows


def test_a_commit_that_stands_is_kept_and_the_attempt_that_lost_takes_its_temps_away():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker = worker_on(store)
    manifest = worker.manifest(LANE, SEGMENT)
    contexts = Contexts(store, worker.options.layout, worker.options)
    won, first = worker._commit(manifest, contexts)
    lost, standing = worker._commit(manifest, contexts)
    assert (won, lost) == (True, False)
    assert standing == first
    assert CommitRecord.from_json(store.read(f"commits/{LANE}/{SEGMENT}.json")) == first
    assert sorted(store.keys(".tmp")) == sorted(part.temp_key for part in first.parts)


def test_placing_a_segment_leaves_the_attempts_at_one_whose_name_begins_alike():
    store = MemoryStore()
    stored(store, a_recording().body)
    left, kept = (f".tmp/{LANE}_{SEGMENT}{rest}/00001.parquet" for rest in (".1-0a1b2c3d", ".2.1-0a1b2c3d"))
    store.create(left, b"of an attempt that was killed")
    store.create(kept, b"of a segment with a suffix, at work elsewhere")
    worker_on(store).process(LANE, SEGMENT)
    assert list(store.keys(".tmp")) == [kept]


def left_behind(store: MemoryStore) -> str:
    key = f".tmp/{LANE}_{SEGMENT}.1-0a1b2c3d/00001.parquet"
    store.create(key, b"of an attempt that was killed")
    return key


def test_what_a_kill_after_the_mark_left_goes_when_the_segment_is_met_again():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker_on(store).process(LANE, SEGMENT)
    left_behind(store)
    assert not worker_on(store).process(LANE, SEGMENT).forged
    assert list(store.keys(".tmp")) == []


def test_what_attempts_at_a_condemned_segment_left_goes():
    store = MemoryStore()
    left_behind(store)
    worker_on(store).mark_dead(LANE, SEGMENT, ObjectNotFoundError("x"))
    assert list(store.keys(".tmp")) == []


def test_condemned_between_commit_and_placing_a_segment_keeps_what_its_commit_names():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker = worker_on(store)
    _, commit = worker._commit(worker.manifest(LANE, SEGMENT), Contexts(store, OPTIONS.layout, OPTIONS))
    left_behind(store)
    worker.mark_dead(LANE, SEGMENT, ObjectNotFoundError("x"))
    assert sorted(store.keys(".tmp")) == sorted(part.temp_key for part in commit.parts)


def test_condemned_with_a_commit_that_nobody_can_read_a_segment_keeps_everything():
    store = MemoryStore()
    store.create(f"commits/{LANE}/{SEGMENT}.json", b"{")
    left = left_behind(store)
    worker_on(store).mark_dead(LANE, SEGMENT, ObjectNotFoundError("x"))
    assert list(store.keys(".tmp")) == [left]


def test_a_lost_part_is_made_again_under_a_commit_that_supersedes():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker = worker_on(store)
    worker.process(LANE, SEGMENT)
    reference = contents(store)
    store.delete(f"commits/{LANE}/{SEGMENT}.placed")
    lost = next(key for key in store.keys("processed/ccxt/trades"))
    store.delete(lost)
    worker.process(LANE, SEGMENT)
    assert contents(store) == reference
    again = CommitRecord.from_json(store.read(f"commits/{LANE}/{SEGMENT}.r2.json"))
    assert again.attempt == 2
    assert list(store.keys(".tmp")) == []


def test_other_bytes_in_the_place_of_a_part_are_left_there_and_nothing_is_marked_placed():
    reference = MemoryStore()
    stored(reference, a_recording().body)
    worker_on(reference).process(LANE, SEGMENT)
    place = next(reference.keys("processed/ccxt/trades"))
    store = MemoryStore()
    stored(store, a_recording().body)
    store.create(place, b"a stranger's")
    with pytest.raises(SegmentCorruptError, match="committed sha256"):
        worker_on(store).process(LANE, SEGMENT)
    assert store.read(place) == b"a stranger's"
    assert store.size(f"commits/{LANE}/{SEGMENT}.placed") is None


def test_a_part_cut_short_in_its_place_does_not_pass_for_the_committed_one():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker_on(store).process(LANE, SEGMENT)
    store.delete(f"commits/{LANE}/{SEGMENT}.placed")
    place = next(store.keys("processed/ccxt/trades"))
    cut = store.read(place)[:-1]
    store.delete(place)
    store.create(place, cut)
    with pytest.raises(SegmentCorruptError, match="committed sha256"):
        worker_on(store).process(LANE, SEGMENT)
    assert store.read(place) == cut


def test_a_segment_whose_bytes_changed_is_refused_before_anything_is_committed():
    store = MemoryStore()
    body = a_recording().body
    manifest = manifest_of(body)
    stored(store, body.replace(b'"amount":1.0', b'"amount":2.0', 1), manifest)
    with pytest.raises(SegmentCorruptError, match="sha256"):
        worker_on(store).process(LANE, SEGMENT)
    assert list(store.keys("commits")) == []
    assert list(store.keys("processed")) == []


def test_a_truncated_segment_is_refused():
    store = MemoryStore()
    body = a_recording().body
    stored(store, body[:-20], manifest_of(body))
    with pytest.raises(SegmentCorruptError, match="bytes"):
        worker_on(store).process(LANE, SEGMENT)


def test_a_commit_of_another_segment_of_the_same_name_is_never_placed():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker_on(store).process(LANE, SEGMENT)
    other = MemoryStore()
    stored(other, a_recording().body + b"\n")
    key = f"commits/{LANE}/{SEGMENT}.json"
    other.create(key, store.read(key))
    with pytest.raises(CommitMismatchError):
        worker_on(other).process(LANE, SEGMENT)
    assert other.size(key) is not None
    assert list(other.keys("processed")) == []


RAW = f"raw/ready/ccxt/binance-0of1/{SEGMENT}.ndjson"
DELETING = Retirement(sealed=True)


def deleting_worker(store: Store) -> Worker:
    return replace(worker_on(store), retirement=DELETING)


def test_the_data_goes_when_all_parts_are_placed_and_the_manifest_stays():
    store = MemoryStore()
    stored(store, a_recording().body)
    first = deleting_worker(store).process(LANE, SEGMENT)
    assert first.upkeep.raw_deleted == 1
    assert store.size(RAW) is None
    assert store.size(f"raw/ready/ccxt/binance-0of1/{SEGMENT}.manifest.json") is not None
    again = deleting_worker(store).process(LANE, SEGMENT)
    assert (again.forged, again.rows, again.upkeep.raw_deleted) == (False, first.rows, 0)


def test_data_stays_where_a_part_of_it_is_missing_that_once_was_placed():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker_on(store).process(LANE, SEGMENT)
    store.delete(next(store.keys("processed/ccxt/trades")))
    assert deleting_worker(store).process(LANE, SEGMENT).upkeep.raw_deleted == 0
    assert store.size(RAW) is not None


def test_four_workers_at_once_that_delete_make_every_row_once():
    store = MemoryStore()
    stored(store, a_recording().body)
    outcomes, failures = [], []

    def work() -> None:
        try:
            outcomes.append(deleting_worker(store).process(LANE, SEGMENT))
        except Exception as error:  # noqa: BLE001 - any failure of any thread fails the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(outcome.forged for outcome in outcomes) == 1
    assert len(dataset_rows(store, Dataset.TRADES)) == 39
    assert store.size(RAW) is None


def test_a_worker_that_finds_the_data_deleted_meanwhile_takes_the_commit_that_stands():
    store = MemoryStore()
    stored(store, a_recording().body)

    class Overtaken(MemoryStore):
        """Another worker does everything while we have read the first commit key."""

        def read(self, key, *, offset=0, length=None):
            if key == RAW and self.size(f"commits/{LANE}/{SEGMENT}.placed") is None:
                deleting_worker(store).process(LANE, SEGMENT)
            return store.read(key, offset=offset, length=length)

    overtaken = Overtaken()
    overtaken._objects = store._objects
    outcome = worker_on(overtaken).process(LANE, SEGMENT)
    assert not outcome.forged
    assert outcome.rows["trades"] == 39


def test_another_segment_of_a_name_that_is_in_parquet_is_refused_and_nothing_is_deleted():
    store = MemoryStore()
    stored(store, a_recording().body)
    worker_on(store).process(LANE, SEGMENT)
    other = a_recording()
    other.ticker(T0 + 60 * S, last=1.0)
    store.delete(RAW)
    store.delete(f"raw/ready/ccxt/binance-0of1/{SEGMENT}.manifest.json")
    stored(store, other.body)
    with pytest.raises(CommitMismatchError):
        deleting_worker(store).process(LANE, SEGMENT)
    assert store.read(RAW) == other.body


def test_a_segment_whose_data_is_gone_before_any_commit_is_lost():
    store = MemoryStore()
    stored(store, a_recording().body)
    store.delete(RAW)
    with pytest.raises(SegmentLostError, match=SEGMENT):
        worker_on(store).process(LANE, SEGMENT)


def test_a_segment_that_is_nowhere_is_named():
    with pytest.raises(ObjectNotFoundError):
        worker_on(MemoryStore()).process(LANE, SEGMENT)


def test_the_mark_of_a_dead_segment_keeps_the_first_reason():
    store = MemoryStore()
    worker = worker_on(store)
    first = worker.mark_dead(LANE, SEGMENT, SegmentCorruptError("key", "a", "b"))
    assert worker.mark_dead(LANE, SEGMENT, ObjectNotFoundError("x")) == first
    assert orjson.loads(first)["error"] == "SegmentCorruptError"
    assert worker.is_dead(LANE, SEGMENT)


def test_disabled_channels_are_named_in_the_commit():
    store = MemoryStore()
    stored(store, a_recording().body)
    outcome = worker_on(store, options=options(disabled=frozenset({"orderbook"}))).process(LANE, SEGMENT)
    assert "orderbook/books" not in outcome.rows
    commit = CommitRecord.from_json(store.read(f"commits/{LANE}/{SEGMENT}.json"))
    assert commit.disabled_channels == ("orderbook",)


@pytest.mark.parametrize(("stopped", "crashes"), [(True, 0), (False, 2)])
def test_a_start_in_the_next_segment_is_a_crash_unless_the_one_before_ended_in_order(stopped, crashes):
    store = MemoryStore()
    before = Recording(boot="01dboot0")
    before.ticker(T0, last=1.0)
    if stopped:
        before.control(T0 + 1, Control(Event.STOPPED))
    stored(store, before.body, manifest_of(before.body, last=T0 + 1))
    now = Recording(boot="newboot0")
    feeds = (FeedKey("orderbook", "BTC-USDT"), FeedKey("ticker", "BTC-USDT"))
    now.control(T0 + S, Control(Event.STARTED, feeds=feeds, after=After("01dboot0", 9, T0 + 1)))
    manifest = manifest_of(
        now.body,
        name="segment_20231114T22_00002",
        first=T0 + S,
        last=T0 + S,
        previous=PreviousSegment(SEGMENT, 1, T0 + 1),
    )
    stored(store, now.body, manifest)
    worker_on(store).process(LANE, manifest.name)
    rows = [row for row in dataset_rows(store, "coverage") if row["event"] == "crash"]
    assert len(rows) == crashes
    assert all((row["from_ns"], row["to_ns"], row["detector"]) == (T0 + 1, T0 + S, "etl") for row in rows)
