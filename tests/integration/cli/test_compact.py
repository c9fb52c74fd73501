"""`fluxforge compact` as a person runs it."""

from pathlib import Path

import pytest

from fluxforge.adapters.local_store import LocalStore
from tests.integration.cli.command import run
from tests.unit.fluxforge_compactor.world import PARTITION, World, trades


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Five parts in the directory that `--data` names: segments and datasets stand in one store."""
    made = _Together(tmp_path, "local")
    for number in range(1, 6):
        made.put(number, trades(number * 100, 100))
    return made


class _Together(World):
    @property
    def raw(self) -> LocalStore:
        return self.output


async def test_files_are_merged_with_a_table_of_before_and_after(world: World) -> None:
    data = world.folder / "out"
    code, output = await run("compact", "processed", "--data", data, "--dry-run", cwd=world.folder)
    assert (code, len(world.names())) == (0, 5), output
    assert f"{PARTITION}: 5 files, 500 rows" in output
    assert "1 merges in 1 partitions; nothing was changed" in output

    code, output = await run("compact", data / "processed" / "ccxt", "--data", data, cwd=world.folder)
    assert code == 0, output
    assert "5 files with 500 rows became 1 in 1 partitions" in output
    lines = {line.split()[0]: line.split() for line in output.splitlines() if line.startswith(("before", "after"))}
    assert (lines["before"][1], lines["after"][1]) == ("5", "1")
    world.check()

    code, output = await run("compact", PARTITION, "--data", data, cwd=world.folder)
    assert (code, "0 files with 0 rows became 0" in output) == (0, True), output


async def test_what_cannot_be_merged_is_named_and_the_rest_goes_on(world: World) -> None:
    data = world.folder / "out"
    other = PARTITION.replace("BTC", "ETH")
    for number in (7, 8):
        world.put(number, trades(1, 10), partition=other)
    (world.place / "mine.txt").write_text("x")
    code, output = await run("compact", "processed", "--data", data, cwd=world.folder)
    assert code == 1, output
    assert "have the key exchange, market, boot, seq, idx of another" in output
    assert "every file stays as it is" in output
    assert f"left alone: {PARTITION}/mine.txt: no Parquet file" in output
    assert "5 files with 500 rows became 1" in output


async def test_a_path_with_nothing_in_it_is_refused(world: World) -> None:
    code, output = await run("compact", "processed/none", "--data", world.folder / "out", cwd=world.folder)
    assert code == 2
    assert "no Parquet file at or below 'processed/none'" in output
