"""The partitions port, over a disk, an object store in memory and a real S3."""

import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3
from fluxforge.adapters.local_partitions import LocalPartitions
from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.adapters.s3 import S3Store
from fluxforge.adapters.stored_partitions import StoredPartitions
from fluxforge.domain.errors import ConfigurationError, PartitionChangedError
from fluxforge.domain.journal import Claim, File
from fluxforge.ports.partitions import Partitions
from fluxforge.ports.store import Store

PLACE = "processed/ccxt/trades/exchange=binance/symbol=1000%25X/date=2026-11-22"


@dataclass
class Stand:
    store: Store
    partitions: Partitions

    def names(self) -> list[str]:
        return [key.rpartition("/")[2] for key in self.store.keys(PLACE)]

    def merge(self, token: str, parents: dict[str, bytes], output: bytes) -> tuple[Claim, Path]:
        """Return the claim of a merge whose output is written aside."""
        folder = self.partitions.folder(PLACE, token)
        name = f"merged_{token}_00001.parquet"
        (folder / name).write_bytes(output)
        files = tuple(File(parent, 1, len(body)) for parent, body in parents.items())
        outputs = (File(name, len(files), len(output), "00"),)
        return Claim(PLACE, 1, token, files, outputs, 1, "test"), folder


@pytest.fixture(params=["local", "memory", "s3"])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    if request.param == "local":
        local = LocalStore(tmp_path / "store")
        made = Stand(local, LocalPartitions(local))
    else:
        store: Store = MemoryStore()
        if request.param == "s3":
            server: EmbeddedS3 = request.getfixturevalue("s3_server")
            store = S3Store(server.options(f"test-{secrets.token_hex(4)}"))
        made = Stand(store, StoredPartitions(store, tmp_path / "scratch"))
    made.partitions.probe()
    for name, body in PARENTS.items():
        made.store.create(f"{PLACE}/{name}", body)
    made.store.create(f"{PLACE}/part_c.parquet", b"ccc")
    return made


PARENTS = {"part_a.parquet": b"a", "part_b.parquet": b"bb"}


def test_outputs_take_their_place_and_what_is_not_merged_stays(stand: Stand) -> None:
    claim, folder = stand.merge("t1", PARENTS, b"ab")
    assert not stand.partitions.stand(claim)
    stand.partitions.replace(claim, folder)
    assert stand.partitions.stand(claim)
    assert {"merged_t1_00001.parquet", "part_c.parquet"} <= set(stand.names())
    assert stand.store.read(f"{PLACE}/merged_t1_00001.parquet") == b"ab"
    stand.partitions.clear(claim, merged=True, listed=stand.names())
    assert stand.names() == ["merged_t1_00001.parquet", "part_c.parquet"]
    stand.partitions.clear(claim, merged=True, listed=stand.names())
    assert stand.store.read(f"{PLACE}/part_c.parquet") == b"ccc"


def test_on_a_disk_parents_go_in_the_same_step_and_can_still_be_read_by_whoever_has_them_open(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    stand = Stand(store, LocalPartitions(store))
    for name, body in PARENTS.items():
        store.create(f"{PLACE}/{name}", body)
    with (tmp_path / PLACE / "part_a.parquet").open("rb") as file:
        claim, folder = stand.merge("t1", PARENTS, b"ab")
        stand.partitions.replace(claim, folder)
        assert stand.names() == ["merged_t1_00001.parquet"]
        assert file.read() == b"a"


def test_a_parent_that_changed_stops_it_and_nothing_is_changed(stand: Stand) -> None:
    claim, folder = stand.merge("t1", {**PARENTS, "part_d.parquet": b"d"}, b"abd")
    with pytest.raises(PartitionChangedError, match=r"part_d\.parquet"):
        stand.partitions.replace(claim, folder)
    assert stand.names() == ["part_a.parquet", "part_b.parquet", "part_c.parquet"]
    stand.partitions.clear(claim, merged=False, listed=stand.names())
    assert stand.names() == ["part_a.parquet", "part_b.parquet", "part_c.parquet"]


def test_what_an_abandoned_claim_left_is_deleted_and_its_parents_stay(stand: Stand) -> None:
    claim, folder = stand.merge("t1", PARENTS, b"ab")
    if not stand.partitions.are_ours_alone:
        stand.partitions.replace(claim, folder)
    stand.partitions.clear(claim, merged=False, listed=stand.names())
    assert stand.names() == ["part_a.parquet", "part_b.parquet", "part_c.parquet"]


def test_what_never_claimed_is_swept(stand: Stand) -> None:
    _, folder = stand.merge("t1", PARENTS, b"ab")
    _, other = stand.merge("t2", PARENTS, b"ab")
    with stand.partitions.alone(PLACE) as is_ours:
        assert is_ours
        stand.partitions.sweep(PLACE, {"t2"})
    assert not folder.exists()
    assert other.exists() is stand.partitions.are_ours_alone


def test_one_works_alone_on_a_partition_and_others_on_others(stand: Stand) -> None:
    alone = stand.partitions.alone
    with alone(PLACE) as first, alone(PLACE) as second, alone(f"{PLACE}x") as other:
        assert (first, second, other) == (True, False, True)
    with stand.partitions.alone(PLACE) as again:
        assert again


def test_a_store_that_sweeps_what_is_old_leaves_locks_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    partitions = LocalPartitions(store)
    partitions.probe()
    with partitions.alone(PLACE):
        for path in tmp_path.rglob("*"):
            os.utime(path, (0, 0))
        store.probe()
        with partitions.alone(PLACE) as second:
            assert not second


def test_on_a_disk_nothing_is_moved_into_a_directory_while_it_is_replaced(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create(".tmp/attempt/1", b"a")
    moving = threading.Thread(target=store.move, args=(".tmp/attempt/1", f"{PLACE}/part_a.parquet"))
    with store.holding(PLACE, shared=False):
        moving.start()
        moving.join(0.3)
        assert moving.is_alive()
        assert store.size(f"{PLACE}/part_a.parquet") is None
        store.create(".tmp/attempt/2", b"b")
        store.move(".tmp/attempt/2", f"{PLACE}x/part_a.parquet")
    moving.join(60)
    assert store.size(f"{PLACE}/part_a.parquet") == 1


def test_a_file_system_that_cannot_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = LocalPartitions(LocalStore(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("fluxforge.adapters.local_partitions.exchange", lambda *_: False)
        with pytest.raises(ConfigurationError, match="cannot change places"):
            partitions.probe()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr("fluxforge.adapters.local_partitions._MOUNTS", mounts)
    with pytest.raises(ConfigurationError, match=r"is on nfs4: .* for several machines use S3"):
        partitions.probe()
    assert [path.name for path in (tmp_path / ".tmp").iterdir()] == []
