import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from tests.integration.cli.command import names_in, run

pytestmark = pytest.mark.timeout(300)

EXAMPLE = Path(__file__).parents[3] / "config/config.example.yaml"


async def test_help_names_every_verb(tmp_path: Path) -> None:
    code, output = await run("--help", cwd=tmp_path)
    assert code == 0
    verbs = (
        "demo",
        "up",
        "query",
        "segments",
        "health",
        "doctor",
        "config",
        "collect",
        "segment",
        "provision",
        "simulate",
        "etl",
        "dead",
    )
    assert [verb for verb in verbs if f"│ {verb} " not in output] == []


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, fluxforge_cli.main; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()
    heavy = {"pydantic", "duckdb", "pyarrow", "ccxt", "nats", "aiohttp", "numpy", "structlog", "yaml"}
    assert heavy & set(modules) == set()


async def test_the_example_checks_and_shows_what_is_in_force(tmp_path: Path) -> None:
    code, output = await run("config", "check", "--config", EXAMPLE, cwd=tmp_path)
    assert code == 0
    assert "captures: binanceus watchOrderBook (3), binanceus watchTicker (2), binanceus watchTrades (1)" in output
    code, output = await run(
        "config",
        "show",
        "--config",
        EXAMPLE,
        cwd=tmp_path,
        FLUXFORGE__ETL__WORKERS="3",
        FLUXFORGE__CCXT__EXCHANGES__BINANCEUS__API_KEY="hunter2",
    )
    assert code == 0
    assert yaml.safe_load(output)["etl"]["workers"] == 3
    assert "hunter2" not in output


async def test_the_schema_knows_every_group(tmp_path: Path) -> None:
    code, output = await run("config", "schema", cwd=tmp_path)
    assert code == 0
    assert {"storage", "nats", "ccxt", "ingestion", "etl"} <= set(orjson.loads(output)["properties"])


async def test_segments_and_query_work_before_there_is_anything(tmp_path: Path) -> None:
    code, output = await run("segments", cwd=tmp_path)
    assert (code, output.splitlines()[-1]) == (0, "0 segments, 0 records")
    code, output = await run("query", "SELECT count(*) AS n FROM bars", "--format", "csv", cwd=tmp_path)
    assert (code, output) == (0, "n\n0")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("verb", [("segments",), ("query", "SELECT 1"), ("etl", "run", "--mode", "all")])
async def test_a_data_directory_that_is_not_there_is_no_empty_one(tmp_path: Path, verb: tuple[str, ...]) -> None:
    code, output = await run(*verb, "--data", "misspelt", cwd=tmp_path)
    assert (code, "misspelt" in output, names_in(tmp_path)) == (2, True, [])


async def test_etl_run_adopts_the_segments_of_others_and_does_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "data/raw/ready/ccxt/binance-0of1"
    folder.mkdir(parents=True)
    trade = {"id": "7", "side": "buy", "price": 10.5, "amount": 2.0, "cost": 21.0, "timestamp": 1763805600000}
    record = {
        "v": 1,
        "source": "ccxt",
        "exchange": "binance",
        "channel": "trades",
        "symbol": "BTC-USDT",
        "market": "BTC/USDT",
        "boot": "b1",
        "conn": 1,
        "seq": 1,
        "capture_ns": 1763805600123456789,
        "exchange_ms": 1763805600000,
        "data": [trade],
    }
    lines = orjson.dumps(record) + b"\n" + b'{"torn\n'
    (folder / "segment_20251122T10_00001.ndjson").write_bytes(lines)
    code, output = await run("etl", "run", "--mode", "all", cwd=tmp_path)
    assert code == 0, output
    assert "1 segments: 1 processed, 0 done before, 0 cannot be; 2 records, 1 quarantined" in output
    code, output = await run("etl", "run", "--mode", "all", cwd=tmp_path)
    assert (code, "0 processed, 1 done before" in output) == (0, True)
    code, output = await run("query", "SELECT trade_id, price FROM trades", "--format", "csv", cwd=tmp_path)
    assert (code, output) == (0, "trade_id,price\n7,10.5")
    code, output = await run("segments", cwd=tmp_path)
    assert (code, "in Parquet, 1 quarantined" in output) == (0, True)
