"""What may go by age, and what never does."""

from pathlib import Path

import pytest

from fluxforge.adapters.local_store import LocalStore
from fluxforge.dataset.edit import EditRefusedError
from fluxforge.dataset.place import Place
from fluxforge.domain.commit import CommitRecord
from fluxforge.domain.layout import Layout
from fluxforge_compactor.retention import Ages, Retention
from tests.unit.fluxforge_cli.account.audit.test_merged import compact
from tests.unit.fluxforge_cli.account.audit.world import LANE, World, books, started, stopped, trades

DAY_NS = 86_400_000_000_000
ALL = Ages(raw=DAY_NS, quarantine=2 * DAY_NS, dead=3 * DAY_NS)
LAYOUT = Layout()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two segments in Parquet, one of which has quarantined lines and a mark of former days, and one that is not."""
    world = World(tmp_path)
    first = world.seal(started(), books(1, 10), trades(1, 3))
    world.seal(books(11, 20), trades(4, 5))
    world.forge()
    store = LocalStore(tmp_path)
    store.create(LAYOUT.quarantine_key(LANE, first.name), b"{}\n")
    store.create(LAYOUT.dead_key(LANE, first.name), b"{}\n")
    waiting = world.seal(books(21, 30), stopped(2))
    store.create(LAYOUT.dead_key(LANE, waiting.name), b"{}\n")
    return world


def retention(world: World, ages: Ages) -> Retention:
    store = LocalStore(world.base)
    return Retention(store, store, LAYOUT, ages, Place.of(world.settings).editor())


def expired(world: World, age_ns: int, ages: Ages = ALL) -> list[str]:
    found = retention(world, ages).expired(world.now_ns + age_ns)
    return sorted(f"{one.what} {one.key.rpartition('/')[2]}" for one in found)


def test_each_kind_goes_when_it_is_old_enough_and_never_what_is_not_processed(world: World) -> None:
    one, two = ("segment_20261118T12_00001", "segment_20261118T12_00002")
    raw = [f"raw data {one}.ndjson", f"raw data {two}.ndjson"]
    assert expired(world, DAY_NS // 2) == []
    assert expired(world, DAY_NS) == raw
    assert expired(world, 2 * DAY_NS) == [f"quarantined lines {one}.ndjson", *raw]
    assert expired(world, 9 * DAY_NS) == [
        f"mark of a segment that was dead {one}.json",
        f"quarantined lines {one}.ndjson",
        *raw,
    ]
    assert expired(world, 99 * DAY_NS, Ages()) == []


def test_what_is_deleted_is_gone_and_the_books_still_balance(world: World) -> None:
    kept = retention(world, Ages(raw=DAY_NS))
    for found in kept.expired(world.now_ns + DAY_NS):
        kept.delete(found)
    assert len(list((world.base / "raw").rglob("*.ndjson"))) == 1
    assert expired(world, DAY_NS) == []
    assert all("missing" not in finding for finding in world.findings())


def test_data_goes_where_its_parts_were_merged_and_stays_where_the_merged_file_vanished(world: World) -> None:
    compact(world)
    assert len(expired(world, DAY_NS)) == 2
    (path,) = (world.base / "processed/ccxt/trades").rglob("merged_*.parquet")
    path.unlink()
    assert expired(world, DAY_NS) == []


def test_data_of_a_segment_whose_part_vanished_stays(world: World) -> None:
    world.part("trades", world.manifests[0]).unlink()
    assert expired(world, DAY_NS) == ["raw data segment_20261118T12_00002.ndjson"]


def test_what_a_person_put_there_or_gave_up_stays(world: World) -> None:
    world.write_manifest(world.manifests[0], epoch=0)
    key = world.commit_path(world.manifests[1])
    key.write_bytes(key.read_bytes().replace(b'"dropped": false', b'"dropped": true'))
    assert expired(world, DAY_NS) == []


def test_data_goes_a_grace_after_its_commit_where_the_workers_leave_it(world: World) -> None:
    commits = [CommitRecord.from_json(world.commit_path(one).read_bytes()) for one in world.manifests[:2]]
    age_ns = max(commit.created_ns for commit in commits) + DAY_NS - world.now_ns
    assert len(expired(world, age_ns, Ages(committed=DAY_NS))) == 2
    assert len(expired(world, age_ns - DAY_NS // 2, Ages(committed=DAY_NS))) == 0


def test_partitions_go_when_their_day_has_been_over_for_long_enough_and_coverage_never(world: World) -> None:
    before = world.audit(deep=True).findings
    day_end_ns = -(-world.now_ns // DAY_NS) * DAY_NS
    ages = Ages(parquet=2 * DAY_NS)
    assert expired(world, day_end_ns + 2 * DAY_NS - 1 - world.now_ns, ages) == []
    late_ns = day_end_ns + 2 * DAY_NS
    found = list(retention(world, ages).expired(late_ns))
    datasets = sorted(one.key.removeprefix("processed/ccxt/").partition("/exchange=")[0] for one in found)
    assert datasets == ["orderbook/bars", "orderbook/books", "orderbook/hf", "trades"]
    assert all(one.size_bytes for one in found)
    for one in found:
        retention(world, ages).delete(one)
    assert list(retention(world, ages).expired(late_ns)) == []
    assert [path.parts[-5] for path in (world.base / "processed").rglob("*.parquet")] == ["coverage"]
    audit = world.audit(deep=True)
    assert audit.findings == before
    assert audit.lanes[0].removed == 25


def test_a_partition_that_waits_for_a_segment_stays(world: World) -> None:
    (world.base / LAYOUT.placed_key(LANE, world.manifests[0].name)).unlink()
    kept = retention(world, Ages(parquet=0))
    (found, *_) = kept.expired(world.now_ns + 9 * DAY_NS)
    with pytest.raises(EditRefusedError, match="wait until their segments are placed"):
        kept.delete(found)
