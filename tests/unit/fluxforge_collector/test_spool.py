import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxforge.domain.block import BlockId
from fluxforge.domain.errors import ConfigurationError, DurabilityError
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool, SpoolFullError
from tests.unit.fluxforge_collector.made import BOOT, chain


@pytest.fixture
def settings(tmp_path: Path) -> SpoolSettings:
    return SpoolSettings(tmp_path / "spool", 1_000_000)


def test_blocks_come_back_as_they_were_first_in_first_out(settings: SpoolSettings) -> None:
    spool = Spool(settings)
    blocks = chain(5)
    spool.append(blocks[:3])
    spool.append(blocks[3:])
    assert [spool.next() for _ in range(6)] == [*blocks, None]


def test_blocks_outlive_the_process(settings: SpoolSettings) -> None:
    blocks = chain(5)
    first = Spool(settings)
    first.append(blocks)
    first.next()  # handed on, not known to be stored
    again = Spool(settings)
    assert again.ids() == [block.id for block in blocks]
    assert (again.first(), again.last()) == (blocks[0], blocks[-1])
    assert again.records == 5
    assert again.size_bytes == first.size_bytes


def test_what_was_sent_before_is_kept_but_not_handed_on(settings: SpoolSettings) -> None:
    blocks = chain(5)
    spool = Spool(settings)
    spool.append(blocks, sent=2)
    assert spool.ids() == [block.id for block in blocks[2:]]
    assert Spool(settings).ids() == [block.id for block in blocks]


def test_a_file_goes_only_when_all_of_it_is_stored(settings: SpoolSettings) -> None:
    blocks = chain(3)
    spool = Spool(settings)
    spool.append(blocks)
    spool.retire(())
    assert not spool.is_empty
    while spool.next():
        pass
    spool.retire([blocks[-1].id])
    assert not spool.is_empty
    spool.retire(())
    assert spool.is_empty
    assert (spool.size_bytes, list(settings.directory.iterdir())) == (0, [])


def test_blocks_up_to_one_that_stands_on_the_bus_are_skipped(settings: SpoolSettings) -> None:
    blocks = chain(5)
    spool = Spool(settings)
    spool.append(blocks)
    assert spool.skip_through(blocks[2].id) == 3
    assert spool.next() == blocks[3]


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_a_torn_tail_is_cut_off_and_everything_before_it_kept(settings: SpoolSettings, cut: int) -> None:
    blocks = chain(3, size=50)
    Spool(settings).append(blocks)
    (path,) = settings.directory.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    spool = Spool(settings)
    assert spool.ids() == [block.id for block in blocks[:2]]
    spool.append([blocks[2]])
    assert [spool.next() for _ in range(3)] == blocks
    assert Spool(settings).ids() == [block.id for block in blocks]


def test_a_block_that_changed_on_disk_is_not_handed_on(settings: SpoolSettings) -> None:
    spool = Spool(settings)
    spool.append(chain(1, size=50))
    (path,) = settings.directory.iterdir()
    path.write_bytes(path.read_bytes().replace(b"yyyyy", b"yyzyy", 1))
    with pytest.raises(DurabilityError, match=f"{BOOT}:1"):
        spool.next()


def test_blocks_and_the_name_of_their_file_are_on_disk_when_append_returns(
    settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(settings)
    synced: list[tuple[Path, int]] = []

    def note(fd: int) -> None:
        synced.append((Path(f"/proc/self/fd/{fd}").readlink(), os.fstat(fd).st_size))

    monkeypatch.setattr(os, "fsync", note)
    spool.append(chain(3))
    (path,) = settings.directory.iterdir()
    assert synced[0] == (path, path.stat().st_size)
    assert [synced_path for synced_path, _ in synced[1:]] == [settings.directory]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a tmpfs")
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_refuses_a_whole_append_and_keeps_what_stood(small_disk: Path) -> None:
    settings = SpoolSettings(small_disk / "spool", 10_000_000)
    spool = Spool(settings)
    first, large, last = chain(3), chain(8, first=4, size=60_000), chain(1, first=4)
    spool.append(first)
    with pytest.raises(SpoolFullError, match="No space left"):
        spool.append(large)
    assert Spool(settings).ids() == [block.id for block in first]
    spool.append(last)
    again = Spool(settings)
    assert [again.next() for _ in range(5)] == [*first, *last, None]


def test_a_disk_that_is_full_from_the_start_leaves_no_torn_file(small_disk: Path) -> None:
    (small_disk / "spool").mkdir()
    (small_disk / "ballast").write_bytes(bytes(250 * 1024))
    settings = SpoolSettings(small_disk / "spool", 10_000_000)
    spool = Spool(settings)
    with pytest.raises(SpoolFullError):
        spool.append(chain(1, size=60_000))
    (small_disk / "ballast").unlink()
    spool.append(chain(2, size=60_000))
    assert Spool(settings).ids() == [block.id for block in chain(2)]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_failed_sync_ends_it_for_good(settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    spool = Spool(settings)

    def fail(_: int) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(DurabilityError, match=os.strerror(error)):
            spool.append(chain(1))
    with pytest.raises(DurabilityError, match=os.strerror(error)):  # a sync is never tried again
        spool.append(chain(1))


def test_a_removal_is_on_disk_when_the_spool_counts_as_empty(
    settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(settings)
    spool.append(chain(1))
    spool.next()
    seen: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(any(settings.directory.iterdir())))
    spool.retire(())
    assert seen == [False]  # one sync, of a directory that holds nothing any more
    assert spool.is_empty


def test_room_is_counted_to_the_byte_that_stands_on_disk(settings: SpoolSettings) -> None:
    blocks = chain(3, size=100)
    Spool(settings).append(blocks)
    (path,) = settings.directory.iterdir()
    size = path.stat().st_size
    assert Spool(SpoolSettings(settings.directory.with_name("fits"), size)).has_room(blocks)
    assert not Spool(SpoolSettings(settings.directory.with_name("lacks"), size - 1)).has_room(blocks)
    assert not Spool(SpoolSettings(settings.directory, size)).has_room(blocks[:1])


def test_a_directory_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file/spool.*ingestion\.spool_dir"):
        Spool(SpoolSettings(tmp_path / "file" / "spool", 500))


def test_new_files_are_named_behind_the_old_ones(settings: SpoolSettings) -> None:
    first = chain(2)
    Spool(settings).append(first)
    spool = Spool(settings)
    while spool.next():
        pass
    spool.retire(())
    more = chain(2, first=3, after=first[-1].id)
    spool.append(more)
    assert Spool(settings).ids() == [BlockId(BOOT, 3), BlockId(BOOT, 4)]


def test_the_directories_it_makes_are_synced_into_their_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    Spool(SpoolSettings(tmp_path / "scratch" / "spool" / "lane", 1_000_000))
    assert {tmp_path, tmp_path / "scratch", tmp_path / "scratch" / "spool"} <= set(synced)
