"""`fluxforge dataset` as a person runs it."""

import asyncio
from pathlib import Path

import polars as pl
import pytest

from tests.integration.cli.command import run
from tests.unit.fluxforge_cli.account.audit.world import World, books, started, stopped, tickers, trades


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.seal(started(), books(1, 10), trades(1, 3), tickers(1, 4), stopped(2))
    world.forge()
    return world


async def said(world: World, *arguments: object) -> tuple[int, str]:
    return await run("dataset", *arguments, "--data", world.base, cwd=world.base)


async def test_what_there_is_is_listed_looked_into_and_checked(world: World) -> None:
    code, output = await said(world, "ls")
    assert code == 0, output
    assert [line.split()[:2] for line in output.splitlines()[1:]] == [
        ["ccxt", name] for name in ("coverage", "orderbook/bars", "orderbook/books", "orderbook/hf", "ticker", "trades")
    ]
    code, output = await said(world, "stat", "trades", "--symbol", "BTC/USDT")
    assert (code, output.splitlines()[1].split()[:5]) == (0, ["ccxt", "trades", "1", "1", "6"])
    code, output = await said(world, "schema", "bars")
    assert (code, output.splitlines()[3]) == (0, "market,string")
    code, output = await said(world, "verify")
    assert (code, output.count(": whole")) == (0, 6), output
    path = world.part("trades", world.manifests[0])
    path.write_bytes(path.read_bytes()[:100])
    code, output = await said(world, "verify", "trades")
    assert code == 1
    assert f"{path.name}: cannot be read" in output


async def test_rows_are_printed_and_exported(world: World) -> None:
    chosen = ("trades", "--exchange", "binance", "--columns", "seq,trade_id")
    code, output = await said(world, "read", *chosen, "--limit", "2", "--format", "csv")
    assert (code, output.splitlines()) == (0, ["seq,trade_id", "1,1-0", "1,1-1"])
    for suffix, reader in ((".csv", pl.read_csv), (".arrow", pl.read_ipc), (".parquet", pl.read_parquet)):
        file = world.base / f"out{suffix}"
        code, output = await said(world, "export", *chosen[:1], file, *chosen[1:])
        assert code == 0, output
        assert reader(file)["seq"].to_list() == [1, 1, 2, 2, 3, 3]


async def test_rows_are_deleted_and_put_right_and_the_audit_balances(world: World) -> None:
    code, output = await said(world, "delete", "trades", "--where", "seq = 2", "--dry-run")
    assert (code, output.count("2 rows deleted"), output.splitlines()[-1]) == (0, 1, "1 partitions would change")
    code, output = await said(world, "delete", "trades", "--where", "seq = 2")  # nobody answers
    assert (code, "Aborted" in output) == (1, True), output
    code, output = await said(world, "delete", "trades", "--where", "seq = 2", "--yes")
    assert (code, output.splitlines()[-1]) == (0, "1 partitions changed"), output
    file = world.base / "rows.csv"
    await said(world, "export", "trades", file)
    code, output = await said(world, "upsert", "trades", file, "--yes")
    assert (code, output) == (0, "no row is concerned")
    file.write_text(file.read_text().replace(",1-0,", ",A7,"))
    code, output = await said(world, "upsert", "trades", file, "--yes")
    assert (code, ": 1 files, 1 rows corrected" in output) == (0, True), output
    code, output = await said(world, "read", "trades", "--columns", "seq,trade_id", "--format", "csv")
    assert output.splitlines() == ["seq,trade_id", "1,A7", "1,1-1", "3,3-0", "3,3-1"]
    code, output = await said(world, "verify")
    assert (code, output.count(": whole")) == (0, 6), output
    audit = await asyncio.to_thread(world.audit, deep=True)
    assert (audit.findings, audit.lanes[0].removed) == ((), 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("read", "nothing"), "dataset 'nothing': no file below"),
        (("read", "trades", "--start", "soon"), "start: expected a time such as"),
        (("read", "trades", "--columns", "prize"), "column 'prize': expected one of"),
        (("export", "books", "x.csv"), "hold lists, which CSV cannot"),
        (("export", "trades", "x.xlsx"), "expected a file with one of the suffixes .csv, .arrow, .parquet"),
        (("export", "trades", "there.csv"), "there.csv exists"),
        (("delete", "trades", "--where", "seq >"), "where 'seq >'"),
        (("delete", "trades", "--where", "seq > max(seq)"), "not at other rows"),
        (("delete", "trades", "--where", "prize > 1"), "column 'prize': expected one of"),
        (("upsert", "trades", "there.csv"), "column 'mine': expected one of"),
        (("upsert", "trades", "nowhere.csv"), "nowhere.csv"),
        (("upsert", "trades", "there.xlsx"), "expected a file with one of the suffixes"),
    ],
)
async def test_what_cannot_be_is_refused(world: World, arguments: tuple[str, ...], says: str) -> None:
    (world.base / "there.csv").write_text("mine")
    code, output = await said(world, *arguments)
    assert code == 2
    assert says in output
    assert (world.base / "there.csv").read_text() == "mine"
    assert not list(world.base.glob("*.part"))
