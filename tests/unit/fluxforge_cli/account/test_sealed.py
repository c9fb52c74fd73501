from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout
from fluxforge.domain.segment import FeedSeqs, Manifest
from fluxforge_cli.account.sealed import quarantined, sealed, segments
from fluxforge_cli.segments import state
from tests.unit.fluxforge_cli.account.samples import manifest

LANE = Lane("ccxt", "binance", "0of1")
LAYOUT = Layout()


def feed(channel: str, symbol: str | None, boot: str, count: int) -> FeedSeqs:
    return FeedSeqs(channel, symbol, boot, ((1, count),), count)


def commit(of: Manifest, *, attempt: int = 1, lost: int = 0) -> CommitRecord:
    return CommitRecord(
        lane=str(LANE),
        segment=of.name,
        identity=of.identity,
        attempt=attempt,
        parts=(),
        records=of.records,
        quarantined=lost,
        feeds=of.feeds,
        schema_version=1,
        feature_version=1,
        software="test",
        created_ns=4,
    )


def store_with(*manifests: Manifest) -> MemoryStore:
    store = MemoryStore()
    for one in manifests:
        store.create(LAYOUT.manifest_key(LANE, one.name), one.to_json())
        store.create(LAYOUT.segment_key(LANE, one.file), b"x")
    return store


def test_records_are_counted_by_feed_for_these_boots_alone() -> None:
    a = manifest("segment_20261122T10_00001", feed("trades", "A-B", "old", 5), feed("trades", "A-B", "new", 3))
    b = manifest("segment_20261122T10_00002", feed("trades", "A-B", "new", 4), feed("control", None, "new", 1))
    found = segments(store_with(a, b), LAYOUT)
    assert sealed(found, {"new"}) == {("binance", "trades", "A-B"): 7, ("binance", "control", None): 1}


def test_quarantine_comes_from_commits() -> None:
    one = manifest("segment_20261122T10_00001", feed("trades", "A-B", "new", 3), feed("control", None, "new", 2))
    other = manifest("segment_20261122T10_00002", feed("trades", "A-B", "old", 3))
    store = store_with(one, other)
    store.create(LAYOUT.commit_key(LANE, one.name), commit(one, lost=1).to_json())
    store.create(LAYOUT.commit_key(LANE, other.name), commit(other, lost=9).to_json())
    assert quarantined(segments(store, LAYOUT), {"new"}) == {"binance": 1}


def test_the_newest_commit_counts_and_the_state_says_how_far_it_came() -> None:
    one = manifest("segment_20261122T10_00001", feed("trades", "A-B", "new", 3))
    store = store_with(one)
    assert state(segments(store, LAYOUT)[0]) == "sealed"
    store.create(LAYOUT.commit_key(LANE, one.name), commit(one).to_json())
    assert state(segments(store, LAYOUT)[0]) == "committed"
    store.create(LAYOUT.commit_key(LANE, one.name, 2), commit(one, attempt=2, lost=2).to_json())
    store.create(LAYOUT.placed_key(LANE, one.name), b"")
    assert state(segments(store, LAYOUT)[0]) == "in Parquet, 2 quarantined"


def test_a_segment_whose_data_was_deleted_counts_by_its_manifest() -> None:
    one = manifest("segment_20261122T10_00001", feed("trades", "A-B", "new", 3))
    store = store_with(one)
    store.create(LAYOUT.commit_key(LANE, one.name), commit(one).to_json())
    store.create(LAYOUT.placed_key(LANE, one.name), b"")
    before = sealed(segments(store, LAYOUT), {"new"})
    store.delete(LAYOUT.segment_key(LANE, one.file))
    found = segments(store, LAYOUT)
    assert sealed(found, {"new"}) == before == {("binance", "trades", "A-B"): 3}
    assert state(found[0]) == "in Parquet, raw deleted"
    store.delete(LAYOUT.commit_key(LANE, one.name))
    assert state(segments(store, LAYOUT)[0]) == "sealed, no data"
