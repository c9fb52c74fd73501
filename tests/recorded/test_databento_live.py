"""Databento's own files sent by a gateway on loopback to the live source: the records are those that `ingest` makes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
import pytest

pytest.importorskip("databento", reason="the package databento is not installed")

from fluxforge.domain.control import Event
from fluxforge_collector.databento_source.dbn_file import open_dbn
from fluxforge_collector.databento_source.markets import Markets
from fluxforge_collector.databento_source.translate import Translator, Update
from tests.databento_gateway import Gateway
from tests.recorded.recordings import recording
from tests.unit.fluxforge_collector.databento_source.live import asked, is_served, live
from tests.unit.fluxforge_collector.made import until

ESU4 = "databento/esu4_20240701/futures_"
MINUTES = "_2024-07-01T23-58_2024-07-02T00-02.dbn.zst"
ESM4 = "databento/esm4_20240508/orderbooks_mbo.dbn.zst"
IDS = {118: "ESU4", 5602: "ESM4"}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway(IDS) as made:
        yield made


def sent(name: str) -> list[Any]:
    return list(open_dbn(recording(name)).records())


def expected(name: str, *, depth: int = 10) -> list[tuple[int | None, Any]]:
    """Return time and data of what `ingest` makes of a file, its trades left out if it is one of books."""
    file = open_dbn(recording(name))
    translator = Translator(file.schema, Markets.of(file.metadata.mappings), depth=depth, with_trades=False)
    told = [item for record in file.records() for item in translator.take(record)]
    return [(item.exchange_ms, orjson.loads(item.data)) for item in told if isinstance(item, Update)]


def told(records: Sequence[tuple[Any, Any]]) -> list[tuple[int | None, Any]]:
    return [(envelope.exchange_ms, data) for envelope, data in records]


async def captured(gateway: Gateway, channels: Mapping[str, Sequence[str]], names: Sequence[str], count: int) -> Any:
    records = sorted((record for name in names for record in sent(name)), key=lambda record: record.ts_recv)
    async with live(asked(gateway, channels)) as made:
        await until(lambda: is_served(gateway))
        gateway.add(*records)
        await until(lambda: sum(feed.seq for feed in made.desk.writer.feeds) >= count)
    return made


async def test_trades_and_quotes_of_esu4_are_captured_as_they_are_ingested(gateway: Gateway) -> None:
    files = [f"{ESU4}trades{MINUTES}", f"{ESU4}mbp-1{MINUTES}"]
    trades, books = (expected(name) for name in files)
    made = await captured(gateway, {"trades": ["ESU4"], "mbp-1": ["ESU4"]}, files, 2288)
    assert (len(trades), len(books)) == (120, 2168)
    assert told(made.records()) == trades
    assert told(made.records("orderbook")) == books
    times = [envelope.capture_ns for channel in ("trades", "orderbook") for envelope, _ in made.records(channel)]
    assert len(set(times)) == len(times)
    assert not made.reasons(Event.REJECTED)


async def test_orders_of_esm4_are_rebuilt_to_the_books_of_its_file(gateway: Gateway) -> None:
    books = expected(ESM4)
    made = await captured(gateway, {"mbo": ["ESM4"]}, [ESM4], len(books))
    assert len(books) == 185
    assert told(made.records("orderbook")) == books
    assert not made.reasons(Event.GAP)


@pytest.mark.parametrize("cut", [1, 40, 119])
async def test_trades_over_a_lost_connection_are_the_same_and_the_missed_ones_marked(
    gateway: Gateway, cut: int
) -> None:
    trades = sent(f"{ESU4}trades{MINUTES}")
    async with live(asked(gateway, {"trades": ["ESU4"]})) as made:
        made.desk.clock.advance(trades[-1].ts_recv - made.desk.clock.wall_ns())
        await until(lambda: is_served(gateway))
        gateway.add(*trades[: cut - 1], trades[cut - 1])
        await until(lambda: len(made.records()) == cut)
        missed = trades[cut : cut + 10]
        gateway.history += missed
        gateway.drop()
        await until(lambda: gateway.session_count == 2 and is_served(gateway))
        gateway.add(*trades[cut + len(missed) :])
        await until(lambda: len(made.records()) == len(trades))
    assert told(made.records()) == expected(f"{ESU4}trades{MINUTES}")
    marked = [envelope.source_kind for envelope, _ in made.records()]
    assert marked == [None] * cut + ["backfill"] * len(missed) + [None] * (len(trades) - cut - len(missed))
