from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxforge.domain.errors import UsageError
from fluxforge_cli.datasets import VIEWS, open_datasets
from fluxforge_cli.files import local_files
from fluxforge_cli.query import run_sql
from fluxforge_etl_worker import schemas


def put(processed: Path, source: str, dataset: str, partition: str, table: pa.Table) -> None:
    folder = processed / source / dataset / partition
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"part_{len(list(folder.iterdir()))}.parquet")


def trades(symbol: str, rows: list[tuple[int, str, bool, str | None]]) -> pa.Table:
    columns: dict[str, list[object]] = {
        "exchange": ["binance"] * len(rows),
        "symbol": [symbol] * len(rows),
        "ts": [1_700_000_000_000_000 + seq for seq, *_ in rows],
        "boot": ["b1"] * len(rows),
        "seq": [seq for seq, *_ in rows],
        "trade_id": [trade_id for _, trade_id, *_ in rows],
        "resent": [resent for *_, resent, _ in rows],
        "source_kind": [kind for *_, kind in rows],
    }
    filled = {
        field.name: pa.array(columns.get(field.name, [None] * len(rows)), type=pa.string()).dictionary_encode()
        if pa.types.is_dictionary(field.type)
        else pa.array(columns.get(field.name, [None] * len(rows)), type=field.type)
        for field in schemas.TRADES
    }
    return pa.table(filled).cast(schemas.TRADES)


def rows(processed: Path, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in run_sql(open_datasets(local_files(processed)), sql)[1]]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_without_files_is_empty_and_has_its_schema(tmp_path: Path, view: str) -> None:
    columns, found = run_sql(open_datasets(local_files(tmp_path / "absent")), f"SELECT * FROM {view}")
    assert list(found) == []
    assert columns[:4] == ["source", "exchange", "symbol", "market"]
    assert columns[-1] == "date"


def test_an_empty_view_can_be_asked_what_a_full_one_can(tmp_path: Path) -> None:
    sql = "SELECT symbol, date_trunc('minute', ts), sum(price) FROM trades WHERE date = '2023-11-14' GROUP BY ALL"
    assert rows(tmp_path, sql) == []


def test_a_view_holds_every_source_and_partition(tmp_path: Path) -> None:
    put(
        tmp_path,
        "ccxt",
        "trades",
        "exchange=binance/symbol=BTC-USDT/date=2023-11-14",
        trades("BTC-USDT", [(1, "7", False, None)]),
    )
    put(tmp_path, "ccxt", "trades", "exchange=binance/symbol=1/date=2023-11-15", trades("1", [(2, "8", False, None)]))
    put(
        tmp_path,
        "file",
        "trades",
        "exchange=binance/symbol=BTC-USDT/date=2023-11-14",
        trades("BTC-USDT", [(3, "9", False, None)]),
    )
    found = rows(tmp_path, "SELECT source, symbol, date::VARCHAR, trade_id FROM trades ORDER BY seq")
    assert found == [
        ("ccxt", "BTC-USDT", "2023-11-14", "7"),
        ("ccxt", "1", "2023-11-15", "8"),
        ("file", "BTC-USDT", "2023-11-14", "9"),
    ]


def test_percent_encoded_symbols_are_read_back(tmp_path: Path) -> None:
    put(
        tmp_path,
        "ccxt",
        "trades",
        "exchange=binance/symbol=BTC%2EX/date=2023-11-14",
        trades("BTC.X", [(1, "7", False, None)]),
    )
    assert rows(tmp_path, "SELECT symbol FROM trades") == [("BTC.X",)]


def test_other_partition_columns_will_do(tmp_path: Path) -> None:
    put(tmp_path, "ccxt", "trades", "date=2023-11-14", trades("BTC-USDT", [(1, "7", False, None)]))
    assert rows(tmp_path, "SELECT symbol, trade_id FROM trades WHERE date = '2023-11-14'") == [("BTC-USDT", "7")]


def test_resent_and_backfilled_trades_are_not_on_the_tape(tmp_path: Path) -> None:
    table = trades("A-B", [(1, "7", False, None), (2, "7", True, None), (3, "6", False, "backfill")])
    put(tmp_path, "ccxt", "trades", "exchange=binance/symbol=A-B/date=2023-11-14", table)
    assert rows(tmp_path, "SELECT seq FROM trades") == [(1,)]
    assert rows(tmp_path, "SELECT count(*) FROM all_trades") == [(3,)]


def test_every_other_channel_that_has_a_file_has_a_view_of_its_name(tmp_path: Path) -> None:
    candle = {"exchange": ["binance"], "symbol": ["A-B"], "close": [1.5]}
    put(tmp_path, "ccxt", "ohlcv_1h", "exchange=binance/symbol=A-B/date=2023-11-14", pa.table(candle))
    put(tmp_path, "databento", "ohlcv_1h", "exchange=binance/symbol=A-B/date=2023-11-15", pa.table(candle))
    put(tmp_path, "ccxt", "news", "", pa.table({"exchange": ["binance"], "symbol": ["*"], "more": ["{}"]}))
    found = rows(tmp_path, "SELECT source, symbol, date::VARCHAR, close FROM ohlcv_1h ORDER BY ALL")
    assert found == [("ccxt", "A-B", "2023-11-14", 1.5), ("databento", "A-B", "2023-11-15", 1.5)]
    assert rows(tmp_path, "SELECT source, more FROM news") == [("ccxt", "{}")]
    (tmp_path / "ccxt/definition").mkdir()
    put(tmp_path, "ccxt", "Trades", "", pa.table(candle))
    with pytest.raises(UsageError, match="definition does not exist"):
        rows(tmp_path, "SELECT * FROM definition")


def test_all_that_is_said_of_a_hole_is_one_row_of_coverage(tmp_path: Path) -> None:
    said = [
        ("disconnected", "b:1", 10, None),
        ("disconnected", "b:1", 10, None),  # the repeat of an open hole
        ("resynced", "b:1", 10, 50),
        ("subscribed", None, 60, None),
        ("subscribed", None, 70, None),
    ]
    columns: dict[str, list[object]] = {
        "exchange": ["binance"] * 5,
        "symbol": ["A-B"] * 5,
        "ts": [from_ns for _, _, from_ns, _ in said],
        "channel": ["orderbook"] * 5,
        "hole": [hole for _, hole, _, _ in said],
        "event": [event for event, *_ in said],
        "from_ns": [from_ns for _, _, from_ns, _ in said],
        "to_ns": [to_ns for *_, to_ns in said],
        "boot": ["b"] * 5,
        "seq": [1, 2, 3, 4, 5],
    }
    filled = [
        pa.array(
            columns.get(field.name, [None] * 5), type=pa.string() if pa.types.is_dictionary(field.type) else field.type
        )
        for field in schemas.COVERAGE
    ]
    table = pa.table(filled, names=schemas.COVERAGE.names).cast(schemas.COVERAGE)
    put(tmp_path, "ccxt", "coverage", "exchange=binance/symbol=A-B/date=1970-01-01", table)
    assert rows(tmp_path, "SELECT event, hole, from_ns, to_ns FROM coverage ORDER BY from_ns") == [
        ("disconnected", "b:1", 10, 50),
        ("subscribed", None, 60, None),
        ("subscribed", None, 70, None),
    ]


def test_wrong_sql_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="query: Catalog Error: Table with name nothing does not exist"):
        run_sql(open_datasets(local_files(tmp_path)), "SELECT * FROM nothing")
