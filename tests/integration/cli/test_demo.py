import asyncio
import re
import shlex
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.cli.command import run
from tests.s3_server import need_s3


def ledger(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_demo_ends_by_itself_and_others_count_what_it_counted(tmp_path: Path) -> None:
    code, output = await run("demo", "--seconds", "30", cwd=tmp_path)
    assert code == 0, output
    assert "The balance closes." in output
    assert "differs" not in output

    entries = ledger(tmp_path / "data/demo/ledger.ndjson")
    sent = {(entry["exchange"], key) for entry in entries if entry["channel"] == "trades" for key in _keys(entry)}
    processed = f"{tmp_path}/data/demo/processed/ccxt"
    ((trades, books, tickers, bars),) = duckdb.sql(
        f"""SELECT (SELECT count(DISTINCT (exchange, trade_id)) FROM '{processed}/trades/**/*.parquet'),
                   (SELECT count(*) FROM '{processed}/orderbook/books/**/*.parquet'),
                   (SELECT count(*) FROM '{processed}/ticker/**/*.parquet'),
                   (SELECT count(*) FROM '{processed}/orderbook/bars/**/*.parquet')"""
    ).fetchall()
    assert trades == len(sent) > 0
    kinds = {"data", "snapshot"}
    assert tickers == sum(1 for entry in entries if entry["channel"] == "ticker" and entry["kind"] in kinds) > 0
    assert (
        books
        == sum(1 for entry in entries if entry["channel"] == "orderbook" and entry["kind"] in {*kinds, "rest"})
        > 0
    )
    assert bars > 0

    code, again = await run(*_example(output), cwd=tmp_path)
    assert code == 0
    assert "BTC-USDT" in again
    await _follow_the_readme(tmp_path)


def _keys(entry: dict[str, object]) -> list[object]:
    keys = entry["key"]
    assert isinstance(keys, list)
    return keys


def _example(output: str) -> list[str]:
    """Return the arguments of the first query that the demo offers to copy."""
    line = next(line for line in output.splitlines() if " query --data data/demo " in line)
    return shlex.split(line)[1:]


def _tell_again(trades_dir: Path) -> None:
    """Put trades beside a part as a venue would send them again, and as they would be fetched after a hole."""
    part = next(trades_dir.rglob("*.parquet"))
    trades = pq.ParquetFile(part).read()
    for column, value in (("resent", True), ("source_kind", "backfill")):
        at = trades.schema.get_field_index(column)
        again = trades.set_column(at, trades.schema.field(at), pa.array([value] * len(trades), trades.schema.types[at]))
        pq.write_table(again, part.with_name(part.name.replace("part_", f"part_{column}_")))


async def _follow_the_readme(folder: Path) -> None:
    """Run what the README says to ask of the demo's data, as it is printed there."""
    _tell_again(folder / "data/demo/processed/ccxt/trades")
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    query = next(line for line in readme.splitlines() if line.startswith(".venv/bin/fluxforge query"))
    code, output = await run(*shlex.split(query)[1:], "--format", "csv", cwd=folder)
    assert (code, "BTC-USDT" in output) == (0, True), output
    trades = [line.split(",")[:3] for line in output.splitlines()[1:]]
    programs = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(programs) == 4
    for program in programs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, cwd=folder, stdout=PIPE, stderr=STDOUT
        )
        text, _ = await process.communicate()
        assert process.returncode == 0, text.decode()
        assert b"BTC-USD" in text, text.decode()
        if " AS vwap" in program or "vwap=" in program:  # they count what `fluxforge query` counts
            printed = [re.findall(r"[\w-]+", line)[:3] for line in text.decode().splitlines()]
            assert [line for line in trades if line not in printed] == [], text.decode()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("storage", ["s3", "hybrid"])
async def test_a_demo_on_s3_balances_to_the_record(tmp_path: Path, storage: str) -> None:
    need_s3()
    code, output = await run("demo", "--seconds", "6", "--storage", storage, cwd=tmp_path)
    assert code == 0, output
    assert "The balance closes." in output
    assert "\nbalanced\n" in output
    data = tmp_path / "data" / "demo"
    assert (data / "raw" / "ready").exists() == (storage == "hybrid")
    assert not (data / "processed").exists()
