"""What may go by age, and what never does."""

from pathlib import Path

import pytest

from fluxforge.adapters.local_store import LocalStore
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


def expired(world: World, age_ns: int, ages: Ages = ALL) -> list[str]:
    store = LocalStore(world.base)
    found = Retention(store, store, LAYOUT, ages).expired(world.now_ns + age_ns)
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
    assert expired(world, 99 * DAY_NS, Ages(None, None, None)) == []


def test_what_is_deleted_is_gone_and_the_books_still_balance(world: World) -> None:
    store = LocalStore(world.base)
    retention = Retention(store, store, LAYOUT, Ages(raw=DAY_NS, quarantine=None, dead=None))
    for found in retention.expired(world.now_ns + DAY_NS):
        retention.delete(found)
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
