"""`fluxforge repartition` as a person runs it."""

from pathlib import Path

import pytest

from fluxforge.adapters.local_files import locked
from fluxforge.adapters.local_store import LocalStore
from fluxforge.dataset import Datasets
from fluxforge.dataset.repartition import Bench
from tests.integration.cli.command import run
from tests.unit.fluxforge_compactor.world import PARTITION, World, trades

OTHER = PARTITION.replace("BTC-USDT", "ETH-USDT")
BY_DAY = ("--partition-cols", "exchange,date")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Five parts of two markets."""
    made = World(tmp_path, "local")
    for number in range(1, 4):
        made.put(number, trades(number * 100, 100))
    for number in range(4, 6):
        made.put(number, trades(number * 100, 100, boot="b2"), partition=OTHER)
    return made


def rows(world: World, root: str) -> list[str]:
    frame = Datasets.at(world.folder / "out", processed_dir=root).scan("trades", resent=True)
    return sorted(map(str, frame.collect().rows()))


async def test_datasets_stand_in_a_new_root_by_other_columns(world: World) -> None:
    data = world.folder / "out"
    code, output = await run("repartition", "processed", "by_day", *BY_DAY, "--data", data, "--dry-run", cwd=data)
    assert code == 0, output
    assert "ccxt/trades exchange=binance/date=2025-12-09: 5 files, 500 rows" in output
    assert "1 units, 0 of which stand in by_day already; nothing was changed" in output
    assert not (data / "by_day").exists()
    assert not (data / "journal").exists()

    code, output = await run("repartition", data / "processed", data / "by_day", *BY_DAY, "--data", data, cwd=data)
    assert code == 0, output
    assert "1 units, 0 of which stood already: verified row for row" in output
    table = next(line.split() for line in output.splitlines() if line.startswith("ccxt/trades"))
    assert table[1:5] == ["1", "5", "1", "500"]
    assert [path.parent.name for path in (data / "by_day").rglob("*.parquet")] == ["date=2025-12-09"]
    assert rows(world, "by_day") == rows(world, "processed")

    code, output = await run("repartition", "processed/ccxt/trades", "by_day", *BY_DAY, "--data", data, cwd=data)
    assert (code, "1 units, 1 of which stood already" in output) == (0, True), output

    variables = {"FLUXFORGE__STORAGE__PATHS__PROCESSED_DIR": "by_day"}
    code, output = await run("dataset", "stat", "trades", "--data", data, cwd=data, **variables)
    assert (code, "500" in output) == (0, True), output
    code, output = await run("dataset", "verify", "--data", data, cwd=data, **variables)
    assert (code, "trades: whole" in output) == (0, True), output
    code, output = await run("query", "select count(*) as n from trades", "--data", data, cwd=data, **variables)
    assert (code, "500" in output) == (0, True), output
    deleting = ("dataset", "delete", "trades", "--where", "boot = 'b2'", "--yes", "--data", data)
    code, output = await run(*deleting, cwd=data, **variables)
    assert (code, "200 rows deleted" in output) == (0, True), output
    code, output = await run("dataset", "verify", "--data", data, cwd=data, **variables)
    assert (code, "trades: whole" in output) == (0, True), output


async def test_what_cannot_be_read_is_named_and_the_rest_goes_on(world: World) -> None:
    data = world.folder / "out"
    later = data / PARTITION.replace("2025-12-09", "2025-12-10")
    later.mkdir()
    (later / "part_torn.parquet").write_bytes(b"torn")
    (data / "processed" / "mine.parquet").write_bytes(b"mine")
    for _ in range(2):
        code, output = await run("repartition", "processed", "by_day", *BY_DAY, "--data", data, cwd=data)
        assert code == 1, output
        assert "failed: ccxt/trades exchange=binance/date=2025-12-10: processed/ccxt/trades" in output
        assert "part_torn.parquet: cannot be read" in output
        assert "failed: processed/mine.parquet: expected a file of a dataset" in output
        assert "1 units, " in output
    assert len(rows(world, "by_day")) == 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("processed", "by_day", "--partition-cols", "exchange,day"), "partition column 'day': expected one of"),
        (("processed", "by_day", *BY_DAY, "--sort", "price"), "expected --sort ts, was 'price'"),
        (("processed", "processed", *BY_DAY), "'processed' is taken"),
        (("processed", "processed/new", *BY_DAY), "expected one name for the new root"),
        (("processed/ccxt", "journal", *BY_DAY), "'journal' is taken"),
        (("processed", ".tmp", *BY_DAY), "expected one name for the new root"),
        (("processed", "raw", *BY_DAY), "'raw' is taken"),
        (("processed", "notes", *BY_DAY), "there is 'notes/read.me' already"),
        ((PARTITION, "by_day", *BY_DAY), "which is a part of a dataset"),
        (("nothing", "by_day", *BY_DAY), "no Parquet file at or below 'nothing'"),
    ],
)
async def test_wrong_usage_says_what_would_be_right(world: World, arguments: tuple[str, ...], said: str) -> None:
    data = world.folder / "out"
    (data / "notes").mkdir()
    (data / "notes" / "read.me").write_text("x")
    code, output = await run("repartition", *arguments, "--data", data, cwd=world.folder)
    assert (code, said in output) == (2, True), output


async def test_the_second_of_two_at_once_is_refused(world: World) -> None:
    data = world.folder / "out"
    with locked(Bench.of(LocalStore(data), data, "by_day").lock):
        code, output = await run("repartition", "processed", "by_day", *BY_DAY, "--data", data, cwd=data)
    assert (code, "another process is at work on 'by_day'" in output) == (1, True), output
