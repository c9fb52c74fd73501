"""One suite for the store port over every adapter."""

import errno
import os
import secrets
import stat
import threading
from pathlib import Path

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3
from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.adapters.s3 import S3Store
from fluxforge.domain.errors import (
    ConfigurationError,
    DurabilityError,
    NameRefusedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreUnavailableError,
)
from fluxforge.ports.store import Store

KEY = "raw/ready/ccxt/binance-0of1/segment_20261122T10_00001.ndjson"


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        server: EmbeddedS3 = request.getfixturevalue("s3_server")
        return S3Store(server.options(f"{tmp_path.name}-{secrets.token_hex(4)}"))
    return LocalStore(tmp_path / "store") if request.param == "local" else MemoryStore()


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "finished.ndjson"
    path.write_bytes(b"one\ntwo\n")
    return path


def test_a_created_object_reads_back(store: Store) -> None:
    store.create(KEY, b"body")
    assert store.read(KEY) == b"body"
    assert store.size(KEY) == 4


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.create(KEY, b"")
    assert store.read(KEY) == b""
    assert store.size(KEY) == 0


def test_create_refuses_a_taken_key_and_leaves_its_object(store: Store) -> None:
    store.create(KEY, b"first")
    with pytest.raises(ObjectExistsError) as refused:
        store.create(KEY, b"second")
    assert refused.value.key == KEY
    assert store.read(KEY) == b"first"


def test_of_many_creators_of_one_key_exactly_one_wins(store: Store) -> None:
    won: list[int] = []
    ready = threading.Barrier(8)

    def create(n: int) -> None:
        ready.wait()
        try:
            store.create(KEY, b"%d" % n)
        except ObjectExistsError:
            return
        won.append(n)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read(KEY) == b"%d" % won[0]


def test_an_adopted_file_is_an_object(store: Store, finished: Path) -> None:
    store.adopt(KEY, finished)
    assert store.read(KEY) == b"one\ntwo\n"


def test_adopt_refuses_a_taken_key_and_leaves_both(store: Store, finished: Path) -> None:
    store.create(KEY, b"first")
    with pytest.raises(ObjectExistsError):
        store.adopt(KEY, finished)
    assert store.read(KEY) == b"first"
    assert finished.read_bytes() == b"one\ntwo\n"


def test_adopting_a_file_that_is_not_there_says_so(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"absent\.ndjson"):
        store.adopt(KEY, tmp_path / "absent.ndjson")
    assert store.size(KEY) is None


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, None, b"0123456789"), (4, None, b"456789"), (2, 3, b"234"), (8, 10, b"89"), (20, 5, b""), (0, 0, b"")],
)
def test_read_returns_a_range_or_what_there_is_of_it(
    store: Store, offset: int, length: int | None, expected: bytes
) -> None:
    store.create(KEY, b"0123456789")
    assert store.read(KEY, offset=offset, length=length) == expected


def test_reading_what_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(ObjectNotFoundError) as refused:
        store.read(KEY)
    assert refused.value.key == KEY


def test_a_folder_is_no_object(store: Store) -> None:
    store.create(KEY, b"body")
    folder = KEY.rpartition("/")[0]
    assert store.size(folder) is None
    with pytest.raises(ObjectNotFoundError):
        store.read(folder)


def test_what_would_stand_below_an_object_is_not_there(store: Store) -> None:
    store.create("a/b", b"body")
    assert store.size("a/b/c") is None
    with pytest.raises(ObjectNotFoundError):
        store.read("a/b/c")
    store.delete("a/b/c")


def test_keys_are_sorted_as_whole_keys_and_only_those_below_the_prefix(store: Store) -> None:
    keys = ["a/b/1", "a/b-c/1", "a/b.x", "a/b0", "a/é/1", "ab/1", "a/b/10", "a/b/2", ".tmp/attempt/part"]
    for key in keys:
        store.create(key, b"x")
    assert list(store.keys("")) == sorted(keys)
    assert list(store.keys("a")) == sorted(key for key in keys if key.startswith("a/"))
    assert list(store.keys("a/b")) == ["a/b/1", "a/b/10", "a/b/2"]
    assert list(store.keys(".tmp/attempt")) == [".tmp/attempt/part"]
    assert list(store.keys("nowhere")) == []


def test_move_gives_another_key(store: Store) -> None:
    store.create(".tmp/attempt/part", b"body")
    store.move(".tmp/attempt/part", "processed/ccxt/trades/part")
    assert store.size(".tmp/attempt/part") is None
    assert store.read("processed/ccxt/trades/part") == b"body"


def test_move_never_replaces(store: Store) -> None:
    store.create("a", b"from")
    store.create("b", b"to")
    with pytest.raises(ObjectExistsError) as refused:
        store.move("a", "b")
    assert refused.value.key == "b"
    assert (store.read("a"), store.read("b")) == (b"from", b"to")


def test_moving_what_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(ObjectNotFoundError):
        store.move("a/x", "b")
    assert store.size("b") is None


def test_deleting_is_repeatable(store: Store) -> None:
    store.create(KEY, b"body")
    store.delete(KEY)
    store.delete(KEY)
    assert store.size(KEY) is None
    assert list(store.keys("")) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "..", "a/../../b", "a//b", "./a", "a/", "a\0b", ".tmp/half"])
def test_a_key_that_would_leave_the_store_is_refused(store: Store, key: str, finished: Path) -> None:
    for attempt in (
        lambda: store.create(key, b"x"),
        lambda: store.adopt(key, finished),
        lambda: store.read(key),
        lambda: store.size(key),
        lambda: store.move(key, "b"),
        lambda: store.move("b", key),
        lambda: store.delete(key),
    ):
        with pytest.raises(NameRefusedError):
            attempt()


@pytest.mark.parametrize("prefix", ["..", "/", "a/", "a/../b"])
def test_a_prefix_that_would_leave_the_store_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(NameRefusedError):
        list(store.keys(prefix))


def note_fsyncs(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with what is brought to disk, in order: `dir store/a`."""
    synced: list[str] = []
    fsync = os.fsync

    def note(fd: int) -> None:
        kind = "dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        synced.append(f"{kind} {Path(f'/proc/self/fd/{fd}').readlink().relative_to(local.base_dir.parent)}")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    return synced


class TestLocal:
    """What only a file system can do wrong."""

    @pytest.fixture
    def local(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "store")

    def test_adopt_links_on_one_file_system(self, local: LocalStore, finished: Path) -> None:
        local.adopt(KEY, finished)
        assert (local.base_dir / KEY).samefile(finished)

    def test_adopt_copies_where_no_link_can_be_made(
        self, local: LocalStore, finished: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = os.link

        def link_within_the_store(source: Path, target: Path) -> None:
            if source == finished:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
            link(source, target)

        monkeypatch.setattr(os, "link", link_within_the_store)
        local.adopt(KEY, finished)
        assert local.read(KEY) == finished.read_bytes()
        assert not (local.base_dir / KEY).samefile(finished)
        assert list((local.base_dir / ".tmp").iterdir()) == []

    def test_no_temporary_file_is_left_nor_ever_listed(self, local: LocalStore) -> None:
        local.create(KEY, b"body")
        with pytest.raises(ObjectExistsError):
            local.create(KEY, b"body")
        assert list((local.base_dir / ".tmp").iterdir()) == []
        (local.base_dir / ".tmp" / "half").write_bytes(b"half")
        assert list(local.keys("")) == [KEY]

    def test_every_new_name_is_brought_to_disk_down_from_the_base(
        self, local: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced = note_fsyncs(local, monkeypatch)
        local.create("a/b/c", b"body")
        assert [name for name in synced if name.startswith("dir")] == [
            "dir .",
            "dir store",
            "dir store",
            "dir store/a",
            "dir store/a/b",
        ]
        assert sum(name.startswith("file store/.tmp/") for name in synced) == 1
        assert synced.index("dir store/a/b") == len(synced) - 1

    def test_every_parent_made_for_the_base_is_brought_to_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local = LocalStore(tmp_path / "far" / "away" / "store")
        synced = note_fsyncs(LocalStore(tmp_path / "store"), monkeypatch)
        local.create("a", b"body")
        assert [name for name in synced if name.startswith("dir")][:3] == ["dir far/away", "dir far", "dir ."]

    def test_a_taken_name_is_brought_to_disk_before_anybody_is_told_of_it(
        self, local: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local.create("a/b", b"another writer's, not yet on disk")
        synced = note_fsyncs(local, monkeypatch)
        with pytest.raises(ObjectExistsError):
            local.create("a/b", b"body")
        assert synced[-1] == "dir store/a"

    def test_a_move_is_brought_to_disk_where_it_came_from_and_where_it_went(
        self, local: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local.create("a/b", b"body")
        local.create("c/d", b"another body")
        synced = note_fsyncs(local, monkeypatch)
        local.move("a/b", "c/b")
        assert sorted(synced) == ["dir store/a", "dir store/c"]

    def test_a_failed_fsync_is_never_retried_and_enters_nothing(
        self, local: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local.probe()
        tries: list[int] = []

        def fail(fd: int) -> None:
            tries.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(DurabilityError, match="Input/output error"):
            local.create(KEY, b"body")
        assert len(tries) == 1
        assert local.size(KEY) is None

    def test_a_full_disk_is_transient_and_names_path_and_reason(
        self, local: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local.probe()

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full")

        monkeypatch.setattr(os, "link", full)
        with pytest.raises(StoreUnavailableError, match=r"/full: No space left on device"):
            local.create(KEY, b"body")
        assert list((local.base_dir / ".tmp").iterdir()) == []
        monkeypatch.undo()
        local.create(KEY, b"body")

    def test_a_base_dir_that_cannot_be_written_is_named_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ConfigurationError, match=r"file/base"):
            LocalStore(tmp_path / "file" / "base").probe()

    def test_a_full_disk_at_the_start_may_heal(self, local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full")

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", full)
            patch.setattr(Path, "open", full)
            with pytest.raises(StoreUnavailableError, match="No space left on device"):
                local.probe()
        local.probe()

    def test_the_probe_sweeps_what_killed_writers_left_and_nothing_younger(self, local: LocalStore) -> None:
        local.probe()
        stale, young = local.base_dir / ".tmp" / "stale", local.base_dir / ".tmp" / "young"
        stale.write_bytes(b"x")
        young.write_bytes(b"x")
        os.utime(stale, (1, 1))
        local.create(".tmp/attempt/part", b"x")
        os.utime(local.base_dir / ".tmp/attempt/part", (1, 1))
        local.probe()
        assert not stale.exists()
        assert young.exists()
        assert local.size(".tmp/attempt/part") == 1

    def test_an_attempt_goes_with_the_last_object_that_is_moved_out_of_it(self, local: LocalStore) -> None:
        local.create(".tmp/attempt/1", b"a")
        local.create(".tmp/attempt/2", b"b")
        local.move(".tmp/attempt/1", "a/1")
        assert list(local.keys(".tmp")) == [".tmp/attempt/2"]
        local.move(".tmp/attempt/2", "a/2")
        assert list((local.base_dir / ".tmp").iterdir()) == []
        local.create(".tmp/attempt/3", b"c")
        assert local.read(".tmp/attempt/3") == b"c"

    def test_the_probe_sweeps_directories_that_stand_empty_for_long(self, local: LocalStore) -> None:
        local.create(".tmp/attempt/1", b"a")
        local.delete(".tmp/attempt/1")
        local.probe()
        assert (local.base_dir / ".tmp/attempt").is_dir()
        os.utime(local.base_dir / ".tmp/attempt", (1, 1))
        local.probe()
        assert not (local.base_dir / ".tmp/attempt").exists()

    def test_move_without_the_system_call_links_and_unlinks(
        self, local: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fluxforge.adapters.local_files.sys.platform", "other")
        local.create("a", b"from")
        local.create("b", b"to")
        with pytest.raises(ObjectExistsError):
            local.move("a", "b")
        local.move("a", "c")
        assert (local.size("a"), local.read("b"), local.read("c")) == (None, b"to", b"from")

    def test_a_folder_that_was_removed_is_made_again(self, local: LocalStore) -> None:
        local.create("a/b", b"1")
        local.delete("a/b")
        (local.base_dir / "a").rmdir()
        local.create("a/b", b"2")
        assert local.read("a/b") == b"2"
