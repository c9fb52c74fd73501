"""Which files count, where the journal tells."""

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.adapters.stored_partitions import StoredPartitions
from fluxforge.dataset import Datasets, Selection
from fluxforge.dataset.place import Place
from fluxforge.domain.journal import Claim, File, Settlement
from fluxforge.domain.layout import JOURNAL, Layout, claim_key
from fluxforge.runtime.journals import Journals
from fluxforge.runtime.live import live_keys
from tests.unit.fluxforge_compactor.world import PARTITION, World, trades

OTHER = PARTITION.replace("BTC-USDT", "ETH-USDT")


class Told(MemoryStore):
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    @override
    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self.asked.append(f"read {key}")
        return super().read(key, offset=offset, length=length)

    @override
    def keys(self, prefix: str) -> Iterator[str]:
        self.asked.append(f"keys {prefix}")
        return super().keys(prefix)


def merged(store: MemoryStore, partition: str) -> None:
    """Let two parts have become one file, and stand beside it."""
    for name in ("part_1.parquet", "part_2.parquet", "merged_ab_00001.parquet"):
        store.create(f"{partition}/{name}", b"")
    parents = (File("part_1.parquet", 1, 0), File("part_2.parquet", 1, 0))
    claim = Claim(partition, 1, "ab", parents, (File("merged_ab_00001.parquet", 2, 0, "00"),), 1, "test")
    assert Journals(store).claim(claim)
    Journals(store).settle(claim, Settlement(merged=True, created_ns=2))


def test_what_was_merged_counts_no_more_and_files_are_listed_before_the_journal() -> None:
    store = Told()
    merged(store, PARTITION)
    assert list(live_keys(store, "processed", follows_journal=True)) == [f"{PARTITION}/merged_ab_00001.parquet"]
    listed = [what for what in store.asked if what.startswith("keys")]
    assert listed == ["keys processed", f"keys {JOURNAL}/processed"]
    assert store.asked.index(listed[0]) < store.asked.index(f"read {claim_key(PARTITION, 1)}")


def test_only_journals_of_what_is_asked_for_are_read() -> None:
    store = Told()
    for partition in (PARTITION, OTHER):
        merged(store, partition)
    store.asked.clear()
    datasets = Datasets(Place(store, store, StoredPartitions(store, Path("unused")), Layout(), "memory"))
    found = datasets.files("trades", Selection.of(symbol="BTC/USDT"))
    assert found == {"ccxt": [f"{PARTITION}/merged_ab_00001.parquet"]}
    read = [what for what in store.asked if what.startswith("read")]
    assert read
    assert all(PARTITION in what for what in read)


def test_on_a_disk_the_directory_alone_tells(tmp_path: Path) -> None:
    world = World(tmp_path, "local")
    world.put(1, trades(1, 10))
    world.put(2, trades(11, 10))
    world.compactor().compact(PARTITION)
    assert list(live_keys(world.output, "processed", follows_journal=False)) == [f"{PARTITION}/{world.names()[0]}"]
