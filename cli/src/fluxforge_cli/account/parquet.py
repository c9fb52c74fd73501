"""Processed: what the Parquet files hold, counted by DuckDB from the files alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fluxforge_cli.account.balance import Key

if TYPE_CHECKING:
    import duckdb

_COUNTED: Final = {
    "ticker": ("ticker", "count(*)"),
    "trades": ("all_trades", "count(DISTINCT (boot, seq))"),  # a record holds several trades
    "orderbook": ("books", "count(*)"),
}


def processed(database: "duckdb.DuckDBPyConnection", boots: Sequence[str], *, since_ns: int) -> dict[Key, int]:
    """Return the records of these boots that stand in Parquet, by feed; nothing before `since_ns` (ns UTC) is read.

    What legs were merged into is left out: these rows stand in a leg's datasets, too.
    """
    counts: dict[Key, int] = {}
    for channel, (view, count) in _COUNTED.items():
        sql = f"""SELECT exchange, symbol, {count} FROM {view}
            WHERE NOT ends_with(source, '.merged') AND list_contains(?, boot) AND ts >= make_timestamptz(?)
            GROUP BY ALL"""  # noqa: S608 - names of ours
        for exchange, symbol, records in database.execute(sql, [list(boots), since_ns // 1000]).fetchall():
            counts[str(exchange), channel, str(symbol)] = int(records)
    return counts
