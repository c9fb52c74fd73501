"""Conversions of a segment to zstd Parquet, one each per process and on one thread: ours, and what else one would do.

`python -m benchmarks.conversions <which> <segment or config> <folder>` prints CPU seconds of the conversion, its wall
seconds, books and trades. Every other way stores books as typed lists of levels and trades as typed rows; what it must
be told of the shape of both is told to it, since its own detection gives up where they differ (`duckdb_text` shows it).
"""

# ruff: noqa: PLC0415 - a process loads what its conversion needs and nothing else

import sys
import time
from collections.abc import Callable
from pathlib import Path

Counts = tuple[int, int]

ENVELOPE = {"v": "INTEGER", "conn": "INTEGER", "seq": "BIGINT", "capture_ns": "BIGINT", "exchange_ms": "BIGINT"}
ENVELOPE |= dict.fromkeys(("source", "exchange", "channel", "symbol", "market", "boot"), "VARCHAR")
BOOK = {"symbol": "VARCHAR", "bids": "DOUBLE[][]", "asks": "DOUBLE[][]", "timestamp": "BIGINT", "datetime": "VARCHAR"}
BOOK |= {"nonce": "BIGINT"}
TRADE = {"timestamp": "BIGINT", "price": "DOUBLE", "amount": "DOUBLE", "cost": "DOUBLE", "fees": "VARCHAR[]"}
TRADE |= dict.fromkeys(("datetime", "symbol", "id", "order", "type", "side", "takerOrMaker"), "VARCHAR")
TRADE |= {"fee": 'STRUCT("cost" DOUBLE, "currency" VARCHAR)'}


def ours(config: Path, _: Path) -> Callable[[], Counts]:
    """`etl run` as configured: every feature, bars, trades, coverage, commit, all of it brought to disk."""
    import pyarrow as pa

    from fluxforge.runtime.settings import load
    from fluxforge_etl_worker.folder import run_folder

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    settings = load(config)

    def convert() -> Counts:
        summary = run_folder(settings)
        assert summary.processed, summary
        assert not summary.dead, summary
        rows = summary.rows
        return rows.get("orderbook/books", 0), rows["trades"]

    return convert


def duckdb(segment: Path, folder: Path) -> Callable[[], Counts]:
    """Read the file once for each channel with that channel's structure, lines of the other one left out.

    The quickest of four ways tried: `data` as JSON text cast afterwards, once or in two steps, takes a fifth more.
    """
    import duckdb as db

    def struct(fields: dict[str, str]) -> str:
        return "STRUCT(" + ", ".join(f'"{name}" {dtype}' for name, dtype in fields.items()) + ")"

    def copy(channel: str, data: str) -> int:
        columns = ", ".join(f"{name}: '{dtype}'" for name, dtype in {**ENVELOPE, "data": data}.items())
        connection.execute(
            f"""COPY (
                SELECT exchange, symbol, make_timestamp_ns(capture_ns)::DATE AS date,
                       * EXCLUDE (exchange, symbol, channel, data), unnest(data)
                FROM read_json('{segment}', format='newline_delimited', columns={{{columns}}}, ignore_errors=true)
                WHERE channel = '{channel}'
            ) TO '{folder / channel}' (FORMAT parquet, PARTITION_BY (exchange, symbol, date), COMPRESSION zstd)"""
        )
        return int(connection.fetchall()[0][0])

    connection = db.connect(config={"threads": 1})
    folder.mkdir()
    return lambda: (copy("orderbook", struct(BOOK)), copy("trades", struct(TRADE) + "[]"))


def duckdb_text(segment: Path, folder: Path) -> Callable[[], Counts]:
    """What its own detection makes of the file: `data` stays JSON text, so that no level is parsed."""
    import duckdb as db

    connection = db.connect(config={"threads": 1})

    def convert() -> Counts:
        connection.execute(
            f"""COPY (
                SELECT channel, exchange, symbol, make_timestamp_ns(capture_ns)::DATE AS date,
                       * EXCLUDE (channel, exchange, symbol)
                FROM read_json('{segment}', format='newline_delimited')
            ) TO '{folder}' (FORMAT parquet, PARTITION_BY (channel, exchange, symbol, date), COMPRESSION zstd)"""
        )
        return 0, 0

    return convert


def polars(segment: Path, folder: Path) -> Callable[[], Counts]:
    """`data` read as text and decoded by channel: quicker than reading the file once for each channel.

    Not partitioned, and no level of nesting is undone.
    """
    import polars as pl

    levels = pl.List(pl.List(pl.Float64))
    types = {"INTEGER": pl.Int64(), "BIGINT": pl.Int64(), "DOUBLE": pl.Float64(), "VARCHAR": pl.String()}
    types |= {"DOUBLE[][]": levels, "VARCHAR[]": pl.List(pl.String)}
    types |= {TRADE["fee"]: pl.Struct({"cost": pl.Float64, "currency": pl.String})}
    envelope, book, trade = ({name: types[dtype] for name, dtype in kind.items()} for kind in (ENVELOPE, BOOK, TRADE))
    folder.mkdir()

    def convert() -> Counts:
        records = pl.read_ndjson(segment, schema={**envelope, "data": pl.String})
        counts = []
        for channel, dtype in (("orderbook", pl.Struct(book)), ("trades", pl.List(pl.Struct(trade)))):
            of_channel = records.filter(pl.col("channel") == channel)
            decoded = of_channel.with_columns(pl.col("data").str.json_decode(dtype))
            rows = decoded.explode("data") if channel == "trades" else decoded
            rows.write_parquet(folder / f"{channel}.parquet", compression="zstd")
            counts.append(len(rows))
        return counts[0], counts[1]

    return convert


def orjson(segment: Path, folder: Path) -> Callable[[], Counts]:
    """Line by line to Python objects, and some thousand of these at a time to Arrow and into one file a channel."""
    import orjson as json
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    types = {"INTEGER": pa.int64(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "VARCHAR": pa.string()}
    types |= {"DOUBLE[][]": pa.list_(pa.list_(pa.float64())), "VARCHAR[]": pa.list_(pa.string())}
    types |= {TRADE["fee"]: pa.struct({"cost": pa.float64(), "currency": pa.string()})}
    schemas = {
        channel: pa.schema([(name, types[dtype]) for name, dtype in {**ENVELOPE, **fields}.items()])
        for channel, fields in (("orderbook", BOOK), ("trades", TRADE))
    }
    folder.mkdir()
    writers = {
        channel: pq.ParquetWriter(folder / f"{channel}.parquet", schema, compression="zstd")
        for channel, schema in schemas.items()
    }

    def convert() -> Counts:
        counts = dict.fromkeys(schemas, 0)
        waiting: dict[str, list[dict[str, object]]] = {channel: [] for channel in schemas}

        def flush(channel: str) -> None:
            writers[channel].write_table(pa.Table.from_pylist(waiting[channel], schema=schemas[channel]))
            counts[channel] += len(waiting[channel])
            waiting[channel] = []

        with segment.open("rb") as file:
            for line in file:
                record = json.loads(line)
                channel, data = record["channel"], record.pop("data")
                waiting[channel] += [record | item for item in (data if channel == "trades" else [data])]
                if len(waiting[channel]) >= 8_192:
                    flush(channel)
        for channel, writer in writers.items():
            flush(channel)
            writer.close()
        return counts["orderbook"], counts["trades"]

    return convert


def main() -> None:
    which, source, folder = sys.argv[1:]
    convert = globals()[which](Path(source), Path(folder))
    began_cpu_s, began_s = time.process_time(), time.perf_counter()
    books, trades = convert()
    print(time.process_time() - began_cpu_s, time.perf_counter() - began_s, books, trades)


if __name__ == "__main__":
    main()
