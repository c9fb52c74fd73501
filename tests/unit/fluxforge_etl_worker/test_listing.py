import pytest

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.errors import NameRefusedError
from fluxforge.domain.layout import Layout
from fluxforge_etl_worker.listing import Listed, checked_name, is_lost, listed
from tests.unit.fluxforge_etl_worker.samples import LANE

READY = "raw/ready/ccxt/binance-0of1"


def store_of(*keys: str) -> MemoryStore:
    store = MemoryStore()
    for key in keys:
        store.create(key, b"")
    return store


def test_a_segment_is_known_by_its_manifest_by_its_data_or_by_both():
    store = store_of(
        f"{READY}/b.ndjson.zst", f"{READY}/b.manifest.json", f"{READY}/a.manifest.json", f"{READY}/c.ndjson"
    )
    assert listed(store, Layout()) == {
        LANE: [
            Listed(LANE, "a", None, has_manifest=True),
            Listed(LANE, "b", "b.ndjson.zst", has_manifest=True),
            Listed(LANE, "c", "c.ndjson", has_manifest=False),
        ]
    }


def test_data_is_lost_unless_it_may_be_on_its_way():
    (segments,) = listed(store_of(f"{READY}/a.manifest.json", f"{READY}/b.manifest.json"), Layout()).values()
    assert [is_lost(segment, segments[-1]) for segment in segments] == [True, False]


@pytest.mark.parametrize("file", ["a b.ndjson", "a b.manifest.json", ".ndjson.ndjson"])
def test_a_name_that_may_not_stand_in_a_parts_name_is_refused(file):
    with pytest.raises(NameRefusedError):
        listed(store_of(f"{READY}/{file}"), Layout())


@pytest.mark.parametrize("suffix", ["r2", "r10", "placed", "manifest", "tail"])
def test_a_name_whose_keys_would_be_those_of_another_segment_is_refused_with_one_that_may_be(suffix):
    store = store_of(f"{READY}/x.ndjson", f"{READY}/x.{suffix}.ndjson")
    with pytest.raises(NameRefusedError, match=f"'x.{suffix}' refused.*rename its files to 'x_{suffix}'"):
        listed(store, Layout())
    assert [name.name for name in listed(store_of(f"{READY}/x_{suffix}.ndjson"), Layout())[LANE]] == [f"x_{suffix}"]


@pytest.mark.parametrize("name", ["x.r", "x.r2a", "r2", "x.2", "x.placed.1"])
def test_a_name_that_only_looks_alike_may_stand(name):
    assert checked_name(name) == name


def test_other_files_are_left_alone():
    assert listed(store_of(f"{READY}/notes.txt"), Layout()) == {}
