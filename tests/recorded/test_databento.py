"""Databento's own files through `ingest` and `etl run`: official bars, books rebuilt from orders, versions 1 to 3."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

pytest.importorskip("databento_dbn", reason="the package databento-dbn is not installed")

from databento_dbn import F_LAST, MBOMsg

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.layout import Layout
from fluxforge.runtime.settings.databento import BOOK_SCHEMAS
from fluxforge_collector.databento_source.dbn_file import open_dbn
from fluxforge_collector.databento_source.ingest import Ingest
from fluxforge_collector.databento_source.markets import Markets
from fluxforge_collector.databento_source.translate import SCHEMAS, Translator, Update
from fluxforge_etl_worker.folder import adopt_folder, run_folder
from tests.recorded.recordings import recording
from tests.unit.fluxforge_etl_worker.test_folder import settings_on

ESU4 = "databento/esu4_20240701/futures_"
MINUTES = "_2024-07-01T23-58_2024-07-02T00-02.dbn.zst"
ESM4 = "databento/esm4_20240508/orderbooks_"
ESH1 = "databento/client_tests/GLBX.MDP3/test_data."
VERSIONS = "databento/dbn_tests/test_data."


def forged(data: Path, *names: str) -> dict[str, int]:
    """Ingest recordings and process them; return the rows by dataset."""
    store = LocalStore(data, sync=False)
    how = Ingest(store, Layout(), data / "scratch", depth=50, segment_bytes_max=10**8)
    how.run([recording(name) for name in names])
    adopt_folder(settings_on(data), "databento")
    summary = run_folder(settings_on(data))
    assert (summary.dead, summary.quarantined) == ((), 0)
    return summary.rows


def query(data: Path, sql: str) -> list[tuple[Any, ...]]:
    root = data / "processed/databento"
    return duckdb.sql(sql.replace("{", f"read_parquet('{root}/").replace("}", "/**/*.parquet')")).fetchall()


def updates(name: str, *, with_trades: bool = True) -> Iterator[Update]:
    file = open_dbn(recording(name))
    translator = Translator(file.schema, Markets.of(file.metadata.mappings), depth=50, with_trades=with_trades)
    for record in file.records():
        yield from (item for item in translator.take(record) if isinstance(item, Update))


def touch(update: Update) -> tuple[list[float], list[float]]:
    book = orjson.loads(update.data)
    return book["bids"][0], book["asks"][0]


def test_trades_of_esu4_give_the_official_bars_of_a_minute(tmp_path: Path) -> None:
    rows = forged(tmp_path, f"{ESU4}trades{MINUTES}", f"{ESU4}ohlcv-1m_2024-07-01T23-40_2024-07-02T00-10.dbn.zst")
    assert (rows["trades"], rows["ohlcv"]) == (120, 60)
    ours = query(
        tmp_path,
        "SELECT symbol, epoch_ms(date_trunc('minute', ts)) AS start, first(price ORDER BY capture_ns), max(price), "
        "min(price), last(price ORDER BY capture_ns), sum(amount) FROM {trades} GROUP BY ALL ORDER BY start",
    )
    official = query(
        tmp_path,
        "SELECT symbol, start_ms, open, high, low, close, volume FROM {ohlcv} WHERE symbol = 'ESU4' "
        "AND start_ms BETWEEN 1719878280000 AND 1719878460000 + 59999 ORDER BY start_ms",
    )
    assert len(official) == 4
    assert ours == official


def test_bars_beside_quotes_count_the_official_volume(tmp_path: Path) -> None:
    names = (f"{ESU4}{kind}" for kind in (f"trades{MINUTES}", f"mbp-1{MINUTES}"))
    bars_1m = f"{ESU4}ohlcv-1m_2024-07-01T23-40_2024-07-02T00-10.dbn.zst"
    rows = forged(tmp_path, *names, bars_1m, f"{ESU4}definition.dbn.zst")
    assert (rows["orderbook/books"], rows["trades"], rows["definition"]) == (2168, 120, 2)
    compared = query(
        tmp_path,
        "SELECT b.buy_volume + b.sell_volume, o.volume, b.complete FROM {orderbook/bars} b JOIN {ohlcv} o "
        "ON o.symbol = b.symbol AND o.start_ms = epoch_ms(b.ts) WHERE b.duration = 60 ORDER BY b.ts",
    )
    assert [(ours, official) for ours, official, _ in compared] == [(18, 18), (23, 23), (175, 175), (37, 37)]
    assert [complete for *_, complete in compared] == [False, True, True, False]  # the first and last are cut
    defined = query(tmp_path, "SELECT raw_symbol, instrument_id, min_price_increment, strike_price FROM {definition}")
    assert sorted(defined) == [("ESU4", "118", 0.25, None), ("NQU4", "4358", 0.25, None)]
    assert query(tmp_path, "SELECT count(*) FROM {coverage} WHERE event IN ('crossed', 'empty', 'gap')") == [(0,)]


def test_trades_among_the_quotes_are_those_of_the_file_of_trades() -> None:
    alone = list(updates(f"{ESU4}trades{MINUTES}"))
    among = [update for update in updates(f"{ESU4}mbp-1{MINUTES}") if update.channel == "trades"]
    assert among == alone
    ids = [orjson.loads(update.data)[0]["id"] for update in alone]
    assert len(set(ids)) == len(ids) == 120


def test_books_of_esm4_are_the_sums_of_the_orders_that_rest() -> None:
    """Against the plainest way there is: all orders added up anew at the end of each event."""
    rebuilt = [orjson.loads(u.data) for u in updates(f"{ESM4}mbo.dbn.zst", with_trades=False)]
    plain = list(summed_books(f"{ESM4}mbo.dbn.zst"))
    assert len(rebuilt) == len(plain) == 185
    for book, (bids, asks) in zip(rebuilt, plain, strict=True):
        assert [tuple(level) for level in book["bids"]] == bids[:50]
        assert [tuple(level) for level in book["asks"]] == asks[:50]
        assert bids[0][0] < asks[0][0]


def summed_books(name: str) -> Iterator[tuple[list[tuple[float, float]], list[tuple[float, float]]]]:
    orders: dict[int, tuple[str, int, int]] = {}
    for record in open_dbn(recording(name)).records():
        assert isinstance(record, MBOMsg)
        match str(record.action):
            case "R":
                orders.clear()
            case "A" | "M":
                orders[record.order_id] = (str(record.side), record.price, record.size)
            case "C":
                side, price, size = orders.pop(record.order_id)
                if size > record.size:
                    orders[record.order_id] = (side, price, size - record.size)
        if record.flags & F_LAST:
            sides: dict[str, dict[int, int]] = {"B": {}, "A": {}}
            for side, price, size in orders.values():
                sides[side][price] = sides[side].get(price, 0) + size
            bids, asks = ([(p / 1e9, float(s)) for p, s in sorted(sides[side].items())] for side in "BA")
            yield bids[::-1], asks


def test_trades_of_esm4_meet_the_touch_of_the_rebuilt_book() -> None:
    book, met = None, 0
    for update in updates(f"{ESM4}mbo.dbn.zst"):
        if update.channel == "orderbook":
            book = touch(update)
            continue
        (trade,) = orjson.loads(update.data)
        assert book is not None
        bid, ask = book
        price, size = ask if trade["side"] == "buy" else bid
        assert trade["price"] == price
        assert trade["amount"] <= size
        met += 1
    assert met == 5


def test_ten_levels_have_the_touch_of_one() -> None:
    one = {update.at_ns: touch(update) for update in updates(f"{ESH1}mbp-1.dbn.zst")}
    ten = {update.at_ns: touch(update) for update in updates(f"{ESH1}mbp-10.dbn.zst")}
    assert len(one) == 4
    assert ten == one


@pytest.mark.parametrize("schema", sorted(set(SCHEMAS) - {"ohlcv-1d", "definition"}))
def test_every_version_of_the_format_tells_the_same(schema: str) -> None:
    found = {}
    for version in ("v1", "v2", "v3"):
        file = open_dbn(recording(f"{VERSIONS}{schema}.{version}.dbn.zst"))
        translator = Translator(file.schema, Markets.of(file.metadata.mappings), depth=50, with_trades=True)
        told = [item for record in file.records() for item in translator.take(record)]
        found[version] = told + list(translator.end())
    assert found["v1"] == found["v2"] == found["v3"]
    assert {item.market for item in found["v1"]} == {"ESH1"}
    assert schema not in BOOK_SCHEMAS or {item.channel for item in found["v1"]} == {"orderbook"}


def test_definitions_of_every_version_name_the_instrument() -> None:
    for version in ("v1", "v2", "v3"):
        found = [orjson.loads(update.data) for update in updates(f"{VERSIONS}definition.{version}.dbn.zst")]
        assert [(row["raw_symbol"], row["exchange"], row["expiration_ms"]) for row in found] == [
            ("MSFT", "XNAS", None)
        ] * 2
