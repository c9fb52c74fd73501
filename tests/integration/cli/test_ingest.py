"""`fluxforge ingest databento` as a person calls it."""

from pathlib import Path

import pytest

from tests.integration.cli.command import names_in, run
from tests.unit.fluxforge_collector.databento_source.dbn import file_of, quote, trade, written

pytestmark = pytest.mark.timeout(300)


async def test_files_become_parquet_in_two_commands(tmp_path: Path) -> None:
    trades = written(tmp_path / "t.dbn", "trades", [trade(n, 10.0) for n in range(1, 4)])
    quotes = written(tmp_path / "q.dbn", "mbp-1", [quote(n, 10.0, 10.5) for n in range(1, 4)])
    code, output = await run("ingest", "databento", trades, quotes, "--data", tmp_path / "data", cwd=tmp_path)
    assert (code, output) == (0, "databento-glbxmdp3-0of1: 1 segment; records: orderbook 3, trades 3")
    code, output = await run("etl", "run", "--mode", "all", "--data", tmp_path / "data", cwd=tmp_path)
    assert code == 0
    assert "orderbook/books 3" in output
    assert "trades 3" in output
    code, output = await run("audit", "--data", tmp_path / "data", cwd=tmp_path)
    assert code == 0, output


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"no market data at all", "not a DBN file: it does not begin with a DBN header"),
        (file_of("trades", [trade(1, 1.0)])[:-9], "cut off: it ends within a record, 39 bytes into it"),
        (file_of("statistics", []), "schema statistics is not taken in; expected one of trades, mbp-1, mbp-10, mbo, "),
        (None, "No such file or directory"),
    ],
)
async def test_a_bad_file_ends_with_2_and_one_line(tmp_path: Path, body: bytes | None, reason: str) -> None:
    good, bad = written(tmp_path / "good.dbn", "trades", [trade(1, 1.0)]), tmp_path / "bad.dbn"
    if body is not None:
        bad.write_bytes(body)
    code, output = await run("ingest", "databento", good, bad, "--data", tmp_path / "data", cwd=tmp_path)
    assert code == 2
    assert output.startswith(f"fluxforge: {bad}: {reason}")
    assert "\n" not in output.strip()
    assert not (tmp_path / "data" / "raw").exists()
    assert "raw" not in names_in(tmp_path)
