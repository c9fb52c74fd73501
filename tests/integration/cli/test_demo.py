from pathlib import Path

import duckdb
import orjson
import pytest

from tests.integration.cli.command import run


def ledger(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_demo_ends_by_itself_and_others_count_what_it_counted(tmp_path: Path) -> None:
    code, output = await run("demo", "--seconds", "25", "--data", "demo", cwd=tmp_path)
    assert code == 0, output
    assert "The balance closes." in output
    assert "differs" not in output

    entries = ledger(tmp_path / "demo/ledger.ndjson")
    sent = {(entry["exchange"], key) for entry in entries if entry["channel"] == "trades" for key in _keys(entry)}
    processed = f"{tmp_path}/demo/processed/ccxt"
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


def _keys(entry: dict[str, object]) -> list[object]:
    keys = entry["key"]
    assert isinstance(keys, list)
    return keys


def _example(output: str) -> list[str]:
    """Return the arguments of the first query that the demo offers to copy."""
    line = next(line for line in output.splitlines() if " query --data demo " in line)
    return ["query", "--data", "demo", line.split('"')[1]]
