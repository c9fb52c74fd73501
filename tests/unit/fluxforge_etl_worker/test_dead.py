"""What a person may decide of a segment that cannot be processed."""

from contextlib import suppress
from dataclasses import replace

import orjson
import pytest

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.errors import SegmentCorruptError
from fluxforge.domain.segment import Manifest
from fluxforge_etl_worker.dead import DeadSegmentError, dead_mark, dead_marks, drop, given_up_count, retry
from fluxforge_etl_worker.retire import Retirement
from fluxforge_etl_worker.work import Worker
from tests.unit.fluxforge_etl_worker.samples import ASKS, BIDS, LANE, T0, Recording, S, dataset_rows, sealed, worker_on
from tests.unit.fluxforge_etl_worker.samples import stored as put
from tests.unit.fluxforge_etl_worker.steps import KilledError
from tests.unit.fluxforge_etl_worker.test_work import MortalStore

FEED = FeedKey("orderbook", "BTC-USDT")


def a_lane(store: MemoryStore) -> list[Manifest]:
    """Put a lane of three segments, the middle one of which has other bytes than were sealed."""
    recording = Recording()
    recording.control(T0, Control(Event.STARTED, feeds=(FEED,)))
    recording.control(T0 + 1, Control(Event.RESYNCED, scope=FEED))
    for second in range(1, 30):
        recording.book(T0 + second * S, BIDS, ASKS)
    segments = sealed(recording.lines, [12, 22])
    for number, segment in enumerate(segments):
        body = segment.body.replace(b"100.0", b"900.0", 1) if number == 1 else segment.body
        put(store, body, segment.manifest)
    return [segment.manifest for segment in segments]


def processed(store: MemoryStore) -> tuple[Worker, list[Manifest]]:
    """Return a worker that has met all three segments."""
    worker, manifests = worker_on(store), a_lane(store)
    for manifest in manifests:
        try:
            worker.process(LANE, manifest.name)
        except SegmentCorruptError as error:
            worker.mark_dead(LANE, manifest.name, error)
    return worker, manifests


def test_a_mark_says_what_when_and_why_and_what_stands():
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    (mark,) = dead_marks(worker)
    assert (mark.lane, mark.segment, mark.created_ns, mark.error) == (LANE, dead.name, T0, "SegmentCorruptError")
    assert "sha256" in mark.reason
    assert (mark.has_data, mark.has_manifest, mark.is_committed) == (True, True, False)


def test_a_mark_counts_until_a_person_has_decided_or_its_segment_is_in_parquet():
    store = MemoryStore()
    worker, (first, dead, _) = processed(store)
    layout = worker.options.layout
    worker.mark_dead(LANE, first.name, ValueError("a zombie's word on what was placed before"))
    for key in ("README.md", "of nobody/x.json"):
        store.create(f"{layout.dead_prefix()}/{key}", b"{}")
    assert given_up_count(worker) == 1
    drop(worker, dead_mark(worker, LANE, dead.name))
    assert given_up_count(worker) == 0


def test_a_mark_that_nobody_can_read_is_listed_and_can_be_taken_away():
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    worker.unmark(LANE, dead.name)
    store.create(f"dead/{LANE}/{dead.name}.json", b"{")
    (mark,) = dead_marks(worker)
    assert mark.reason.startswith("its mark cannot be read")
    assert retry(worker, mark) is not None
    assert list(dead_marks(worker)) == []


def test_a_segment_that_was_put_right_is_tried_again_with_its_tail():
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    key = f"raw/ready/ccxt/binance-0of1/{dead.file}"
    whole = store.read(key).replace(b"900.0", b"100.0", 1)
    store.delete(key)
    store.create(key, whole)
    event = retry(worker, dead_mark(worker, LANE, dead.name))
    assert event is not None
    assert (event.segment, event.records) == (dead.name, dead.records)
    assert list(dead_marks(worker)) == []
    assert not [key for key in store.keys("tails") if key.endswith(".dead")]
    assert worker.process(LANE, dead.name).forged


def test_a_file_without_a_manifest_is_left_to_a_run_over_the_folder():
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    store.delete(f"raw/ready/ccxt/binance-0of1/{dead.name}.manifest.json")
    assert retry(worker, dead_mark(worker, LANE, dead.name)) is None
    assert list(dead_marks(worker)) == []


def test_trying_again_without_data_is_refused_and_the_mark_stays():
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    store.delete(f"raw/ready/ccxt/binance-0of1/{dead.file}")
    with pytest.raises(DeadSegmentError, match="its data is gone; put it back below raw/ready/ccxt/binance-0of1/"):
        retry(worker, dead_mark(worker, LANE, dead.name))
    assert worker.is_dead(LANE, dead.name)


def test_a_segment_given_up_is_committed_with_rows_that_name_every_seq_it_held():
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    commit = drop(worker, dead_mark(worker, LANE, dead.name))
    assert (commit.dropped, commit.records, commit.feeds) == (True, 0, ())
    rows = [row for row in dataset_rows(store, "coverage") if row["event"] == "lost"]
    (row,) = rows
    assert (row["channel"], row["symbol"], row["boot"], row["detector"]) == ("orderbook", "BTC-USDT", "9f3c21ab", "etl")
    assert (row["first_seq"], row["last_seq"], row["count"]) == (11, 20, 10)
    assert (row["from_ns"], row["to_ns"]) == (dead.first_capture_ns, dead.last_capture_ns)
    assert row["reason"].startswith("given up by a person, after SegmentCorruptError: segment ")
    books = sorted(row["seq"] for row in dataset_rows(store, "orderbook/books"))
    assert books == [*range(1, 11), *range(21, 30)]
    assert worker.attempts.is_placed(LANE, dead.name)
    assert list(dead_marks(worker)) == []


def test_the_files_of_a_segment_given_up_stay_and_nobody_reads_them():
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    drop(worker, dead_mark(worker, LANE, dead.name))
    deleting = replace(worker, retirement=Retirement(sealed=True))
    outcome = deleting.process(LANE, dead.name)
    assert (outcome.forged, outcome.upkeep.raw_deleted) == (False, 0)
    assert store.size(f"raw/ready/ccxt/binance-0of1/{dead.file}") is not None
    assert store.size(f"tails/{LANE}/{dead.name}.tail.dead") is not None


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_of_giving_up_and_done_again_it_ends_the_same(after):
    lives = 0
    while True:
        store = MemoryStore()
        worker, (_, dead, _) = processed(store)
        mortal = replace(worker, raw=(dying := MortalStore(store, lives, after=after)), output=dying)
        try:
            drop(mortal, dead_mark(mortal, LANE, dead.name))
        except KilledError:
            with suppress(DeadSegmentError):  # the mark went last: it was done
                drop(worker, dead_mark(worker, LANE, dead.name))
        else:
            break
        assert list(dead_marks(worker)) == []
        assert worker.attempts.is_placed(LANE, dead.name)
        assert len([row for row in dataset_rows(store, "coverage") if row["event"] == "lost"]) == 1
        assert list(store.keys(".tmp")) == []
        lives += 1
    assert lives >= 5  # tail mark (stands already), part, commit, place, placed, mark


def test_a_segment_that_is_committed_is_not_given_up():
    store = MemoryStore()
    worker, (first, _, _) = processed(store)
    worker.mark_dead(LANE, first.name, ValueError("oh"))
    with pytest.raises(DeadSegmentError, match="it is committed"):
        drop(worker, dead_mark(worker, LANE, first.name))
    assert worker.is_dead(LANE, first.name)


@pytest.mark.parametrize("manifest", [None, b"{", orjson.dumps({"v": 9})])
def test_a_segment_without_a_manifest_that_can_be_read_is_not_given_up(manifest):
    store = MemoryStore()
    worker, (_, dead, _) = processed(store)
    key = f"raw/ready/ccxt/binance-0of1/{dead.name}.manifest.json"
    store.delete(key)
    if manifest:
        store.create(key, manifest)
    with pytest.raises(DeadSegmentError, match="nobody knows what it held without its manifest"):
        drop(worker, dead_mark(worker, LANE, dead.name))
    assert worker.is_dead(LANE, dead.name)


def test_a_segment_that_is_not_dead_is_told_apart():
    worker, (first, _, _) = processed(MemoryStore())
    with pytest.raises(DeadSegmentError, match="fluxforge dead ls"):
        dead_mark(worker, LANE, first.name)
