import os
from pathlib import Path

import pytest

from fluxforge.domain.block import BlockId
from fluxforge.domain.errors import ConfigurationError, DurabilityError
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool
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
