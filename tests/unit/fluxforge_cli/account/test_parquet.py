"""Records of a run in Parquet, as `up` counts them of what the real ETL wrote."""

from pathlib import Path
from random import Random

import orjson

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.layout import Layout
from fluxforge_cli.account.audit.storage import Storage
from fluxforge_cli.account.balance import Key
from fluxforge_cli.account.parquet import processed
from fluxforge_cli.account.sealed import sealed, segments
from tests.unit.fluxforge_cli.account.audit.world import Line, World, books, started, tickers, trades
from tests.unit.fluxforge_etl_worker.legs.pair import LANE, LEG_B, lane, merger, split, worked


def counted(base: Path, *boots: str) -> tuple[dict[Key, int], dict[Key, int]]:
    """Return what is sealed and what is in Parquet of these boots below a directory."""
    store = LocalStore(base, sync=False)
    found = segments(store, Layout())
    return sealed(found, boots), processed(Storage(store, store, Layout()), found, boots, keeps_books=True)


def test_a_record_that_stands_in_the_merged_source_too_counts_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, sync=False)
    legs = split(lane(200), Random(1), lost=0.5)
    for of, lines in zip((LANE, LEG_B), legs, strict=True):
        worked(store, of, lines)
    assert next(merger(store).run()).is_new
    for lines in legs:
        records = [orjson.loads(line) for line in lines]
        _, found = counted(tmp_path, *{record["boot"] for record in records})
        books = [record for record in records if record["channel"] == "orderbook"]
        assert found["binance", "orderbook", "BTC-USDT"] == sum(one["symbol"] == "BTC-USDT" for one in books)
        assert sum(count for (_, channel, _), count in found.items() if channel == "orderbook") == len(books)


def test_records_of_every_channel_count_lists_as_one_and_empty_ones_too(tmp_path: Path) -> None:
    world = World(tmp_path, etl={"channels": {"wire": {"enabled": True}}})
    candles = b"[[1,1.0,1.0,1.0,1.0,1.0],[2,1.0,1.0,1.0,1.0,1.0]]"
    touch = b'{"bid":1.0,"ask":2.0}'
    of_each = {"ohlcv": candles, "mark_price": touch, "bidsasks": touch, "wire": b'{"text":"{}"}', "news": touch}
    lines = [Line(channel, seq, data=data) for channel, data in of_each.items() for seq in (1, 2, 3)]
    world.seal(started(), books(1, 2), tickers(1, 2), trades(1, 2), trades(3, 4, each=0), lines)
    world.seal(books(1, 5, "b0"), Line("ohlcv", 4, data=candles))
    world.forge()
    is_sealed, found = counted(tmp_path, "b1")
    assert found == is_sealed
    assert found["binance", "ohlcv", "BTC-USDT"] == 4
    assert (found["binance", "trades", "BTC-USDT"], found["binance", "control", None]) == (4, 1)


def test_a_record_whose_part_is_gone_does_not_count(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = Line("ohlcv", 1, data=b"[[1,1.0,1.0,1.0,1.0,1.0]]")
    sealed_first = world.seal(one, tickers(1, 2))
    world.seal(tickers(3, 3))
    world.forge()
    world.part("ohlcv", sealed_first).unlink()
    _, found = counted(tmp_path, "b1")
    assert found == {("binance", "ticker", "BTC-USDT"): 3, ("binance", "ohlcv", "BTC-USDT"): 0}
